"""Message values to an Arrow table and rejects, exactly as Python's `json.loads` reads them.

The quick way is Arrow's JSON parser with the topic's learnt schema, behind guards that turn
everything it would accept, change or drop silently into a failure of the piece at hand. A piece
that fails is halved until a few messages are left, and these go the careful way, through
`json.loads`, where the schema learns from them and what does not fit is rescued.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import accumulate
from operator import itemgetter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from etl.decode.json_exact import load
from etl.decode.json_fast import Drift, Form, Guard, parse
from etl.schema.learn import Learner, observe, settle
from etl.schema.paths import Path
from etl.schema.types import TEXT, TRUTH, UTC_FIELD, TopicSchema, file_schema, is_null

# What is parsed at once: a failure costs at most this much work again.
PIECE_BYTES = 4_000_000

# So much of a failed piece is not worth halving further.
CAREFUL_BYTES = 16_000
SEED_MESSAGES = 64

# A topic's first messages teach the schema before the quick way is tried.
SEED_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class _Piece:
    """Messages `[start, end)` as a table with the columns of `schema`; `rows` are the alerts."""

    start: int
    end: int
    rows: Sequence[int]
    schema: pa.Schema
    table: pa.Table
    careful: bool
    wide: frozenset[Path] = frozenset()


class JsonDecoder:
    """One batch on its way; `schema` widens while the pieces are read."""

    def __init__(
        self, values: Sequence[bytes | None], schema: TopicSchema, readers: Executor | None = None
    ) -> None:
        self.readers = readers
        self.values: list[bytes] = [value for value in values if value is not None]
        self.rows: Sequence[int] = range(len(values))
        if len(self.values) < len(values):
            self.rows = [row for row, value in enumerate(values) if value is not None]
        self.sizes = [0, *accumulate(map(len, self.values))]
        self.base = schema
        self.schema = schema
        self.reasons: dict[int, str] = {}
        self._learner: Learner | None = None
        self._form: Form | None = None

    def decode(self) -> tuple[pa.Table, Sequence[int]]:
        """Give the table of all alerts and the row of the batch that each came from."""
        if self.schema.version == 0:
            self._seed()
        pieces = list(self._read_all())
        while True:
            self.schema = settle(self.schema, self.base)
            columns = file_schema(self.schema)
            if all(piece.schema.equals(columns) for piece in pieces):
                break
            pieces = [
                again
                for piece in pieces
                for again in ([piece] if piece.schema.equals(columns) else self._again(piece))
            ]
        rows = self.rows
        if any(piece.careful for piece in pieces):
            rows = [self.rows[i] for piece in pieces for i in piece.rows]
        if not pieces:
            empty = [pa.array([], f.type) for f in columns]
            return _whole(empty, columns, pa.array([], TRUTH), pa.array([], TEXT)), rows
        return pa.concat_tables([piece.table for piece in pieces]), rows

    def _seed(self) -> None:
        """Learn from the first few messages, so that the quick way has a schema to start with."""
        few = min(SEED_MESSAGES, bisect_right(self.sizes, SEED_BYTES))
        alerts = [alert for v in self.values[:few] if isinstance(alert := load(v), dict)]
        self.schema = observe(self.schema, alerts)

    def _initial_pieces(self) -> Iterator[tuple[int, int]]:
        start = 0
        while start < len(self.values):
            end = bisect_right(self.sizes, self.sizes[start] + PIECE_BYTES) - 1
            end = max(start + 1, end)
            yield start, end
            start = end

    def _read_all(self) -> Iterator[_Piece]:
        """Read all pieces in order; with `readers` the quick way is tried side by side."""
        bounds = list(self._initial_pieces())
        if self.readers is None:
            for start, end in bounds:
                yield from self._read(start, end)
            return
        form = self._form_now()
        trials = [self.readers.submit(self._try_quickly, start, end, form) for start, end in bounds]
        for (start, end), trial in zip(bounds, trials, strict=True):
            piece = trial.result()
            if piece is not None:
                yield self._take_up(piece)
            elif self.schema is form.schema:
                yield from self._halve(start, end)
            else:
                yield from self._read(start, end)

    def _form_now(self) -> Form:
        if self._form is None or self._form.schema is not self.schema:
            self._form = Form(self.schema)
        return self._form

    def _again(self, piece: _Piece) -> Iterator[_Piece]:
        if piece.careful:
            yield self._read_carefully(piece.start, piece.end)
        else:
            yield from self._read(piece.start, piece.end)

    def _read(self, start: int, end: int) -> Iterator[_Piece]:
        """Read a piece the quick way; halve it where that fails."""
        piece = self._try_quickly(start, end, self._form_now())
        if piece is None:
            yield from self._halve(start, end)
        else:
            yield self._take_up(piece)

    def _halve(self, start: int, end: int) -> Iterator[_Piece]:
        if end - start == 1 or self.sizes[end] - self.sizes[start] <= CAREFUL_BYTES:
            yield self._read_carefully(start, end)
        else:
            half = (start + end) // 2
            yield from self._read(start, half)
            yield from self._read(half, end)

    def _take_up(self, piece: _Piece) -> _Piece:
        """Note where a piece that was read quickly has integers above 2^53."""
        if not piece.wide <= self.schema.wide:
            self.schema = replace(self.schema, wide=self.schema.wide | piece.wide)
        return piece

    def _try_quickly(self, start: int, end: int, form: Form) -> _Piece | None:
        """Read a piece the quick way, None where it drifts; changes nothing, so in any thread."""
        try:
            return self._read_quickly(start, end, form)
        except Drift:
            return None

    def _read_quickly(self, start: int, end: int, form: Form) -> _Piece:
        values = self.values[start:end]
        try:
            braces = {*map(_FIRST, values)} == _OPEN and {*map(_LAST, values)} == _CLOSE
        except IndexError:  # an empty message
            braces = False
        if not braces:
            raise Drift
        text = b"\n".join(values)
        if not _is_utf8(text):
            raise Drift
        parsed = parse(text, form.options)
        if parsed.num_rows != len(values):
            raise Drift
        wide = set(form.schema.wide)
        guard = Guard(wide)
        checked = [
            guard.check(_one_chunk(parsed.column(f.name)), f.type, (f.name,))
            for f in form.schema.fields
        ]
        if guard.met_nan and _MINUS_NAN.search(text):
            raise Drift
        arrays = [array for array in checked if array is not None]
        example = pc.is_null(arrays[form.columns.get_field_index(UTC_FIELD)])
        table = _whole(arrays, form.columns, example, guard.rescued(len(values)))
        rows = range(start, end)
        return _Piece(start, end, rows, form.columns, table, False, frozenset(wide))

    def _read_carefully(self, start: int, end: int) -> _Piece:
        """Learn from each message, then fit it; what `json.loads` refuses is a reject."""
        alerts: dict[int, dict[str, Any]] = {}
        for i in range(start, end):
            alert = load(self.values[i])
            if isinstance(alert, dict):
                alerts[i] = alert
            else:
                self.reasons[self.rows[i]] = alert
        if self._learner is None or self._learner.schema is not self.schema:
            self._learner = Learner(self.schema)
        self._learner = self._learner.learn(alerts.values())
        self.schema = self._learner.schema
        columns = file_schema(self.schema)
        fitted = [self._learner.fit(alert) for alert in alerts.values()]
        table = pa.Table.from_pylist([row for row, _ in fitted], columns)
        arrays = [_one_chunk(column) for column in table.columns]
        example = pa.array([is_null(alert.get(UTC_FIELD)) for alert in alerts.values()], TRUTH)
        rescued = pa.array([text for _, text in fitted], TEXT)
        whole = _whole(arrays, columns, example, rescued)
        return _Piece(start, end, list(alerts), columns, whole, True)


_MINUS_NAN = re.compile(rb"-NaN")  # twice as fast as `in`
_FIRST, _LAST = itemgetter(0), itemgetter(-1)
_OPEN, _CLOSE = {ord("{")}, {ord("}")}


def _whole(arrays: list[pa.Array], columns: pa.Schema, example: Any, rescued: Any) -> pa.Table:
    """Put the alerts' columns together with the two that speak of each message as a whole."""
    return (
        pa.Table.from_arrays(arrays, schema=columns)
        .append_column("etl_example", example)
        .append_column("etl_rescued", rescued)
    )


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _is_utf8(text: bytes) -> bool:
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
