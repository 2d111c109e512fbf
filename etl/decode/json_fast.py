"""The fast way to read messages: Arrow's JSON parser, and checks that make it exact.

Where the parser would accept, change or drop something silently, `Inexact` is raised, and the
caller reads the messages with `json_exact` instead.
"""

import json
import re
from collections.abc import Sequence
from functools import cache
from operator import itemgetter

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from etl.decode.json_cut import MARK, Cuts, Cutter, Uncut
from etl.schema.paths import ELEMENT, Path, path_text
from etl.schema.types import (
    EXACT_LIMIT,
    NUMBER,
    TEXT,
    TIMESTAMP,
    UTC_CHARS,
    UTC_FIELD,
    TopicSchema,
    file_schema,
    typed,
)

_FIRST, _LAST = itemgetter(0), itemgetter(-1)
_OPEN, _CLOSE = {ord("{")}, {ord("}")}
_MINUS_NAN = re.compile(rb"-NaN")  # twice as fast as `in`


class Inexact(Exception):
    """Arrow's parser can't read these messages as `json.loads` does; `json_exact` says why."""


class FastReader:
    """The fast way for one schema; reading changes nothing here, so threads may share it."""

    def __init__(self, schema: TopicSchema) -> None:
        self.schema = schema
        self.columns = file_schema(schema)
        self._cutter = Cutter(schema)
        self._options = pj.ParseOptions(
            explicit_schema=pa.schema(list(_parsed_type(schema.fields, self._cutter))),
            unexpected_field_behavior="error",
        )

    def read(self, values: Sequence[bytes]) -> tuple[pa.Table, frozenset[Path]]:
        """Return a row per message, and the paths with integers above 2^53; raise `Inexact`."""
        cuts = Cuts()
        if self._cutter.is_needed:
            try:
                values, cuts = self._cutter.cut(values)
            except Uncut as error:
                raise Inexact from error
        text = _lines(values)
        parsed = self._parse(text)
        if parsed.num_rows != len(values):
            raise Inexact
        checker = _Checker(self.schema.wide, self._cutter, cuts)
        checked = [
            checker.check(_one_chunk(parsed.column(f.name)), f.type, (f.name,))
            for f in self.schema.fields
        ]
        if checker.met_nan and _MINUS_NAN.search(text):
            raise Inexact
        arrays = [array for array in checked if array is not None]
        table = pa.Table.from_arrays(arrays, schema=self.columns)
        example = pc.is_null(arrays[self.columns.get_field_index(UTC_FIELD)])
        table = table.append_column("etl_example", example)
        return (
            table.append_column("etl_rescued", checker.rescued(len(values))),
            frozenset(checker.wide),
        )

    def _parse(self, text: bytes) -> pa.Table:
        """Parse all lines as one block; the first must not be `null`, which crashes Arrow."""
        try:
            return pj.read_json(
                pa.BufferReader(text),
                read_options=pj.ReadOptions(use_threads=False, block_size=len(text) + 1),
                parse_options=self._options,
            )
        except pa.ArrowInvalid as error:
            raise Inexact from error


def _lines(values: Sequence[bytes]) -> bytes:
    """Join messages that each begin and end with a brace, in valid UTF-8."""
    try:
        if {*map(_FIRST, values)} != _OPEN or {*map(_LAST, values)} != _CLOSE:
            raise Inexact
        text = b"\n".join(values)
        if not text.isascii():
            text.decode()
    except (IndexError, UnicodeDecodeError) as error:  # IndexError: an empty message
        raise Inexact from error
    return text


def _parsed_type(arrow: pa.DataType, cutter: Cutter, path: Path = ()) -> pa.DataType:
    """Return the type to parse a field with: one without a type may hold only null and NaN."""
    if pa.types.is_null(arrow):
        return NUMBER
    if arrow == TIMESTAMP:
        return TEXT
    if pa.types.is_list(arrow):
        return pa.list_(_parsed_type(arrow.value_type, cutter, (*path, ELEMENT)))
    if pa.types.is_struct(arrow):
        fields = [pa.field(f.name, _parsed_type(f.type, cutter, (*path, f.name))) for f in arrow]
        return pa.struct([*fields, pa.field(MARK, TEXT)] if path in cutter.structs else fields)
    return arrow


