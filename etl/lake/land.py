"""A decoded batch, written into the lake as Parquet files: one for each night and kind,
and one for several nights of few rows.

A file with its final name is always complete. No reader sees it before a checkpoint registers it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa

from etl.lake.layout import landed_path
from etl.lake.nights import by_nights
from etl.lake.parquet import FOOTER_KEY, write_table
from etl.records import ALERTS, REJECTS, Decoded, LandedFile, Reject, Span
from etl.schema.own_columns import ADDED_COLUMNS, REJECT_SCHEMA, ROW_SCHEMA


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
        for first, last, rows in by_nights(table, stamp.ingested_at, stamp.night_starts):
            number = stamp.first_file + len(landed)
            path = landed_path(kind, stamp.topic, first, last, stamp.run_id, number)
            size = write_table(rows, lake / path, _footer(stamp))
            version = stamp.schema_version if kind == ALERTS else 0
            several = last if last != first else None
            landed.append(
                LandedFile(path, stamp.topic, first, kind, rows.num_rows, size, version, several)
            )
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
