import csv
import io
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.text.tables import aligned, csv_lines, json_lines, json_text, shown_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def without_nan(value: Any) -> Any:
    """Return what strict JSON makes of a value."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, list):
        return [without_nan(each) for each in value]
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    return value


@given(VALUES)
def test_json_is_read_back_exactly(value: Any) -> None:
    """Any parser reads what we write, each value as it was."""
    text = json_text(value)
    assert json.loads(text, parse_constant=pytest.fail) == without_nan(value)
    assert "\n" not in text


@given(st.lists(st.lists(st.none() | st.text(), min_size=2, max_size=2), max_size=5))
def test_csv_is_read_back(rows: list[list[str | None]]) -> None:
    """A CSV reader gets every text back, whatever is in it."""
    text = "".join(f"{line}\n" for line in csv_lines(["a", "b"], rows))
    found = list(csv.reader(io.StringIO(text, newline="")))
    assert found == [["a", "b"], *[[each or "" for each in row] for row in rows]]


@given(st.lists(st.integers(), max_size=5))
def test_a_json_array_is_one_document(numbers: list[int]) -> None:
    """The lines together are one JSON array, an object a line."""
    lines = list(json_lines(["n"], [[number] for number in numbers]))
    assert json.loads("\n".join(lines)) == [{"n": number} for number in numbers]
    assert len(lines) == max(1, len(numbers))


@given(st.text())
def test_no_text_is_an_order_to_a_terminal(text: str) -> None:
    """Whatever a value says, what is shown is printable and on one line."""
    assert shown_text(text).isprintable()


@given(st.lists(st.tuples(st.integers(), st.text(max_size=20)), max_size=8))
def test_plain_tables_are_aligned(rows: list[tuple[int, str]]) -> None:
    """Numbers end in one column, whatever stands beside them."""
    _, *lines = aligned(["number", "text"], rows)
    assert len(lines) == len(rows)
    width = max([len("number"), *(len(str(number)) for number, _ in rows)])
    for line, (number, _) in zip(lines, rows, strict=True):
        assert line[:width] == str(number).rjust(width)


def test_long_tables_go_on() -> None:
    """A table longer than what is looked at for its widths is written to its end."""
    lines = list(aligned(["n"], ([n] for n in range(5000))))
    assert len(lines) == 5001
    assert lines[-1].strip() == "4999"
