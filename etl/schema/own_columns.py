"""The columns that this project adds to those of the alerts."""

import pyarrow as pa

from etl.schema.types import TEXT, TIMESTAMP, TRUTH

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

# What each alert's row has behind the alert's own fields.
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

# The columns that each alert row has beside the alert's own fields.
ADDED_COLUMNS = {
    "kafka_topic": "VARCHAR",
    "kafka_partition": "INTEGER",
    "kafka_offset": "BIGINT",
    "kafka_timestamp": "TIMESTAMP",
    "night": "DATE",
    "etl_incarnation": "INTEGER",
    "etl_run_id": "VARCHAR",
    "etl_ingested_at": "TIMESTAMP",
    "etl_example": "BOOLEAN",
    "etl_rescued": "VARCHAR",
}
REJECT_COLUMNS = {
    "kafka_topic": "VARCHAR",
    "kafka_partition": "INTEGER",
    "kafka_offset": "BIGINT",
    "kafka_timestamp": "TIMESTAMP",
    "night": "DATE",
    "etl_incarnation": "INTEGER",
    "etl_run_id": "VARCHAR",
    "etl_ingested_at": "TIMESTAMP",
    "reason": "VARCHAR",
    "value": "BLOB",
}
