"""What DuckDB's errors about the catalog mean, each with its next step."""

import duckdb

from etl.errors import DataAtRisk, EtlError, LakeBusy, LakeNotWritable, WrongSettings
from etl.lake.layout import Lake, way_out

NOT_WRITABLE = (
    "No space left",
    "Permission denied",
    "Read-only",
    "Could not write",
    "Could not truncate",
    "fsync failed",
)

# DuckDB raises these as plain errors, and as fatal ones that quote the first.
DAMAGED = ("Corrupt", "replaying WAL")


class UnreadableCatalog(WrongSettings):
    """The catalog's file or its write-ahead log is damaged, or was never whole."""


def translated(error: duckdb.Error, lake: Lake) -> EtlError:
    """Tell which kind of broken world a DuckDB error stands for."""
    text = str(error)
    first = (text.splitlines() or [type(error).__name__])[0]
    if "Could not set lock" in text:
        return LakeBusy(
            f"{lake.catalog}: another program has it open; readers should open alerts.duckdb "
            f"instead"
        )
    if any(sign in text for sign in NOT_WRITABLE):  # also where a commit fails: another class
        return LakeNotWritable(f"{lake.catalog}: {first}; nothing is lost, run again")
    damaged = any(sign in text for sign in DAMAGED)
    if ".parquet" in text and not damaged:
        return DataAtRisk(
            f"{first}; put a sound copy of the file back, lasair-etl verify lists all that are "
            f"harmed; what was read meanwhile is read again"
        )
    if damaged or isinstance(error, duckdb.IOException | duckdb.SerializationException):
        return UnreadableCatalog(
            f"{lake.catalog}: not a readable catalog ({first}); "
            f"{way_out(lake, published=is_database(lake))}"
        )
    return EtlError(f"{lake.catalog}: {text}")


def is_database(lake: Lake) -> bool:
    """Return whether the published file can be opened, so that it can stand for the catalog."""
    if not lake.public.exists():
        return False
    try:
        duckdb.connect(str(lake.public), read_only=True).close()
    except duckdb.Error:
        return False
    return True
