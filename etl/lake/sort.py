"""The rows of many files in one order, with a bounded part of them in memory.

Where they are more, they go through temporary files in the lake's folder, each a range of the
order. Those have no name, and vanish with the process.
"""

import tempfile
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc

from etl.errors import DataAtRisk, LakeNotWritable
from etl.lake.parquet import open_parquet
from etl.records import StoredFile

HELD_BYTES = 16_000_000
PIECE_BYTES = 8_000_000
MOST_PARTS = 200
SAMPLES = 65_536


def in_order(
    files: Sequence[StoredFile], schema: pa.Schema, key: Sequence[str], lake: Path
) -> Iterator[pa.Table]:
    """Read all rows in order, a bounded number of bytes at a time."""
    held: list[pa.Table] = []
    held_bytes = 0
    pieces = _gathered(_pieces(files, schema, lake))
    for piece in pieces:
        held.append(piece)
        held_bytes += piece.nbytes
        if held_bytes > HELD_BYTES:
            break
    else:
        yield _ordered(pa.concat_tables(held), key)
        return
    total = held_bytes * sum(f.rows for f in files) / sum(piece.num_rows for piece in held)
    ordered_by = pa.schema([schema.field(name) for name in key])
    bounds = _bounds(files, ordered_by, lake, min(MOST_PARTS, int(total // HELD_BYTES) + 1))
    with ExitStack() as stack:
        parts = [stack.enter_context(_part(schema, lake)) for _ in range(len(bounds) + 1)]
        while held:
            _deal(held.pop(), key, bounds, parts)
        for piece in pieces:
            _deal(piece, key, bounds, parts)
        for part in parts:
            table = part.take_back()
            if table.num_rows:
                yield _ordered(table, key)


def _ordered(table: pa.Table, key: Sequence[str]) -> pa.Table:
    return table.take(pc.sort_indices(table, sort_keys=[(name, "ascending") for name in key]))


def _pieces(files: Sequence[StoredFile], schema: pa.Schema, lake: Path) -> Iterator[pa.Table]:
    """Read the files, some rows at a time, with the columns of the new one."""
    for file in files:
        with open_parquet(file, lake) as opened:
            groups = (opened.metadata.row_group(n) for n in range(opened.num_row_groups))
            per_row = max(1, sum(group.total_byte_size for group in groups) // file.rows)
            rows = max(1, PIECE_BYTES // per_row)
            for batch in opened.iter_batches(rows, use_threads=False):
                table = pa.Table.from_batches([batch])
                if "night" in schema.names and "night" not in table.column_names:
                    nights = pa.repeat(pa.scalar(file.night, pa.date32()), table.num_rows)
                    table = table.append_column("night", nights)
                yield _widened(table, schema, file.path)


def _gathered(pieces: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Join small pieces, since each piece is sorted and dealt on its own."""
    held: list[pa.Table] = []
    held_bytes = 0
    for piece in pieces:
        held.append(piece)
        held_bytes += piece.nbytes
        if held_bytes >= PIECE_BYTES:
            yield pa.concat_tables(held)
            held, held_bytes = [], 0
    if held:
        yield pa.concat_tables(held)


def _widened(table: pa.Table, schema: pa.Schema, path: str) -> pa.Table:
    """Cast a table to a later version of its schema.

    A new column is NULL; a BIGINT that is not exact as a DOUBLE is an error.
    """
    lost = _missing(pa.struct(list(table.schema)), pa.struct(list(schema)), "")
    if lost:
        raise DataAtRisk(f"{path}: has {lost}, which the catalog does not know")
    columns = [
        table.column(f.name).cast(f.type)
        if f.name in table.column_names
        else pa.nulls(table.num_rows, f.type)
        for f in schema
    ]
    return pa.table(columns, schema=schema)


def _missing(found: pa.DataType, wanted: pa.DataType, path: str) -> str | None:
    """Name a field of `found` that `wanted` lacks, which a cast would drop silently."""
    if pa.types.is_list(found) and pa.types.is_list(wanted):
        return _missing(found.value_type, wanted.value_type, f"{path}[]")
    if not (pa.types.is_struct(found) and pa.types.is_struct(wanted)):
        return None
    for field in found:
        name = f"{path}.{field.name}"
        if wanted.get_field_index(field.name) < 0:
            return name
        inner = _missing(field.type, wanted.field(field.name).type, name)
        if inner:
            return inner
    return None


class _Part:
    """One range of the order, on disk until it is its turn."""

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        self._file = file
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = pa.ipc.new_stream(file, schema, options=options)

    def put(self, table: pa.Table) -> None:
        with _writing():
            self._writer.write_table(table)

    def take_back(self) -> pa.Table:
        """Return all rows, and drop them from disk."""
        with _writing():
            self._writer.close()
            self._file.seek(0)
            with pa.ipc.open_stream(self._file) as reader:
                table = reader.read_all()
            self._file.truncate(0)
        return table


@contextmanager
def _part(schema: pa.Schema, lake: Path) -> Iterator[_Part]:
    with _writing(), tempfile.TemporaryFile(dir=lake) as file:
        yield _Part(file, schema)


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LakeNotWritable(
            f"{error.filename or 'sorting in the lake'}: {error.strerror or error}; nothing of it "
            f"is visible"
        ) from error


def _bounds(
    files: Sequence[StoredFile], keys: pa.Schema, lake: Path, parts: int
) -> list[tuple[Any, ...]]:
    """Choose keys that divide the rows of a sample into so many parts of about equal size."""
    step = max(1, sum(file.rows for file in files) // SAMPLES)
    samples = []
    for file in files:
        with open_parquet(file, lake) as opened:
            names = [name for name in keys.names if name in opened.schema_arrow.names]
            found = opened.read(columns=names, use_threads=False)
            sample = found.take(pa.array(range(0, found.num_rows, step), pa.int64()))
            samples.append(_widened(sample, keys, file.path))
    table = _ordered(pa.concat_tables(samples), keys.names)
    key_at = _keys(table, keys.names)
    cuts = sorted({round(part * table.num_rows / parts) for part in range(1, parts)})
    return [key_at(cut) for cut in cuts]


def _keys(table: pa.Table, key: Sequence[str]) -> Callable[[int], tuple[Any, ...]]:
    """Return the function from a row to its key, with NULL last, as Arrow sorts it."""
    columns = [table.column(name) for name in key]

    def key_at(row: int) -> tuple[Any, ...]:
        values = [column[row].as_py() for column in columns]
        return tuple((value is None, value) for value in values)

    return key_at


def _deal(
    piece: pa.Table, key: Sequence[str], bounds: Sequence[tuple[Any, ...]], parts: Sequence[_Part]
) -> None:
    ordered = _ordered(piece, key)
    key_at = _keys(ordered, key)
    cuts = [bisect_left(range(ordered.num_rows), bound, key=key_at) for bound in bounds]
    for part, (start, end) in zip(parts, pairwise([0, *cuts, ordered.num_rows]), strict=True):
        if end > start:
            part.put(ordered.slice(start, end - start))
