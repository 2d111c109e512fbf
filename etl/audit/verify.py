"""Check the lake against its own promises: every registered file, and every invariant.

Each file in `sql/checks` is one promise: its leading comment states it, and its rows break it. The
files `catalog_...` read only the catalog, and `rows_...` the alerts too.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from etl.audit.unlisted import unlisted_files
from etl.catalog import topic_views
from etl.catalog.known import known_schemas
from etl.errors import DATA_AT_RISK, OK, DataAtRisk
from etl.lake.layout import Lake
from etl.read.published import Published
from etl.statements import sql_names, sql_text

# So many complaints of one check are shown; the others are counted.
SHOWN = 5

UNLISTED = (
    "The alerts of every file that this lake wrote are in files that the catalog lists; where an "
    "older catalog replaced a newer one, put the newer back, or drain while the broker has them"
)


@dataclass(frozen=True, slots=True)
class Complaint:
    """A promise that is broken, and where."""

    check: str
    promise: str
    where: str


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` found; `remarks` break no promise."""

    checks: int
    files: int
    rows: int
    seconds: float
    complaints: tuple[Complaint, ...]
    remarks: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """The exit code for cron."""
        return DATA_AT_RISK if self.complaints else OK


def verify(lake: Lake) -> Report:
    """Check the whole lake; change nothing."""
    started = time.monotonic()
    with Published(lake, sandboxed=True) as published:
        files = published.rows("queries/files")
        complaints = [*check_place(published), *check_files(lake.root, files)]
        readable = not complaints
        names = [n for n in sql_names("checks") if readable or n.startswith("checks/catalog_")]
        define_nan_rows(published)
        for name in names:
            complaints += check(published, name)
    unlisted = unlisted_files(lake, {path for path, *_ in files})
    complaints += [
        Complaint("unlisted", UNLISTED, f"{f.path}: {f.reason}") for f in unlisted if f.lost
    ]
    remarks = [f"{file.path}: {file.reason}" for file in unlisted if not file.lost]
    if not readable:
        remarks.append("the rows were not checked: repair the files first, then verify again")
    return Report(
        checks=len(names) + 3,
        files=len(files),
        rows=sum(rows for _, _, _, _, rows, _, _, _, retired_at in files if retired_at is None),
        seconds=round(time.monotonic() - started, 3),
        complaints=tuple(complaints),
        remarks=tuple(remarks),
    )


def check_place(published: Published) -> Iterator[Complaint]:
    """Check that the views name the folder in which the lake is."""
    wrong = published.misplaced()
    if wrong:
        yield Complaint("place", "The views name the folder in which the lake is", wrong)


def check_files(root: Path, files: list[tuple[Any, ...]]) -> Iterator[Complaint]:
    """Check that each registered file is there, with its size and its number of rows.

    A retired file may be gone.
    """
    promise = "Every registered file is there, complete and unchanged"
    for path, _, _, _, rows, size_bytes, _, _, retired_at in files:
        wrong = _file_is_wrong(root / path, rows, size_bytes)
        if wrong and not (retired_at is not None and not (root / path).exists()):
            yield Complaint("files", promise, f"{path}: {wrong}")


def _file_is_wrong(path: Path, rows: int, size_bytes: int) -> str | None:
    try:
        found_bytes = path.stat().st_size
        if found_bytes != size_bytes:
            return f"has {found_bytes:,} bytes, registered with {size_bytes:,}"
        found_rows = pq.read_metadata(path).num_rows
    except FileNotFoundError:
        return "is missing"
    except (OSError, pa.ArrowException) as error:
        return f"can't be read: {error}"
    return None if found_rows == rows else f"has {found_rows:,} rows, registered with {rows:,}"


def define_nan_rows(published: Published) -> None:
    """Make the view `temp.nan_rows` for a check; it depends on the schemas, so no SQL file has it.

    Where the catalog's columns are damaged it is missing, and the check reports that.
    """
    with suppress(DataAtRisk, KeyError):
        published.define(topic_views.nan_rows_statement(known_schemas(published)))


def promise_of(name: str) -> str:
    """Return the leading comment of a check, which is its promise."""
    comment = takewhile(lambda line: line.startswith("-- "), sql_text(name).splitlines())
    return " ".join(line.removeprefix("-- ") for line in comment).rstrip(".")


def check(published: Published, name: str) -> Iterator[Complaint]:
    """Run one check; a check that can't be run is a complaint too."""
    short = name.removeprefix("checks/")
    try:
        rows = published.records(name)
    except DataAtRisk as error:
        yield Complaint(short, promise_of(name), f"can't be checked: {error}")
        return
    for row in rows[:SHOWN]:
        where = (f"{key}={value}" for key, value in row.items())
        yield Complaint(short, promise_of(name), ", ".join(where))
    if len(rows) > SHOWN:
        yield Complaint(short, promise_of(name), f"and {len(rows) - SHOWN:,} more")
