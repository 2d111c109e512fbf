"""Write several files of the lake as one: sorted by object, and every value as it was.

It holds a bounded part of them in memory at a time. Where they are more, their rows go through
files without a name beside the catalog, each a range of the order; those vanish with the process.
"""

import json
import tempfile
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from etl.errors import DataAtRisk, LakeNotWritable
from etl.land import (
    FOLDERS,
    FOOTER_KEY,
    REJECT_SCHEMA,
    atomic_file,
    group_rows,
    parquet_writer,
)
from etl.records import ALERTS, LandedFile, Span, StoredFile
from etl.schema import TEXT, TIMESTAMP, TRUTH, TopicSchema, file_schema

IDS = ("diaObjectId", "objectId")
"""What rows are sorted by: the first of these that the topic has, else the order of arrival."""
ARRIVAL = ("etl_incarnation", "kafka_partition", "kafka_offset")

ROW_COLUMNS = pa.schema(
    [
        ("kafka_partition", pa.int32()),
        ("kafka_offset", pa.int64()),
        ("kafka_timestamp", TIMESTAMP),
        ("etl_incarnation", pa.int32()),
        ("etl_run_id", TEXT),
        ("etl_ingested_at", TIMESTAMP),
        ("etl_example", TRUTH),
        ("etl_rescued", TEXT),
    ]
)
"""What each alert's row has behind the alert's own fields."""

HELD_BYTES = 16_000_000
PIECE_BYTES = 8_000_000
MOST_PARTS = 200
SAMPLES = 65_536
GROUP_ROWS = 16_384
GROUPS = 16
MOST_GROUP_ROWS = 122_880
"""A look-up reads one row group: few rows in each, but not so many groups that the footer grows."""
PAGE_ROWS = 4_096
"""What a look-up unpacks of a column: with pyarrow's 20,000 it took twice as long."""
FALSE_POSITIVES = 0.01


@dataclass(frozen=True, slots=True)
class Target:
    """What the new file shall be: where, by which run, with which columns but for `night`."""

    path: str
    run_id: str
    checkpoint: int
    schema_version: int
    schema: pa.Schema


def relative_path(files: Sequence[StoredFile], run_id: str, number: int) -> str:
    """Name the file that holds all of these: below its night, or its month where they have more."""
    nights = {f.night for f in files} | {f.last_night for f in files}
    first = min(nights)
    folder = f"night={first}" if len(nights) == 1 else f"{first:%Y-%m}"
    kind, topic = files[0].kind, files[0].topic
    return f"{FOLDERS[kind]}/kafka_topic={topic}/{folder}/{run_id}-{number}.parquet"


def columns_of(kind: str, schema: TopicSchema) -> pa.Schema:
    """Give the columns of a file of this kind, as the topic's newest schema has them."""
    if kind != ALERTS:
        return REJECT_SCHEMA
    return pa.schema([*file_schema(schema), *ROW_COLUMNS])


