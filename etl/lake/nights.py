"""A batch's rows by observing night, in files that are not too many."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc

from etl.schema.types import TIMESTAMP

# So many nights of a batch have a file each, however few their rows.
MOST_NIGHTS = 8

# A night of so many rows has a file of its own beside any number of others.
OWN_FILE_ROWS = 1_000

# Few rows of many nights share files: one a month, or a year, or one, by how many there would be.
MOST_SHARED = 8
MONTH, YEAR, EVER = len("2026-02"), len("2026"), 0


def by_nights(
    table: pa.Table, now: datetime, night_starts: timedelta
) -> Iterator[tuple[date, date, pa.Table]]:
    """Split rows into files: the first and the last night of each, and its rows.

    A row without a timestamp belongs to tonight. A file of several nights has them in a column
    `night` behind all others. The number of files is bounded, whatever the timestamps.
    """
    nights = _nights(table, now, night_starts)
    rows = {each["values"]: each["counts"] for each in pc.value_counts(nights).to_pylist()}
    for shared in _shares(rows):
        kept = nights.filter(pc.is_in(nights, pa.array(shared, nights.type)))
        own = table
        if len(shared) < len(rows):
            own = table.filter(pc.is_in(nights, pa.array(shared, nights.type)))
        if len(shared) > 1:
            own = own.append_column("night", kept)
        yield shared[0], shared[-1], own


def _nights(table: pa.Table, now: datetime, night_starts: timedelta) -> pa.ChunkedArray:
    moments = pc.fill_null(table.column("kafka_timestamp"), pa.scalar(now, TIMESTAMP))
    shifted = pc.subtract(moments, pa.scalar(night_starts, pa.duration("us")))
    return pc.cast(pc.floor_temporal(shifted, unit="day"), pa.date32())


def _shares(rows: Mapping[date, int]) -> list[list[date]]:
    """Sort the nights of a batch into files, in order of their first night."""
    if len(rows) <= MOST_NIGHTS:
        return [[night] for night in sorted(rows)]
    own = [[night] for night, count in rows.items() if count >= OWN_FILE_ROWS]
    few = sorted(night for night, count in rows.items() if count < OWN_FILE_ROWS)
    for chars in (MONTH, YEAR, EVER):
        shared = [list(some) for _, some in groupby(few, lambda night: str(night)[:chars])]  # noqa: B023
        if len(shared) <= MOST_SHARED:
            break
    return sorted(own + shared)
