"""Write Parquet files into the lake so that a file with its final name is always complete.

A temporary name, fsync, rename, fsync of the directory. Nothing here makes a file visible:
`register` does that.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from etl.errors import LakeNotWritable
from etl.lake import sync_folder
from etl.records import ALERTS, REJECTS, Decoded, LandedFile, Reject, Span
from etl.schema import TIMESTAMP

FOLDERS = {ALERTS: "data", REJECTS: "rejects"}

ROW_GROUP_ROWS = 122_880
ROW_GROUP_BYTES = 64_000_000
"""Row groups of wide alerts hold fewer rows, so that a reader needs little memory."""

FOOTER_KEY = b"lasair_etl"

REJECT_SCHEMA = pa.schema(
    [
        ("kafka_partition", pa.int32()),
        ("kafka_offset", pa.int64()),
        ("kafka_timestamp", TIMESTAMP),
        ("etl_incarnation", pa.int32()),
        ("etl_run_id", pa.string()),
        ("etl_ingested_at", TIMESTAMP),
        ("reason", pa.string()),
        ("value", pa.binary()),
    ]
)


@dataclass(frozen=True, slots=True)
class Stamp:
    """What every file and row of one batch is marked with.

    `night_starts` is the time by which a night's date lags behind UTC (Rubin's `day_obs`:
    12 hours). `first_file` numbers the files of the run.
    """

    run_id: str
    checkpoint: int
    topic: str
    topic_id: str | None
    incarnation: int
    schema_version: int
    ingested_at: datetime
    night_starts: timedelta
    first_file: int
    spans: tuple[Span, ...]


def land(decoded: Decoded, stamp: Stamp, lake: Path) -> list[LandedFile]:
    """Write a decoded batch, one file per night and kind.

    Raises
    ------
    LakeNotWritable
        Where the file system refuses: full, read-only, no permission. Files of this call that
        were complete by then are swept away by the next run.
    """
    landed: list[LandedFile] = []
    for kind, table in (
        (ALERTS, _stamped(decoded.table, stamp)),
        (REJECTS, _rejected(decoded.rejects, stamp)),
    ):
        for night, rows in _by_night(table, stamp):
            path = relative_path(
                kind, stamp.topic, night, stamp.run_id, stamp.first_file + len(landed)
            )
            size = write_table(rows, lake / path, _footer(stamp))
            version = stamp.schema_version if kind == ALERTS else 0
            landed.append(LandedFile(path, stamp.topic, night, kind, rows.num_rows, size, version))
    return landed


def relative_path(kind: str, topic: str, night: date, run_id: str, number: int) -> str:
    """Name a file of the lake; `topic` is a Kafka name, which has no character to escape."""
    return f"{FOLDERS[kind]}/kafka_topic={topic}/night={night}/{run_id}-{number}.parquet"


def _stamped(table: pa.Table, stamp: Stamp) -> pa.Table:
    rows = table.num_rows
    tail = table.select(["etl_example", "etl_rescued"])
    return (
        table.drop_columns(["etl_example", "etl_rescued"])
        .append_column("etl_incarnation", pa.repeat(pa.scalar(stamp.incarnation, "i4"), rows))
        .append_column("etl_run_id", pa.repeat(stamp.run_id, rows))
        .append_column("etl_ingested_at", pa.repeat(pa.scalar(stamp.ingested_at, TIMESTAMP), rows))
        .append_column("etl_example", tail.column(0))
        .append_column("etl_rescued", tail.column(1))
    )


def _rejected(rejects: Sequence[Reject], stamp: Stamp) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "kafka_partition": reject.partition,
                "kafka_offset": reject.offset,
                "kafka_timestamp": reject.timestamp,
                "etl_incarnation": stamp.incarnation,
                "etl_run_id": stamp.run_id,
                "etl_ingested_at": stamp.ingested_at,
                "reason": reject.reason,
                "value": reject.value,
            }
            for reject in rejects
        ],
        REJECT_SCHEMA,
    )


def _by_night(table: pa.Table, stamp: Stamp) -> Iterator[tuple[date, pa.Table]]:
    """Split rows by observing night; a row without a timestamp belongs to tonight."""
    if not table.num_rows:
        return
    tonight = pa.scalar(stamp.ingested_at, TIMESTAMP)
    moments = pc.fill_null(table.column("kafka_timestamp"), tonight)
    shifted = pc.subtract(moments, pa.scalar(stamp.night_starts, pa.duration("us")))
    nights = pc.cast(pc.floor_temporal(shifted, unit="day"), pa.date32())
    distinct = sorted(pc.unique(nights).to_pylist())
    for night in distinct:
        yield night, table if len(distinct) == 1 else table.filter(pc.equal(nights, night))


def _footer(stamp: Stamp) -> Mapping[bytes, bytes]:
    """Say in the file itself where its rows come from, so that a lost catalog can be rebuilt."""
    origin = {
        "run_id": stamp.run_id,
        "checkpoint": stamp.checkpoint,
        "topic": stamp.topic,
        "topic_id": stamp.topic_id,
        "incarnation": stamp.incarnation,
        "schema_version": stamp.schema_version,
        "spans": [asdict(span) for span in stamp.spans],
    }
    return {FOOTER_KEY: json.dumps(origin).encode()}


def write_table(table: pa.Table, path: Path, footer: Mapping[bytes, bytes]) -> int:
    """Write one Parquet file, whole or not at all; give its size in bytes."""
    with atomic_file(path) as out, parquet_writer(out, table.schema) as writer:
        writer.write_table(table, group_rows(table, ROW_GROUP_ROWS))
        writer.add_key_value_metadata(footer)
    return path.stat().st_size


def group_rows(table: pa.Table, most: int) -> int:
    """Say how many rows of this table make a row group that a reader has the memory for."""
    per_row: int = max(1, table.nbytes // max(1, table.num_rows))
    return min(most, max(1, ROW_GROUP_BYTES // per_row))


def parquet_writer(out: BinaryIO, schema: pa.Schema, **more: Any) -> pq.ParquetWriter:
    """Open a Parquet file as all of the lake's are: small, quick to read, every value exact."""
    return pq.ParquetWriter(
        out,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=_leaf_paths(schema, pa.types.is_string),
        column_encoding=dict.fromkeys(
            _leaf_paths(schema, pa.types.is_float64), "BYTE_STREAM_SPLIT"
        ),
        store_schema=False,  # a wide alert's is long, and takes the schema's metadata with it
        write_statistics=True,
        **more,
    )