def rewrite(files: Sequence[StoredFile], wanted: Target, lake: Path) -> LandedFile:
    """Write one file with the rows of all of these, which are of one topic and kind.

    Raises
    ------
    DataAtRisk
        A file is not what the catalog says; nothing was written.
    LakeNotWritable
        The file system refuses.
    """
    first = min(file.night for file in files)
    last = max(file.last_night for file in files)
    schema = wanted.schema
    if first != last:
        schema = schema.append(pa.field("night", pa.date32()))
    rows = sum(file.rows for file in files)
    footer = {FOOTER_KEY: json.dumps(_origin(files, wanted, lake)).encode()}
    key = _sort_key(schema)
    most = min(MOST_GROUP_ROWS, max(GROUP_ROWS, -(-rows // GROUPS)))
    bloom = {key[0]: {"ndv": min(most, rows), "fpp": FALSE_POSITIVES}} if key[0] in IDS else None
    layout = {"bloom_filter_options": bloom, "max_rows_per_page": PAGE_ROWS}
    written = 0
    path = lake / wanted.path
    with atomic_file(path) as out, parquet_writer(out, schema, **layout) as writer:
        for table in _in_order(files, schema, key, lake):
            writer.write_table(table, group_rows(table, most))
            written += table.num_rows
        if written != rows:
            raise DataAtRisk(f"{wanted.path}: {written} rows of {rows}; it was thrown away")
        writer.add_key_value_metadata(footer)
    size = path.stat().st_size
    topic, kind = files[0].topic, files[0].kind
    version = wanted.schema_version if kind == ALERTS else 0
    several = last if last != first else None
    return LandedFile(wanted.path, topic, first, kind, rows, size, version, several)


def _sort_key(schema: pa.Schema) -> tuple[str, ...]:
    fits = (pa.types.is_int64, pa.types.is_string)
    ids = [n for n in IDS if n in schema.names and any(is_(schema.field(n).type) for is_ in fits)]
    return (*ids[:1], *ARRIVAL)


def _in_order(
    files: Sequence[StoredFile], schema: pa.Schema, key: Sequence[str], lake: Path
) -> Iterator[pa.Table]:
    """Give all rows in order, a bounded number of bytes at a time."""
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
    """Read the files, some rows at a time, with the columns that the new one has."""
    for file in files:
        with _opened(file, lake) as opened:
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
    """Join what small files gave: each piece of its own would have to be sorted and dealt."""
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
    """Give a table the columns and types of a later version of its schema.

    What an earlier one lacks is NULL; BIGINT becomes DOUBLE only where that is exact, or else it
    is an error.
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
    """Name a field that a type has and another one lacks: a cast would drop it silently."""
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


@contextmanager
def _opened(file: StoredFile, lake: Path) -> Iterator[pq.ParquetFile]:
    """Open a file that is what the catalog says; what else goes wrong in reading it is named."""
    path = lake / file.path
    try:
        if path.stat().st_size != file.size_bytes:
            raise DataAtRisk(f"{file.path}: not {file.size_bytes} bytes, as registered")
        with pq.ParquetFile(path) as opened:
            if opened.metadata.num_rows != file.rows:
                raise DataAtRisk(f"{file.path}: not {file.rows} rows, as registered")
            yield opened
    except (OSError, pa.ArrowException) as error:
        raise DataAtRisk(f"{file.path}: can't be read: {error}") from error


def _origin(files: Sequence[StoredFile], wanted: Target, lake: Path) -> dict[str, Any]:
    """Say in the footer what all the footers said: which offsets of which lives these rows are."""
    lives: dict[int, str | None] = {}
    spans: set[Span] = set()
    for file in files:
        with _opened(file, lake) as opened:
            said = (opened.metadata.metadata or {}).get(FOOTER_KEY)
        try:
            origin = json.loads(said or b"")
            spans |= {Span(**span) for span in origin["spans"]}
            own = {str(origin["incarnation"]): origin["topic_id"]}
            lives |= {int(n): topic_id for n, topic_id in origin.get("lives", own).items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataAtRisk(f"{file.path}: does not say where its rows come from") from error
    newest = max(lives)
    return {
        "run_id": wanted.run_id,
        "checkpoint": wanted.checkpoint,
        "topic": files[0].topic,
        "topic_id": lives[newest],
        "incarnation": newest,
        "schema_version": wanted.schema_version if files[0].kind == ALERTS else 0,
        "spans": [asdict(span) for span in joined(spans)],
        "lives": lives,
    }


def joined(spans: set[Span]) -> list[Span]:
    """Make one span of those of a partition that touch or overlap.

    >>> joined({Span("t", 1, 0, 0, 5), Span("t", 1, 0, 5, 9), Span("t", 1, 0, 10, 11)})[0].end
    9
    """
    found: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.topic, s.incarnation, s.partition, s.start)):
        last = found[-1] if found else None
        if last and _place(last) == _place(span) and span.start <= last.end:
            found[-1] = Span(*_place(last), last.start, max(last.end, span.end))
        else:
            found.append(span)
    return found


def _place(span: Span) -> tuple[str, int, int]:
    return span.topic, span.incarnation, span.partition


# ------------------------------------------------------------------- more than memory should hold


class _Part:
    """One range of the order, on disk until it is its turn."""

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        self._file = file
        self._schema = schema
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = pa.ipc.new_stream(file, schema, options=options)

    def put(self, table: pa.Table) -> None:
        """Add some rows."""
        with _writing():
            self._writer.write_table(table)

    def take_back(self) -> pa.Table:
        """Give all rows that were put here, and forget them."""
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
    """Choose keys that divide all rows into so many parts of about one size, from a sample."""
    step = max(1, sum(file.rows for file in files) // SAMPLES)
    samples = []
    for file in files:
        with _opened(file, lake) as opened:
            names = [name for name in keys.names if name in opened.schema_arrow.names]
            found = opened.read(columns=names, use_threads=False)
            sample = found.take(pa.array(range(0, found.num_rows, step), pa.int64()))
            samples.append(_widened(sample, keys, file.path))
    table = _ordered(pa.concat_tables(samples), keys.names)
    key_at = _keys(table, keys.names)
    cuts = sorted({round(part * table.num_rows / parts) for part in range(1, parts)})
    return [key_at(cut) for cut in cuts]


def _keys(table: pa.Table, key: Sequence[str]) -> Callable[[int], tuple[Any, ...]]:
    """Give the function that tells a row's key; NULL comes last, as it does where Arrow sorts."""
    columns = [table.column(name) for name in key]

    def key_at(row: int) -> tuple[Any, ...]:
        values = [column[row].as_py() for column in columns]
        return tuple((value is None, value) for value in values)

    return key_at


def _deal(
    piece: pa.Table, key: Sequence[str], bounds: Sequence[tuple[Any, ...]], parts: Sequence[_Part]
) -> None:
    """Put each row into the part where it belongs."""
    ordered = _ordered(piece, key)
    key_at = _keys(ordered, key)
    cuts = [bisect_left(range(ordered.num_rows), bound, key=key_at) for bound in bounds]
    for part, (start, end) in zip(parts, pairwise([0, *cuts, ordered.num_rows]), strict=True):
        if end > start:
            part.put(ordered.slice(start, end - start))
