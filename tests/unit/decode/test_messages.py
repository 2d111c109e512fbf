import ast
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from etl.decode import batch
from etl.decode.batch import decode_batch
from etl.schema.types import EMPTY
from tests.unit.json_reference import Stored, assert_exact, batch_of, outcomes, same_json, stored

TABLE = Path(batch.__file__).with_name("messages.md")

IN_WORDS: dict[str, bytes | None] = {
    "no value": None,
    "8 MB of text": b'{"mag": 5.5, "text": "' + b"x" * 8_000_000 + b'"}',
    "100,000 blanks": b'{"mag":' + b" " * 100_000 + b"5.5}",
    "a key of 255 characters": json.dumps({"k" * 255: 5}).encode(),
    "a key of 256 characters": json.dumps({"k" * 256: 5}).encode(),
    "a key of 10 kB": json.dumps({"k" * 10_000: 5}).encode(),
    "5,000 keys": json.dumps({f"k{i}": i for i in range(5000)}).encode(),
    "a whole number of 5,000 digits": b'{"mag": ' + b"1" * 5000 + b"}",
    "a fraction of 5,000 digits": b'{"mag": 0.' + b"1" * 5000 + b"}",
    "lists nested 30 deep": b'{"l": ' + b"[" * 29 + b"5" + b"]" * 29 + b"}",
    "lists nested 40 deep": b'{"l": ' + b"[" * 39 + b"5" + b"]" * 39 + b"}",
    "lists nested 500 deep": b'{"l": ' + b"[" * 499 + b"5" + b"]" * 499 + b"}",
    "lists nested 600 deep": b'{"l": ' + b"[" * 599 + b"5" + b"]" * 599 + b"}",
    "lists nested 100,000 deep": b'{"l": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "objects nested 100,000 deep": b'{"o": ' * 100_000 + b"5" + b"}" * 100_000,
}

NEIGHBOURS = [
    b"""{"UTC": "2026-02-14 13:41:02", "neighbour": "first", "nearId": 313637935709683761,
    "near": {"list": [1.5, null, NaN], "objects": [{"flux": -0.25, "ok": true}, null]}}""",
    b'{"neighbour": "\xc3\xa9\\n", "nearId": null, "near": {"list": [], "objects": null}}',
    b'{"UTC": "2026-02-14 13:41:02.5", "nearId": 313637935709683762, "near": null}',
]


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    message: bytes | None
    context: tuple[bytes, ...]
    becomes: str
    spans: tuple[str, ...]
    line: int


def value_of(cell: str) -> bytes | None:
    """Return the message that a cell stands for."""
    return bytes(ast.literal_eval(cell.strip("`"))) if cell.startswith("`") else IN_WORDS[cell]


def table_cells() -> list[tuple[int, list[str]]]:
    """Take the document's tables apart, without their heads."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    cells = [
        (number, [cell.strip() for cell in line.strip().strip("|").split("|")])
        for number, line in enumerate(lines, 1)
        if line.startswith("|")
    ]
    return [(n, row) for n, row in cells if row[0] not in ("message", "---")]


def table_rows() -> list[Row]:
    """Read the table."""
    rows = []
    for number, (message, context, becomes, details) in table_cells():
        before = (ast.literal_eval(context.strip("`")),) if context else ()
        spans = tuple(re.findall(r"`([^`]*)`", details))
        rows.append(Row(value_of(message), before, becomes, spans, number))
    return rows


ROWS = table_rows()
every_row = pytest.mark.parametrize("row", ROWS, ids=[f"line {row.line}" for row in ROWS])


def expected(value: Any, found: Any) -> bool:
    """Compare a column with what the table says of it; times are written as text."""
    return same_json(value, str(found) if isinstance(found, datetime) else found)


def assert_as_written(row: Row, outcome: Stored | str | None) -> None:
    """What became of the message is what the table says."""
    if row.becomes == "tombstone":
        assert outcome is None
    elif row.becomes == "reject":
        assert isinstance(outcome, str)
        assert outcome.startswith(row.spans[0].replace("\\\\", "\\"))
    else:
        assert isinstance(outcome, Stored), outcome
        assert bool(outcome.rescued) == (row.becomes == "row + rescued"), outcome.rescued
        columns = outcome.columns | {"etl_example": outcome.example}
        for name, value in ast.literal_eval(row.spans[0]).items():
            assert expected(value, columns[name]), (name, columns[name])
        if len(row.spans) > 1 and row.becomes == "row + rescued":
            assert same_json(outcome.rescued, json.loads(row.spans[1])), outcome.rescued


def test_table_and_test_name_the_same_messages():
    """A message that the table puts in words is made by the test, and the other way round."""
    in_words = {cells[0] for _, cells in table_cells() if not cells[0].startswith("`")}
    assert in_words == IN_WORDS.keys()


def test_table_has_no_other_outcome():
    """A message becomes a row, a row of which something is rescued, a reject or a tombstone."""
    assert {row.becomes for row in ROWS} == {"row", "row + rescued", "reject", "tombstone"}
    assert len({(row.message, row.context) for row in ROWS}) == len(ROWS)


@every_row
def test_message_among_good_neighbours(row: Row):
    """A message becomes what the table says, exactly, and its neighbours are unharmed."""
    before = [*NEIGHBOURS, *row.context, *NEIGHBOURS]
    values = [*before, row.message, *NEIGHBOURS * 3]
    result, _ = decode_batch(batch_of(values), EMPTY)
    found = outcomes(result, len(values))
    for value, outcome in zip(values, found, strict=True):
        assert_exact(outcome, value)
    assert_as_written(row, found[len(before)])
    near = [outcome for value, outcome in zip(values, found, strict=True) if value in NEIGHBOURS]
    assert all(isinstance(outcome, Stored) and not outcome.rescued for outcome in near)
    (span,) = result.counts
    assert (span.tombstones, span.rejects) == (
        row.becomes == "tombstone",
        row.becomes == "reject",
    )
    assert [(reject.offset, reject.value) for reject in result.rejects] == [
        (len(before), row.message) for _ in range(span.rejects)
    ]


@every_row
def test_message_in_a_later_batch(row: Row):
    """It becomes the same where its context came in an earlier batch, or run."""
    _, schema = decode_batch(batch_of([*NEIGHBOURS, *row.context]), EMPTY)
    values = [row.message, *NEIGHBOURS, row.message]
    result, learnt = decode_batch(batch_of(values), schema)
    found = outcomes(result, len(values))
    assert_as_written(row, found[0])
    assert_as_written(row, found[-1])
    alone, _ = decode_batch(batch_of([row.message]), learnt)
    assert_as_written(row, outcomes(alone, 1)[0])


def test_all_messages_at_once():
    """A topic in which every odd message comes, many times, has each good one whole."""
    odd = [row.message for row in ROWS if len(row.message or b"") < 1_000_000]
    values = [value for message in odd for value in (*NEIGHBOURS, message)]
    result, _ = decode_batch(batch_of(values), EMPTY)
    for value, outcome in zip(values, outcomes(result, len(values)), strict=True):
        assert_exact(outcome, value)


ALONE = """
from etl.decode.batch import decode_batch
from etl.schema.types import EMPTY
from tests.unit.decode.test_messages import NEIGHBOURS, ROWS
from tests.unit.json_reference import batch_of

_, known = decode_batch(batch_of(NEIGHBOURS), EMPTY)
for row in ROWS:
    for schema in (EMPTY, known, decode_batch(batch_of(row.context), EMPTY)[1]):
        decode_batch(batch_of([row.message] * 2), schema)
print(len(ROWS), "survived")
"""


def test_no_message_kills_the_process():
    """The process outlives every message of the table, also as the first one of a topic."""
    run = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.strip()) == (0, f"{len(ROWS)} survived"), run.stderr


def test_stored_splits_off_what_this_project_adds():
    """The comparison looks at every column of the alert, and only at those."""
    row = stored({"mag": 5.5, "night": None, "etl_example": True, "etl_rescued": '{"x": 1}'})
    assert row == Stored({"mag": 5.5}, example=True, rescued={"x": 1})