def _leaf_paths(schema: pa.Schema, wanted: Any) -> list[str]:
    """List the Parquet paths of the leaves of one type; an ambiguous path is left out."""
    paths = list(_parquet_leaves(pa.struct(list(schema)), ""))
    times = Counter(name for name, _ in paths)
    return [name for name, arrow in paths if wanted(arrow) and times[name] == 1]


def _parquet_leaves(arrow: pa.DataType, name: str) -> Iterator[tuple[str, pa.DataType]]:
    if pa.types.is_struct(arrow):
        for field in arrow:
            yield from _parquet_leaves(field.type, f"{name}.{field.name}" if name else field.name)
    elif pa.types.is_list(arrow):
        yield from _parquet_leaves(arrow.value_type, f"{name}.list.element")
    else:
        yield name, arrow


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that appears under its name only when it is complete and on disk."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        _make_folder(path.parent)
        try:
            with temporary.open("wb") as out:
                yield out
                out.flush()
                os.fsync(out.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise LakeNotWritable(
            f"{path}: {error.strerror or error}; nothing of it is visible"
        ) from error


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sweep(lake: Path, run_ids: Iterable[str], registered: set[str]) -> list[str]:
    """Delete the files that killed runs left behind: theirs by name, and not registered."""
    swept = []
    for run_id in run_ids:
        name = rf"{re.escape(run_id)}-\d+\.parquet"
        own = re.compile(rf"{name}|\.{name}\.tmp")
        for folder in FOLDERS.values():
            for path in (lake / folder).glob(f"*/*/*{run_id}-*"):
                relative = path.relative_to(lake).as_posix()
                if relative not in registered and own.fullmatch(path.name):
                    path.unlink()
                    swept.append(relative)
    return swept
