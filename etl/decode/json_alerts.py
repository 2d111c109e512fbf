"""JSON messages to an Arrow table and rejects, exactly as Python's `json.loads` reads them.

The fast way is Arrow's JSON parser with the topic's learnt schema. A piece of the batch that it
can't read exactly is halved until few messages are left. These go the exact way, through
`json.loads`: the schema learns from them, and what does not fit is rescued.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import pyarrow as pa

from etl.decode.json_exact import exact_table, load
from etl.decode.json_fast import FastReader, Inexact
from etl.schema.keyed import Keys
from etl.schema.learn import Learner, settle
from etl.schema.paths import Path
from etl.schema.types import TopicSchema, file_schema
from etl.schema.wishes import NO_WISHES, Wishes

# What is parsed at once: a failure costs at most this much work again.
PIECE_BYTES = 4_000_000

# A failed piece this small is not worth halving further.
EXACT_BYTES = 16_000

# It doubles with each piece in a row that has to go the exact way, up to so many times.
EXACT_DOUBLINGS = 5

# As Python's objects, a message may take more than 20 times its bytes.
LARGE_BYTES = 1_000_000

# A topic's first messages teach the schema before the fast way is tried.
SEED_MESSAGES = 64
SEED_BYTES = 4_000_000


def piece_bounds(sizes: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """Cut messages with these cumulated sizes into pieces of at most `most` bytes, or one message.

    >>> list(piece_bounds([0, 5, 15, 45, 50], 20))
    [(0, 2), (2, 3), (3, 4)]
    """
    start = 0
    while start < len(sizes) - 1:
        end = max(start + 1, bisect_right(sizes, sizes[start] + most) - 1)
        yield start, end
        start = end


@dataclass(frozen=True, slots=True)
class _Piece:
    """Messages `[start, end)` as a table; `columns` are the alerts' own, `rows` those read."""

    start: int
    end: int
    rows: Sequence[int]
    columns: pa.Schema
    table: pa.Table
    exact: bool
    wide: frozenset[Path] = frozenset()


