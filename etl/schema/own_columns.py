"""The columns that this project adds to an alert's own, and those of a reject."""

from dataclasses import dataclass

import pyarrow as pa

from etl.schema.types import INTEGER, SQL_TYPES, TEXT, TIMESTAMP, TRUTH

SQL_OF = SQL_TYPES | {pa.int32(): "INTEGER", pa.date32(): "DATE", pa.binary(): "BLOB"}


@dataclass(frozen=True, slots=True)
class OwnColumn:
    """One column; where it is not `in_files`, the names of folders hold it."""

    name: str
    arrow: pa.DataType
    comment: str | None = None
    in_files: bool = True

    @property
    def sql(self) -> str:
        """Its type in views."""
        return SQL_OF[self.arrow]


SHARED = (
    OwnColumn("kafka_topic", TEXT, "The Lasair topic that the alert came from", in_files=False),
    OwnColumn("kafka_partition", pa.int32()),
    OwnColumn("kafka_offset", INTEGER),
    OwnColumn("kafka_timestamp", TIMESTAMP, "When the broker took the message; TIMESTAMP in UTC"),
    OwnColumn(
        "night",
        pa.date32(),
        "The observing night: date of kafka_timestamp minus 12 hours, unless set otherwise",
        in_files=False,
    ),
    OwnColumn(
        "etl_incarnation",
        pa.int32(),
        "The topic's incarnation, 1, 2, 3 ...; saving a filter starts a new one",
    ),
    OwnColumn("etl_run_id", TEXT),
    OwnColumn("etl_ingested_at", TIMESTAMP, "When this program stored the alert; TIMESTAMP in UTC"),
)
OF_ALERTS = (
    *SHARED,
    OwnColumn("etl_example", TRUTH, "One of Lasair's example alerts, which have no UTC"),
    OwnColumn(
        "etl_rescued", TEXT, "JSON object, path to original value, of what does not fit its column"
    ),
)
OF_REJECTS = (*SHARED, OwnColumn("reason", TEXT), OwnColumn("value", pa.binary()))

# The columns in views, by name, with their SQL types.
ADDED_COLUMNS = {column.name: column.sql for column in OF_ALERTS}
REJECT_COLUMNS = {column.name: column.sql for column in OF_REJECTS}
FOLDER_COLUMNS = {column.name: column.sql for column in SHARED if not column.in_files}

# The columns in files, in this order; in a file of alerts they come after the alert's own.
ROW_SCHEMA = pa.schema([(c.name, c.arrow) for c in OF_ALERTS if c.in_files])
REJECT_SCHEMA = pa.schema([(c.name, c.arrow) for c in OF_REJECTS if c.in_files])

# Together with the topic they identify a row; sorted by them, rows stand in order of arrival.
ARRIVAL = ("etl_incarnation", "kafka_partition", "kafka_offset")

# The order that decides which alert of an object is the newest; it has no ties. The files of
# sql/views spell it out, and a test compares them with this.
NEWEST = ", ".join(["kafka_timestamp DESC NULLS LAST", *(f"{name} DESC" for name in ARRIVAL)])
