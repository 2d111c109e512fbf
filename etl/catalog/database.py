"""The DuckDB file that says what is in the lake: open, migrate, transact, publish.

Only the writer opens the private file. Readers open a copy, which is replaced as a whole after
every commit, so that neither waits for the other.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import duckdb

from etl.catalog.publication import publish_copy
from etl.errors import DataAtRisk, EtlError, LakeBusy, LakeNotWritable, WrongSettings
from etl.lake.layout import Lake
from etl.statements import IN_UTC, sql_folder, sql_text

# DuckDB 1.5 can read the published file too.
STORAGE_VERSION = "v1.5.0"


class Catalog:
    """The private catalog, open for writing by the one process that holds the lake's lock."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self._connection = self._connect()

    @classmethod
    def open(cls, lake: Lake) -> Self:
        """Open the catalog; make or migrate it where needed.

        Raises
        ------
        WrongSettings
            The file is no catalog, or a newer version of this program made it.
        LakeBusy
            Another program has the private file open.
        """
        _let_write(lake)
        catalog = cls(lake)
        try:
            catalog._migrate()
        except BaseException:
            catalog.close()
            raise
        return catalog

    def _connect(self) -> duckdb.DuckDBPyConnection:
        with self._translating():
            connection = duckdb.connect(
                str(self.lake.catalog), config={"storage_compatibility_version": STORAGE_VERSION}
            )
            # DuckDB takes `python -c` for a prompt; its progress bar would get into the output.
            connection.execute("SET enable_progress_bar = false")
            connection.execute(IN_UTC)
            return connection

    def _migrate(self) -> None:
        ((has_tables,),) = self.rows("queries/has_tables")
        done = self.rows("queries/lake")[0][0] if has_tables else 0
        scripts = sorted(path.stem for path in (sql_folder() / "migrations").glob("*.sql"))
        if done > len(scripts):
            raise WrongSettings(
                f"{self.lake.catalog}: made by a newer lasair-etl (migration {done}, this one "
                f"knows {len(scripts)}); upgrade lasair-etl"
            )
        for number, script in enumerate(scripts[done:], done + 1):
            with self.transaction():
                self._connection.execute(sql_text(f"migrations/{script}"))
                self.write("register/set_migration", [{"migration": number}])

    def rows(self, name: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Run `sql/<name>.sql` and return its rows."""
        with self._translating():
            return self._connection.execute(sql_text(name), parameters or None).fetchall()

    def write(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        """Run `sql/<name>.sql` once for each set of parameters."""
        with self._translating():
            for parameters in rows:
                self._connection.execute(sql_text(name), parameters)

    def define(self, statement: str) -> None:
        """Run a statement that makes a view, a macro or a comment."""
        with self._translating():
            self._connection.execute(statement)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all statements inside, or none of them."""
        with self._translating():
            self._connection.execute("BEGIN TRANSACTION")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            raise _translated(error, self.lake.catalog) from error

    def _roll_back(self) -> None:
        try:
            self._connection.execute("ROLLBACK")
        except duckdb.Error:
            return  # a failed commit has already rolled back, or closed the database

    def publish(self) -> None:
        """Replace the public copy as a whole by the catalog as committed.

        The file is closed first: a copy of an open one misses its write-ahead log, and closing
        the copy's descriptor would drop DuckDB's lock.
        """
        self.close()
        try:
            if self.lake.catalog_wal.exists():
                raise LakeNotWritable(
                    f"{self.lake.catalog_wal}: DuckDB could not write it into the catalog; the "
                    f"alerts are safe in it, and the next run publishes them"
                )
            publish_copy(self.lake)
        finally:
            self._connection = self._connect()

    def close(self) -> None:
        """Close the file; DuckDB writes its write-ahead log into it."""
        self._connection.close()


def _let_write(lake: Lake) -> None:
    """Make the catalog writable: it may be a copy of the published file, which is read-only."""
    if lake.catalog.exists() and not os.access(lake.catalog, os.W_OK):
        with suppress(OSError):  # another user owns it: opening it reports that
            lake.catalog.chmod(0o644)


def _translated(error: duckdb.Error, path: Path) -> EtlError:
    """Turn an error of DuckDB into one of ours, by its text."""
    text = str(error)
    if "Could not set lock" in text:
        return LakeBusy(
            f"{path}: another program has it open; readers should open alerts.duckdb instead"
        )
    signs = ("No space left", "Permission denied", "Read-only", "Could not write")
    if any(sign in text for sign in signs):  # a commit that fails so has another class
        return LakeNotWritable(f"{path}: {text.splitlines()[0]}; nothing is lost, run again")
    if ".parquet" in text:
        return DataAtRisk(
            f"{text.splitlines()[0]}; put a good copy of the file back (lasair-etl verify lists "
            f"all damaged ones); this run's alerts will be read again"
        )
    if isinstance(error, duckdb.IOException | duckdb.SerializationException):
        return WrongSettings(
            f"{path}: not a readable catalog ({text.splitlines()[0]}); if it is damaged, put a "
            f"copy of alerts.duckdb in its place"
        )
    return EtlError(f"{path}: {text}")
