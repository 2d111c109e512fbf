"""What Python's `json.loads` says of a message, and how what is stored compares with it."""

import json
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
from hypothesis import settings

from etl.decode.batch import decode_batch
from etl.decode.json_exact import MAX_NESTING
from etl.records import Batch, Decoded, Span
from etl.schema.own_columns import ADDED_COLUMNS
from etl.schema.types import EMPTY, TopicSchema

TOPIC = "lasair_2test"
SENT_MS = 1_771_076_462_000  # 2026-02-14 13:41:02 UTC


def law(examples: int) -> settings:
    """Return a property-based test's settings: FUZZ times as many examples, without FUZZ half."""
    return settings(max_examples=int(examples * float(os.environ.get("FUZZ", "0.5"))))


def batch_of(
    values: Sequence[bytes | None], timestamps_ms: Sequence[int | None] | None = None
) -> Batch:
    """Put messages into one partition, from offset 0."""
    count = len(values)
    return Batch(
        TOPIC,
        1,
        [0] * count,
        list(range(count)),
        [SENT_MS] * count if timestamps_ms is None else list(timestamps_ms),
        list(values),
        (Span(TOPIC, 1, 0, 0, count),),
    )


@dataclass(frozen=True)
class Stored:
    """One alert's row: the alert's own columns, the marks, and what was rescued."""

    columns: dict[str, Any]
    example: bool
    rescued: dict[str, Any]


def as_text(outcomes: Sequence[Stored | str | None]) -> list[str]:
    """Write outcomes so that equal texts mean equal values, of the same types; -0.0 is 0.0."""
    return [
        json.dumps(
            [o.columns, o.example, o.rescued] if isinstance(o, Stored) else o,
            sort_keys=True,
            default=str,
        ).replace("-0.0", "0.0")
        for o in outcomes
    ]


def stored_rows(table: pa.Table) -> dict[int, Stored]:
    """Sort a table's rows by their offsets."""
    return {row["kafka_offset"]: stored(row) for row in table.to_pylist()}


def stored(row: Mapping[str, Any]) -> Stored:
    """Split a row, as Arrow or DuckDB gives it, into the alert's own columns and the others."""
    own = {name: value for name, value in row.items() if name not in ADDED_COLUMNS}
    return Stored(own, row["etl_example"], json.loads(row["etl_rescued"] or "{}"))


def outcomes(decoded: Decoded, count: int) -> list[Stored | str | None]:
    """Return for each offset the row, or the reason of the reject, or None for a tombstone."""
    rows = stored_rows(decoded.table)
    reasons = {reject.offset: reject.reason for reject in decoded.rejects}
    assert not rows.keys() & reasons.keys()
    return [rows.get(offset, reasons.get(offset)) for offset in range(count)]


def decoded(
    values: Sequence[bytes | None], schema: TopicSchema = EMPTY
) -> tuple[list[Stored | str | None], TopicSchema]:
    """Decode messages and say what became of each, with the schema that was learnt."""
    result, learnt = decode_batch(batch_of(values), schema)
    return outcomes(result, len(values)), learnt


def expected_alert(value: bytes) -> dict[str, Any] | None:
    """Read a message in the plainest way; None where it is no alert."""
    try:
        alert = json.loads(value.decode("utf-8-sig"))
        json.dumps(alert, ensure_ascii=False).encode()  # half a surrogate pair has no UTF-8
        return alert if isinstance(alert, dict) and nesting(alert) <= MAX_NESTING else None
    except (ValueError, RecursionError):
        return None


def nesting(value: Any) -> int:
    """Count how deep objects and lists are nested."""
    depth, level = 0, [value]
    while level := [inner for inner in level if isinstance(inner, dict | list)]:
        depth += 1
        level = [
            v for inner in level for v in (inner.values() if isinstance(inner, dict) else inner)
        ]
    return depth


def expected_value(value: Any) -> Any:
    """Return what a JSON value means here: NaN is null, and a field that is null is not there."""
    if is_nan(value):
        return None
    if isinstance(value, dict):
        known = {name: expected_value(inner) for name, inner in value.items()}
        return {name: inner for name, inner in known.items() if inner is not None}
    if isinstance(value, list):
        return [expected_value(inner) for inner in value]
    return value


PART = re.compile(r'\[(\d+)\]|\.?("(?:[^"\\]|\\.)*"|[A-Za-z_][A-Za-z0-9_]*)')


def path_parts(path: str) -> list[str | int]:
    """Take a rescued value's path apart."""
    found: list[str | int] = []
    at = 0
    while at < len(path):
        part = PART.match(path, at)
        assert part, f"no path: {path!r}"
        index, name = part.groups()
        found.append(int(index) if index else json.loads(name) if name[0] == '"' else name)
        at = part.end()
    return found


def reassembled(row: Stored) -> dict[str, Any]:
    """Put an alert together again from its columns and what was rescued."""
    alert: dict[str, Any] = expected_value(row.columns)
    for path, value in row.rescued.items():
        *outer, last = path_parts(path)
        place: Any = alert
        for part in outer:
            place = place[part]
        assert isinstance(last, int) or last not in place, f"{path}: twice"
        assert not isinstance(last, int) or place[last] is None, f"{path}: twice"
        place[last] = value
    restored: dict[str, Any] = expected_value(alert)
    return restored


def same_json(left: Any, right: Any) -> bool:
    """Compare as JSON values: 5 is 5.0, but true is not 1; a time is its text."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same_json(left[n], right[n]) for n in left)
    if isinstance(left, str) and isinstance(right, dict):  # an object kept as JSON text
        return same_json(expected_value(json.loads(left)), right)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same_json, left, right))
    if isinstance(left, datetime) and isinstance(right, str):
        return left == datetime.fromisoformat(right)
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right) or (is_nan(left) and is_nan(right))


def is_nan(value: Any) -> bool:
    """Return whether a value is NaN."""
    return isinstance(value, float) and math.isnan(value)


def assert_exact(outcome: Stored | str | None, value: bytes | None) -> None:
    """An alert's row and what was rescued of it are together what `json.loads` says, no less."""
    if value is None:
        assert outcome is None
        return
    alert = expected_alert(value)
    found = f"{value[:300]!r} became {str(outcome)[:1000]}"
    if alert is None:
        assert isinstance(outcome, str), found
        return
    assert isinstance(outcome, Stored), found
    with deep_recursion():
        expected = expected_value(alert)
        exact = same_json(reassembled(outcome), expected)
    assert exact, found
    assert outcome.example is (expected.get("UTC") is None), found


@contextmanager
def deep_recursion() -> Iterator[None]:
    """Let the comparison go as deep as messages may; the code under test gets by without this."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(100 * MAX_NESTING)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
