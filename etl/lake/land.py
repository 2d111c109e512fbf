"""Write Parquet files into the lake so that a file with its final name is always complete.

A temporary name, fsync, rename, fsync of the directory. Nothing here makes a file visible:
`register` does that.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from etl.lake.layout import landed_path
from etl.lake.parquet import FOOTER_KEY, write_table
from etl.records import ALERTS, REJECTS, Decoded, LandedFile, Reject, Span
from etl.schema.own_columns import REJECT_SCHEMA
from etl.schema.types import TIMESTAMP


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
            path = landed_path(
                kind, stamp.topic, night, stamp.run_id, stamp.first_file + len(landed)
            )
            size = write_table(rows, lake / path, _footer(stamp))
            version = stamp.schema_version if kind == ALERTS else 0
            landed.append(LandedFile(path, stamp.topic, night, kind, rows.num_rows, size, version))
    return landed


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