class _Checker:
    """Turns parsed columns into exact ones, or raises `Inexact`.

    Arrow's parser silently rounds integers beyond 2^53 in a number column, reads `Inf` and
    `-NaN`, and accepts times without seconds; `json.loads` does not. NaN becomes null here,
    because it is Lasair's mark for no value.
    """

    def __init__(self, wide: frozenset[Path], cutter: Cutter, cuts: Cuts) -> None:
        self.wide = set(wide)
        self._cutter = cutter
        self._cuts = cuts
        self.met_nan = False
        self._empties: list[tuple[pa.Array, str]] = []

    def check(self, array: pa.Array, arrow: pa.DataType, path: Path) -> pa.Array | None:
        """Return the exact array, or None for a field that has no type yet."""
        if pa.types.is_struct(arrow) and arrow.num_fields:
            return self._check_struct(array, arrow, path)
        if pa.types.is_list(arrow):
            return self._check_list(array, arrow, path)
        if pa.types.is_floating(array.type):
            array = self._check_numbers(array)
        elif arrow == TIMESTAMP:
            return _times(array)
        elif path in self._cutter.texts:
            return self._without_marks(array)
        elif pa.types.is_int64(arrow) and path not in self.wide and _is_wide(array):
            self.wide.add(path)
        if typed(arrow) is not None:
            return array
        self._rescue_empty(array, path, "{}", 0 if pa.types.is_struct(arrow) else 1)
        return None

    def _check_struct(self, array: pa.Array, arrow: pa.DataType, path: Path) -> pa.Array | None:
        before = [array.field(i) for i in range(arrow.num_fields)]
        is_cut = path in self._cutter.structs
        if is_cut:
            marks = array.field(arrow.num_fields)
            self._cuts.found += len(marks) - marks.null_count
        after = [
            self.check(child, f.type, (*path, f.name))
            for child, f in zip(before, arrow, strict=True)
        ]
        kept = [(f.name, child) for f, child in zip(arrow, after, strict=True) if child is not None]
        if not kept:
            self._rescue_empty(array, path, "{}", arrow.num_fields)
            return None
        if not is_cut and all(new is old for new, old in zip(after, before, strict=True)):
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

    def _check_numbers(self, array: pa.Array) -> pa.Array:
        good = pc.less(pc.abs(array), _constant(EXACT_LIMIT, "f8")).true_count + array.null_count
        if good < len(array):
            nan = pc.is_nan(array)
            if good + nan.true_count < len(array):
                raise Inexact  # an integer may have been rounded: 2^53 + 1 is read as 2^53
            self.met_nan = True
            array = pc.if_else(nan, _constant(None, "f8"), array)
        return array

    def _rescue_empty(self, array: pa.Array, path: Path, value: str, content: int) -> None:
        """Note the rows with an empty list or object that has no type; with content: `Inexact`."""
        if array.null_count == len(array):
            return
        if content or ELEMENT in path:
            raise Inexact
        self._empties.append((array.is_valid(), f"{json.dumps(path_text(path))}: {value}"))

    def _without_marks(self, array: pa.Array) -> pa.Array:
        """Take the marks off the texts of objects; a text without one is the message's own."""
        marked = pc.starts_with(array, MARK).true_count
        if marked + array.null_count < len(array):
            raise Inexact
        self._cuts.found += marked
        return pc.utf8_slice_codeunits(array, len(MARK))

    def rescued(self, rows: int) -> pa.Array:
        """Return `etl_rescued`: what has no column yet, or will have none."""
        if self._cuts.found != self._cuts.made:
            raise Inexact  # something was cut out elsewhere
        if not self._empties and not self._cuts.rescued:
            return pa.nulls(rows, TEXT)
        notes: list[list[str]] = [[] for _ in range(rows)]
        for row, rest in self._cuts.rescued.items():
            notes[row] += rest
        for present, note in self._empties:
            for row in pc.indices_nonzero(present).to_pylist():
                notes[row].append(note)
        return pa.array(["{" + ", ".join(n) + "}" if n else None for n in notes], TEXT)


@cache
def _constant(value: int | None, arrow: str) -> pa.Scalar:
    """Return a scalar, made on first use: on import, it would make Arrow import pandas."""
    return pa.scalar(value, arrow)


def _is_wide(array: pa.Array) -> bool:
    """Whether any integer's absolute value is above 2^53."""
    above = pc.greater(array, _constant(EXACT_LIMIT, "i8")).true_count
    return bool(above or pc.less(array, _constant(-EXACT_LIMIT, "i8")).true_count)


def _times(array: pa.Array) -> pa.Array:
    short = pc.less(pc.binary_length(array), UTC_CHARS)
    if short.true_count or pc.starts_with(array, "0000").true_count:
        raise Inexact
    try:
        return pc.cast(array, TIMESTAMP)
    except pa.ArrowInvalid as error:
        raise Inexact from error


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
