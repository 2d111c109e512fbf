"""The columns that this project adds to an alert's own, and those of a reject."""

from dataclasses import dataclass

import pyarrow as pa

from etl.schema.types import TEXT, TIMESTAMP, TRUTH


@dataclass(frozen=True, slots=True)
class OwnColumn:
    """One column; `arrow` is None where the names of folders hold it, and not the files."""

    name: str
    sql: str
    arrow: pa.DataType | None
    comment: str | None = None


SHARED = (
    OwnColumn("kafka_topic", "VARCHAR", None, "The Lasair topic that the alert came from"),
    OwnColumn("kafka_partition", "INTEGER", pa.int32()),
    OwnColumn("kafka_offset", "BIGINT", pa.int64()),
    OwnColumn(
        "kafka_timestamp",
        "TIMESTAMP",
        TIMESTAMP,
        "When the broker took the message; TIMESTAMP in UTC",
    ),
    OwnColumn(
        "night",
        "DATE",
        None,
        "The observing night: date of kafka_timestamp minus 12 hours, unless set otherwise",
    ),
    OwnColumn(
        "etl_incarnation",
        "INTEGER",
        pa.int32(),
        "The topic's incarnation, 1, 2, 3 ...; saving a filter starts a new one",
    ),
    OwnColumn("etl_run_id", "VARCHAR", TEXT),
    OwnColumn(
        "etl_ingested_at",
        "TIMESTAMP",
        TIMESTAMP,
        "When this program stored the alert; TIMESTAMP in UTC",
    ),
)
OF_ALERTS = (
    *SHARED,
    OwnColumn("etl_example", "BOOLEAN", TRUTH, "One of Lasair's example alerts, which have no UTC"),
    OwnColumn(
        "etl_rescued",
        "VARCHAR",
        TEXT,
        "JSON object, path to original value, of what does not fit its column",
    ),
)
OF_REJECTS = (
    *SHARED,
    OwnColumn("reason", "VARCHAR", TEXT),
    OwnColumn("value", "BLOB", pa.binary()),
)

# The columns in views, by name, with their SQL types.
ADDED_COLUMNS = {column.name: column.sql for column in OF_ALERTS}
REJECT_COLUMNS = {column.name: column.sql for column in OF_REJECTS}
FOLDER_COLUMNS = {column.name: column.sql for column in SHARED if column.arrow is None}

# The columns in files, in this order; in a file of alerts they come after the alert's own.
ROW_SCHEMA = pa.schema([(c.name, c.arrow) for c in OF_ALERTS if c.arrow is not None])
REJECT_SCHEMA = pa.schema([(c.name, c.arrow) for c in OF_REJECTS if c.arrow is not None])

# Together with the topic they identify a row; sorted by them, rows stand in order of arrival.
ARRIVAL = ("etl_incarnation", "kafka_partition", "kafka_offset")

# The order that decides which alert of an object is the newest; it has no ties. The files of
# sql/views spell it out, and a test compares them with this.
NEWEST = ", ".join(["kafka_timestamp DESC NULLS LAST", *(f"{name} DESC" for name in ARRIVAL)])
