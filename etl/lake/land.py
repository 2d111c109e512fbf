"""A decoded batch, written into the lake as Parquet files: one for each night and kind.

A file with its final name is always complete. No reader sees it before a checkpoint registers it.
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
from etl.schema.own_columns import ADDED_COLUMNS, REJECT_SCHEMA, ROW_SCHEMA
from etl.schema.types import TIMESTAMP


@dataclass(frozen=True, slots=True)
class Stamp:
    """The origin of one batch, written into each of its files and rows.

    `night_starts` is how far a night's date lags behind UTC (Rubin's `day_obs`: 12 hours).
    `first_file` is the number of the batch's first file within the run.
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
    lake_id: str | None = None


def land(decoded: Decoded, stamp: Stamp, lake: Path) -> list[LandedFile]:
    """Write a decoded batch.

    Raises
    ------
    LakeNotWritable
        The file system refuses: full, read-only, no permission. The next run deletes those files
        of this call that were complete by then.
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
    """Return the rows with all columns of a file, in the files' order."""
    fields = [name for name in table.column_names if name not in ADDED_COLUMNS]
    for name, value in _marks(stamp).items():
        mark = pa.scalar(value, ROW_SCHEMA.field(name).type)
        table = table.append_column(name, pa.repeat(mark, table.num_rows))
    return table.select([*fields, *ROW_SCHEMA.names])


def _rejected(rejects: Sequence[Reject], stamp: Stamp) -> pa.Table:
    coordinates = (
        {
            "kafka_partition": reject.partition,
            "kafka_offset": reject.offset,
            "kafka_timestamp": reject.timestamp,
            "reason": reject.reason,
            "value": reject.value,
        }
        for reject in rejects
    )
    return pa.Table.from_pylist([row | _marks(stamp) for row in coordinates], REJECT_SCHEMA)


def _marks(stamp: Stamp) -> dict[str, object]:
    """Return what all rows of a batch have in common."""
    return {
        "etl_incarnation": stamp.incarnation,
        "etl_run_id": stamp.run_id,
        "etl_ingested_at": stamp.ingested_at,
    }


def _by_night(table: pa.Table, stamp: Stamp) -> Iterator[tuple[date, pa.Table]]:
    """Split rows by observing night; a row without a timestamp gets the night of its storage."""
    if not table.num_rows:
        return
    stored = pa.scalar(stamp.ingested_at, TIMESTAMP)
    moments = pc.fill_null(table.column("kafka_timestamp"), stored)
    shifted = pc.subtract(moments, pa.scalar(stamp.night_starts, pa.duration("us")))
    nights = pc.cast(pc.floor_temporal(shifted, unit="day"), pa.date32())
    distinct = sorted(pc.unique(nights).to_pylist())
    for night in distinct:
        yield night, table if len(distinct) == 1 else table.filter(pc.equal(nights, night))


def _footer(stamp: Stamp) -> Mapping[bytes, bytes]:
    """Return the origin of a file's rows as its metadata, from which a catalog can be rebuilt."""
    origin = {
        "run_id": stamp.run_id,
        "checkpoint": stamp.checkpoint,
        "topic": stamp.topic,
        "topic_id": stamp.topic_id,
        "incarnation": stamp.incarnation,
        "schema_version": stamp.schema_version,
        "spans": [asdict(span) for span in stamp.spans],
        "lake_id": stamp.lake_id,
    }
    return {FOOTER_KEY: json.dumps(origin).encode()}
