"""The exact way to read messages: `json.loads`, one by one; see `messages.md`."""

import json
import re
from collections.abc import Collection
from typing import Any

import pyarrow as pa

from etl.schema.learn import Learner
from etl.schema.types import SURROGATE, TEXT, TRUTH, UTC_FIELD, file_schema, is_null

# Deeper messages are rejects: far below Python's own limit, which depends on who calls.
MAX_NESTING = 500

_TYPE_NAMES = {
    type(None): "null",
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
}
_TOO_DEEP = f"nested more than {MAX_NESTING} deep"
_SURROGATES = "not Unicode: half a surrogate pair"
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_CONTAINERS = frozenset((dict, list))


def load(value: bytes) -> dict[str, Any] | str:
    """Return the alert in a message, or the reason why there is none.

    >>> load(b'{"ra": 1.5}'), load(b"[1]")
    ({'ra': 1.5}, 'not an object: array')
    """
    if not value:
        return "empty message"
    try:
        text = value.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return f"not UTF-8: {error.reason} at byte {error.start}"
    try:
        alert = json.loads(text)
        if not isinstance(alert, dict):
            return f"not an object: {_TYPE_NAMES[type(alert)]}"
        if text.count("[") + text.count("{") > MAX_NESTING and is_deeper(alert, MAX_NESTING):
            return _TOO_DEEP
        return _SURROGATES if _has_surrogate(text, alert) else alert
    except RecursionError:
        return _TOO_DEEP
    except ValueError as error:
        return f"not JSON: {error}"


def exact_table(alerts: Collection[dict[str, Any]], learner: Learner) -> pa.Table:
    """Return a row per alert; what does not fit a column of the schema is in `etl_rescued`."""
    fitted = [learner.fit(alert) for alert in alerts]
    table = pa.Table.from_pylist([row for row, _ in fitted], file_schema(learner.schema))
    example = pa.array([is_null(alert.get(UTC_FIELD)) for alert in alerts], TRUTH)
    rescued = pa.array([text for _, text in fitted], TEXT)
    return table.append_column("etl_example", example).append_column("etl_rescued", rescued)


def _has_surrogate(text: str, alert: dict[str, Any]) -> bool:
    if not _SURROGATE_ESCAPE.search(text):
        return False
    return SURROGATE.search(json.dumps(alert, ensure_ascii=False)) is not None


def is_deeper(value: Any, most: int) -> bool:
    """Return whether a value is nested more than `most` deep."""
    level = [value]
    for _ in range(most):
        inner = (v.values() if isinstance(v, dict) else v for v in level)
        level = [v for values in inner for v in values if type(v) in _CONTAINERS]
        if not level:
            return False
    return True
