"""Rows as text: aligned for people, CSV and JSON for machines, HTML for notebooks.

CSV and JSON keep every value exact. An alert's names and texts may hold anything, so text for
people shows what is not printable (control characters, marks that turn the direction of writing)
only as escapes.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import date, time
from decimal import Decimal
from html import escape
from itertools import chain, islice
from typing import Any

Row = Sequence[Any]

# The first rows set the widths of a plain table; later rows are written as they come.
WIDTH_ROWS = 1000
PLAIN: Mapping[type, Callable[[Any], str]] = {
    str: str,
    int: repr,
    float: repr,
    bool: lambda value: "true" if value else "false",
    type(None): lambda _: "",
}
QUOTED = re.compile(r'[,"\r\n]')


def json_text(value: Any) -> str:
    """Any result as strict JSON, on one line.

    Integers stay exact however long. Times are ISO 8601 without a zone, which is UTC. NaN, which
    means "no value", is null; an infinity is the text "Infinity" or "-Infinity"; bytes are hex.

    >>> json_text({"id": 313637935709683761, "mag": float("nan")})
    '{"id": 313637935709683761, "mag": null}'
    """
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        return None if math.isnan(value) else value
    if isinstance(value, Decimal):
        return _plain_decimal(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, bytes | bytearray):
        return value.hex()
    if isinstance(value, Sequence):
        return [_plain(each) for each in value]
    return value.isoformat() if isinstance(value, date | time) else str(value)


def _plain_decimal(value: Decimal) -> Any:
    """Return a number where that is exact, else its digits as text."""
    if not value.is_finite():
        return str(value)
    if value == value.to_integral_value():
        return int(value)
    return float(value) if Decimal(repr(float(value))) == value else str(value)


def cell_text(value: Any) -> str:
    """One value for CSV and for tables; nested ones as JSON.

    >>> [cell_text(v) for v in (True, 2.5, [1, None], date(2026, 2, 14))]
    ['true', '2.5', '[1, null]', '2026-02-14']
    """
    quick = PLAIN.get(type(value))
    if quick is not None:
        return quick(value)
    if isinstance(value, bytes | bytearray):
        return value.hex()
    return json_text(value) if isinstance(value, Mapping | list | tuple) else str(value)


def shown_text(value: Any, null: str = "") -> str:
    r"""One value with its control characters escaped, so that no terminal obeys it.

    >>> shown_text("red\x1b[31m")
    'red\\x1b[31m'
    """
    text = null if value is None else cell_text(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown_lines(text: str) -> str:
    """Text of several lines, each as `shown_text` has it."""
    return "\n".join(map(shown_text, text.split("\n")))


def shown_json(text: str) -> str:
    r"""Return JSON of the same value in which a terminal finds nothing to obey.

    >>> shown_json('{"name":\t"\x9b31m"}')
    '{"name": "\\u009b31m"}'
    """
    if text.isprintable():
        return text
    text = text.replace("\t", " ")  # in JSON strings it is escaped
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def aligned(columns: Sequence[str], rows: Iterable[Row], null: str = "") -> Iterator[str]:
    """Yield the lines of a plain table, numbers to the right.

    >>> for line in aligned(["topic", "n"], [["lasair_a", 5], ["b", 1234]]):
    ...     print(line)
    topic        n
    lasair_a     5
    b         1234
    """
    rows = iter(rows)
    head = list(islice(rows, WIDTH_ROWS))
    texts = [[shown_text(value, null) for value in row] for row in head]
    names = [shown_text(name) for name in columns]
    widths = [max(map(len, each)) for each in zip(names, *texts, strict=True)]
    right = number_columns(columns, head)

    def line(cells: Iterable[str]) -> str:
        placed = zip(cells, widths, right, strict=True)
        return "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in placed).rstrip()

    yield line(names)
    yield from map(line, texts)
    for row in rows:
        yield line(shown_text(value, null) for value in row)


def number_columns(columns: Sequence[str], rows: Sequence[Row]) -> list[bool]:
    """For each column, whether it holds numbers and nothing else."""
    return [_is_numbers(each) for each in zip(*rows, strict=True)] or [False] * len(columns)


def _is_numbers(values: Iterable[Any]) -> bool:
    found = [value for value in values if value is not None and value != ""]
    return bool(found) and all(
        isinstance(value, int | float | Decimal) and not isinstance(value, bool) for value in found
    )


def csv_lines(columns: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    """Yield the lines of a CSV file; an empty field is NULL, `""` is an empty text.

    >>> list(csv_lines(["a", "b"], [[None, ""], ["x,y", 1]]))
    ['a,b', ',""', '"x,y",1']
    """
    for row in chain([columns], rows):
        yield ",".join("" if value is None else _csv_field(cell_text(value)) for value in row)


def _csv_field(text: str) -> str:
    if text and not QUOTED.search(text):
        return text
    return '"' + text.replace('"', '""') + '"'


def json_lines(columns: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    """Yield the lines of one JSON array, an object a line.

    >>> list(json_lines(["a"], [[1], [2]]))
    ['[{"a": 1},', ' {"a": 2}]']
    """
    before = None
    for row in rows:
        if before is not None:
            yield f"{before},"
        head = "[" if before is None else " "
        before = head + json_text(dict(zip(columns, row, strict=True)))
    yield "[]" if before is None else f"{before}]"


def html_table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table for a notebook, in which an alert's text stays text.

    >>> html_table(["<b>"], [])
    '<table><thead><tr><th>&lt;b&gt;</th></tr></thead><tbody></tbody></table>'
    """
    head = "".join(f"<th>{escape(shown_text(name))}</th>" for name in names)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(shown_text(value))}</td>' for value in row)}</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
