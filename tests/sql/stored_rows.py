"""All rows that a lake shows, read with pyarrow alone and exact to the bit, to compare by."""

from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

Key = tuple[str, str, int, int, int]


def stored_rows(lake: Path) -> dict[Key, Any]:
    """Read every live file; a field that is NULL is as if it were not there."""
    with duckdb.connect(str(lake / "alerts.duckdb"), read_only=True) as public:
        files = public.execute(
            "SELECT path, topic, kind, night, last_night FROM etl.files WHERE retired_at IS NULL"
        ).fetchall()
    rows: dict[Key, Any] = {}
    for path, topic, kind, night, last_night in files:
        table = pq.ParquetFile(lake / path).read()
        assert ("night" in table.column_names) == (last_night is not None), path
        for row in table.to_pylist():
            key = topic, kind, *(row[name] for name in PLACE)
            assert key not in rows, f"{key} is there twice"
            row.setdefault("night", night)
            assert night <= row["night"] <= (last_night or night), path
            rows[key] = exact(row)
    return rows


PLACE = ("etl_incarnation", "kafka_partition", "kafka_offset")


def exact(value: Any) -> Any:
    """Write a value so that only equal bits are equal; a whole number may become a double."""
    if isinstance(value, dict):
        return {name: exact(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [exact(inner) for inner in value]
    if isinstance(value, int) and not isinstance(value, bool) and float(value) == value:
        return float(value).hex()
    return value.hex() if isinstance(value, float) else value