class JsonDecoder:
    """One batch; `schema` widens and `reasons` of rejects gather while the pieces are read."""

    def __init__(
        self,
        values: Sequence[bytes | None],
        schema: TopicSchema,
        readers: Executor | None = None,
        wishes: Wishes = NO_WISHES,
    ) -> None:
        self.schema = schema
        self.reasons: dict[int, str] = {}
        self._base = schema
        self._readers = readers
        self._values = [value for value in values if value is not None]
        self._rows: Sequence[int] = range(len(values))
        if len(self._values) < len(values):
            self._rows = [row for row, value in enumerate(values) if value is not None]
        self._sizes = [0, *accumulate(map(len, self._values))]
        self._keys = Keys(schema, wishes)
        self._learner = Learner(schema, self._keys)
        self._exact_in_a_row = 0
        self._fast: FastReader | None = None

    def decode(self) -> tuple[pa.Table, Sequence[int]]:
        """Return the table of all alerts, and the row of the batch that each came from."""
        if self.schema.version == 0:
            self._seed()
        pieces = self._settled(list(self._read_all()))
        if not pieces:
            return exact_table([], Learner(self.schema)), self._rows
        rows = self._rows
        if any(piece.exact for piece in pieces):
            rows = [self._rows[i] for piece in pieces for i in piece.rows]
        return pa.concat_tables([piece.table for piece in pieces]), rows

    def _settled(self, pieces: list[_Piece]) -> list[_Piece]:
        """Read pieces again until all have the columns of the schema as it is at the end."""
        while True:
            self.schema = settle(self.schema, self._base)
            columns = file_schema(self.schema)
            stale = [not piece.columns.equals(columns) for piece in pieces]
            if not any(stale):
                return pieces
            pieces = [
                new
                for piece, is_stale in zip(pieces, stale, strict=True)
                for new in (self._again(piece) if is_stale else [piece])
            ]

    def _seed(self) -> None:
        """Learn from the first few messages, so that the fast way has a schema to start with."""
        few = min(SEED_MESSAGES, bisect_right(self._sizes, SEED_BYTES))
        alerts = [alert for v in self._values[:few] if isinstance(alert := load(v), dict)]
        self._learn(alerts)

    def _learn(self, alerts: Iterable[Mapping[str, Any]]) -> Learner:
        """Widen the schema by what these alerts bring."""
        if self._learner.schema is not self.schema:
            self._learner = Learner(self.schema, self._keys)
        self._learner = self._learner.learn(alerts)
        self.schema = self._learner.schema
        return self._learner

    def _read_all(self) -> Iterator[_Piece]:
        """Read all pieces in order; with `readers`, the fast way is tried in several threads."""
        bounds = list(piece_bounds(self._sizes, PIECE_BYTES))
        if self._readers is None:
            for start, end in bounds:
                yield from self._read(start, end)
            return
        fast = self._fast_reader()
        trials = [self._readers.submit(self._try_fast, start, end, fast) for start, end in bounds]
        for (start, end), trial in zip(bounds, trials, strict=True):
            piece = trial.result()
            if piece is not None:
                yield self._with_wide(piece)
            elif self.schema is fast.schema:
                yield from self._halve(start, end)
            else:
                yield from self._read(start, end)

    def _again(self, piece: _Piece) -> Iterator[_Piece]:
        if piece.exact:
            yield self._read_exactly(piece.start, piece.end)
        else:
            yield from self._read(piece.start, piece.end)

    def _read(self, start: int, end: int) -> Iterator[_Piece]:
        """Read a piece the fast way; halve it where that fails."""
        piece = self._try_fast(start, end, self._fast_reader())
        if piece is None:
            yield from self._halve(start, end)
        else:
            yield self._with_wide(piece)

    def _halve(self, start: int, end: int) -> Iterator[_Piece]:
        size = self._sizes[end] - self._sizes[start]
        if end - start == 1 and size >= LARGE_BYTES:
            yield self._read_large(start)
        elif end - start == 1 or size <= EXACT_BYTES << min(self._exact_in_a_row, EXACT_DOUBLINGS):
            self._exact_in_a_row += 1
            yield self._read_exactly(start, end)
        else:
            half = (start + end) // 2
            yield from self._read(start, half)
            yield from self._read(half, end)

    def _read_large(self, at: int) -> _Piece:
        """Learn from a large message, then try the fast way again: it needs far less memory."""
        before = self.schema
        alert = load(self._values[at])
        if isinstance(alert, dict):
            self._learn([alert])
        del alert
        if self.schema is not before:
            piece = self._try_fast(at, at + 1, self._fast_reader())
            if piece is not None:
                return self._with_wide(piece)
        return self._read_exactly(at, at + 1)

    def _fast_reader(self) -> FastReader:
        if self._fast is None or self._fast.schema is not self.schema:
            self._fast = FastReader(self.schema)
        return self._fast

    def _with_wide(self, piece: _Piece) -> _Piece:
        """Note where a piece that was read the fast way has integers above 2^53."""
        self._exact_in_a_row = 0
        if not piece.wide <= self.schema.wide:
            self.schema = replace(self.schema, wide=self.schema.wide | piece.wide)
        return piece

    def _try_fast(self, start: int, end: int, fast: FastReader) -> _Piece | None:
        """Read a piece the fast way, None where it can't; changes nothing, so in any thread."""
        try:
            table, wide = fast.read(self._values[start:end])
        except Inexact:
            return None
        return _Piece(start, end, range(start, end), fast.columns, table, False, wide)

    def _read_exactly(self, start: int, end: int) -> _Piece:
        """Learn from each message, then fit it; what `json.loads` refuses is a reject."""
        alerts: dict[int, dict[str, Any]] = {}
        for i in range(start, end):
            alert = load(self._values[i])
            if isinstance(alert, dict):
                alerts[i] = alert
            else:
                self.reasons[self._rows[i]] = alert
        learner = self._learn(alerts.values())
        table = exact_table(alerts.values(), learner)
        return _Piece(start, end, list(alerts), file_schema(self.schema), table, True)
