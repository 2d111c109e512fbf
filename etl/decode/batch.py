"""Turns a batch into one row per alert, one reject per bad message and one count per span."""

import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from etl.decode.json_alerts import JsonDecoder
from etl.records import Batch, Decoded, Reject, SpanCount
from etl.schema.types import EPOCH, TEXT, TIMESTAMP, TopicSchema
from etl.schema.wishes import NO_WISHES, Wishes

# The last millisecond of the year 9999: what is later is no time to Python.
NEWEST_TIMESTAMP_MS = 253_402_300_799_999

# The key of an invalid timestamp in `etl_rescued`: no field's path is spelled like it.
BROKER_TIMESTAMP = "kafka:timestamp_ms"


def decode_batch(
    batch: Batch,
    schema: TopicSchema,
    readers: Executor | None = None,
    wishes: Wishes = NO_WISHES,
) -> tuple[Decoded, TopicSchema]:
    """Return the decoded batch, and the schema widened by it.

    The rows hold the alert's own columns, `etl_example`, `etl_rescued` and Kafka's coordinates,
    in the order of arrival.
    """
    decoder = JsonDecoder(batch.values, schema, readers, wishes)
    table, rows = decoder.decode()
    rejects = [
        Reject(
            batch.partitions[row],
            batch.offsets[row],
            _time(batch.timestamps_ms[row]),
            decoder.reasons[row],
            batch.values[row] or b"",
        )
        for row in sorted(decoder.reasons)
    ]
    table = _with_coordinates(table, batch, rows)
    return Decoded(table, rejects, _span_counts(batch, decoder.reasons)), decoder.schema


def _time(timestamp_ms: int | None) -> datetime | None:
    if timestamp_ms is None or not 0 <= timestamp_ms <= NEWEST_TIMESTAMP_MS:
        return None
    return EPOCH + timedelta(milliseconds=timestamp_ms)


def _span_counts(batch: Batch, reasons: dict[int, str]) -> tuple[SpanCount, ...]:
    messages = Counter(batch.partitions)
    rejects = Counter(batch.partitions[row] for row in reasons)
    tombstones: Counter[int] = Counter()
    if None in batch.values:
        pairs = zip(batch.partitions, batch.values, strict=True)
        tombstones.update(partition for partition, value in pairs if value is None)
    return tuple(
        SpanCount(
            span,
            alerts=messages[span.partition] - rejects[span.partition] - tombstones[span.partition],
            rejects=rejects[span.partition],
            tombstones=tombstones[span.partition],
            absent=span.end - span.start - messages[span.partition],
        )
        for span in batch.spans
    )


def _with_coordinates(table: pa.Table, batch: Batch, rows: Sequence[int]) -> pa.Table:
    """Add Kafka's coordinates; an invalid timestamp goes to `etl_rescued`."""
    columns = [
        pa.array(batch.partitions, "i4"),
        pa.array(batch.offsets, "i8"),
        pa.array(batch.timestamps_ms, "i8"),
    ]
    if len(rows) < len(batch.values):
        taken = pa.array(rows, "i8")
        columns = [column.take(taken) for column in columns]
    partitions, offsets, times = columns
    invalid = pc.or_(pc.less(times, 0), pc.greater(times, NEWEST_TIMESTAMP_MS))
    if invalid.true_count:
        rescued = table.column("etl_rescued").to_pylist()
        for row in pc.indices_nonzero(invalid).to_pylist():
            noted = json.loads(rescued[row] or "{}") | {BROKER_TIMESTAMP: times[row].as_py()}
            rescued[row] = json.dumps(noted, ensure_ascii=False)
        column = table.schema.get_field_index("etl_rescued")
        table = table.set_column(column, "etl_rescued", pa.array(rescued, TEXT))
        times = pc.if_else(invalid, pa.scalar(None, "i8"), times)
    stamps = times.cast(pa.timestamp("ms")).cast(TIMESTAMP)
    return (
        table.append_column("kafka_partition", partitions)
        .append_column("kafka_offset", offsets)
        .append_column("kafka_timestamp", stamps)
    )
