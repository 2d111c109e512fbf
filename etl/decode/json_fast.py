"""The quick way to read messages: Arrow's JSON parser, and the guards that make it exact.

What the parser would accept, change or drop without a word becomes a `Drift`: the caller then
reads the messages the careful way.
"""

import json
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from etl.schema.paths import ELEMENT, Path, path_text
from etl.schema.types import (
    EXACT_LIMIT,
    NUMBER,
    TEXT,
    TIMESTAMP,
    UTC_CHARS,
    TopicSchema,
    file_schema,
    typed,
)


class Drift(Exception):
    """A piece that the quick way can't read exactly; the careful way says why."""


def _probe(arrow: pa.DataType) -> pa.DataType:
    """Give the type to parse a field with: NaN and null alone pass as a number without value."""
    if pa.types.is_null(arrow):
        return NUMBER
    if arrow == TIMESTAMP:
        return TEXT
    if pa.types.is_list(arrow):
        return pa.list_(_probe(arrow.value_type))
    if pa.types.is_struct(arrow):
        return pa.struct([pa.field(f.name, _probe(f.type)) for f in arrow])
    return arrow


class Form:
    """A schema as the quick way needs it."""

    def __init__(self, schema: TopicSchema) -> None:
        self.schema = schema
        self.columns = file_schema(schema)
        self.options = pj.ParseOptions(
            explicit_schema=pa.schema(list(_probe(schema.fields))),
            unexpected_field_behavior="error",
        )


def parse(text: bytes, options: pj.ParseOptions) -> pa.Table:
    """Parse newline-separated objects as one block; the first must not be `null` (it crashes)."""
    try:
        return pj.read_json(
            pa.BufferReader(text),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(text) + 1),
            parse_options=options,
        )
    except pa.ArrowInvalid as error:
        raise Drift from error


class Guard:
    """Turn parsed columns into exact ones, or fail the piece.

    What Arrow's parser does without a word, and `json.loads` does not: an integer beyond 2^53
    in a number column is rounded; `Inf` and `-NaN` are read; a time may lack its seconds.
    NaN becomes null here, which is Lasair's meaning of it.
    """

    def __init__(self, wide: set[Path]) -> None:
        self.wide = wide
        self.met_nan = False
        self.empties: list[tuple[pa.Array, str]] = []

    def check(self, array: pa.Array, arrow: pa.DataType, path: Path) -> pa.Array | None:
        """Give the exact array, None for a field that still has no type; raise `Drift`."""
        if pa.types.is_struct(arrow) and arrow.num_fields:
            return self._check_struct(array, arrow, path)
        if pa.types.is_list(arrow):
            return self._check_list(array, arrow, path)
        if pa.types.is_floating(array.type):
            array = self._check_numbers(array)
        elif arrow == TIMESTAMP:
            return _read_times(array)
        elif pa.types.is_int64(arrow) and path not in self.wide and _is_wide(array):
            self.wide.add(path)
        if typed(arrow) is not None:
            return array
        self._rescue_empty(array, path, "{}", 0 if pa.types.is_struct(arrow) else 1)
        return None

    def _check_struct(self, array: pa.Array, arrow: pa.DataType, path: Path) -> pa.Array | None:
        before = [array.field(i) for i in range(arrow.num_fields)]
        after = [
            self.check(child, f.type, (*path, f.name))
            for child, f in zip(before, arrow, strict=True)
        ]
        kept = [(f.name, child) for f, child in zip(arrow, after, strict=True) if child is not None]
        if not kept:
            self._rescue_empty(array, path, "{}", arrow.num_fields)
            return None
        if all(new is old for new, old in zip(after, before, strict=True)):
            return array
        names, children = zip(*kept, strict=True)
        mask = array.is_null() if array.null_count else None
        return pa.StructArray.from_arrays(children, names=names, mask=mask)

    def _check_list(self, array: pa.Array, arrow: pa.DataType, path: Path) -> pa.Array | None:
        before = array.values
        after = self.check(before, arrow.value_type, (*path, ELEMENT))
        if after is None:
            self._rescue_empty(array, path, "[]", len(before))
            return None
        if after is before:
            return array
        mask = array.is_null() if array.null_count else None
        return pa.ListArray.from_arrays(array.offsets, after, mask=mask)

    def _rescue_empty(self, array: pa.Array, path: Path, value: str, content: int) -> None:
        """Note where a list or object without a type is empty; with content it is a drift."""
        if array.null_count == len(array):
            return
        if content or ELEMENT in path:
            raise Drift
        self.empties.append((array.is_valid(), f"{json.dumps(path_text(path))}: {value}"))

    def rescued(self, rows: int) -> pa.Array:
        """Give `etl_rescued`: the empty lists and objects that have no column yet."""
        if not self.empties:
            return pa.nulls(rows, TEXT)
        notes: list[list[str]] = [[] for _ in range(rows)]
        for present, note in self.empties:
            for row in pc.indices_nonzero(present).to_pylist():
                notes[row].append(note)
        return pa.array(["{" + ", ".join(n) + "}" if n else None for n in notes], TEXT)

    def _check_numbers(self, array: pa.Array) -> pa.Array:
        good = pc.less(pc.abs(array), _constant(EXACT_LIMIT, "f8")).true_count + array.null_count
        if good < len(array):
            nan = pc.is_nan(array)
            if good + nan.true_count < len(array):
                raise Drift  # an integer among them may be rounded: 2^53 + 1 has become 2^53
            self.met_nan = True
            array = pc.if_else(nan, _constant(None, "f8"), array)
        return array


@cache
def _constant(value: int | None, arrow: str) -> pa.Scalar:
    """Make a scalar once, and not on import: Arrow then imports pandas where that is installed."""
    return pa.scalar(value, arrow)


def _is_wide(array: pa.Array) -> bool:
    """Say whether any integer's absolute value is above 2^53."""
    above = pc.greater(array, _constant(EXACT_LIMIT, "i8")).true_count
    return bool(above or pc.less(array, _constant(-EXACT_LIMIT, "i8")).true_count)


def _read_times(array: pa.Array) -> pa.Array:
    short = pc.less(pc.binary_length(array), UTC_CHARS)
    if short.true_count or pc.starts_with(array, "0000").true_count:
        raise Drift
    try:
        return pc.cast(array, TIMESTAMP)
    except pa.ArrowInvalid as error:
        raise Drift from error
