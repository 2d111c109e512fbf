"""The DuckDB file that says what is in the lake: open, migrate, transact, publish.

Only the writer opens the private file. Readers open a copy, which is replaced as a whole after
every commit, so that neither waits for the other.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import duckdb

from etl.catalog.damage import UnreadableCatalog, translated
from etl.catalog.publication import publish_copy
from etl.errors import LakeNotWritable, WrongSettings
from etl.lake.layout import Lake
from etl.lake.local import sync_folder
from etl.statements import IN_UTC, literal, quoted, sql_folder, sql_text
from etl.version import __version__

log = logging.getLogger(__name__)

# DuckDB 1.5 can read the published file too.
STORAGE_VERSION = "v1.5.0"


class Catalog:
    """The private catalog, open for writing by the one process that holds the lake's lock."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self._connection = _start_duckdb()

    @classmethod
    def open(cls, lake: Lake) -> Self:
        """Open the catalog; make or migrate it where needed.

        One that can't be read in a lake that holds nothing else is a first run's that was killed.

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
            if not lake.catalog.exists():
                catalog._make()
            try:
                catalog._attach(lake.catalog)
            except UnreadableCatalog as error:
                if lake.public.exists() or lake.has_files():
                    raise
                _set_aside(lake, error)
                catalog._make()
                catalog._attach(lake.catalog)
            catalog._migrate()
        except BaseException:
            catalog.close()
            raise
        return catalog

    def _make(self) -> None:
        """Make a new catalog, which appears under its name when it is whole and on disk."""
        lake = self.lake
        temporary = lake.root / ".catalog.duckdb.tmp"
        own_log = lake.root / ".catalog.duckdb.tmp.wal"
        try:
            for path in (temporary, own_log, lake.catalog_wal):
                path.unlink(missing_ok=True)
            self._attach(temporary)
            try:
                self._migrate()
            finally:
                self._detach()
            if own_log.exists():
                raise LakeNotWritable(f"{lake.catalog}: could not be made; free some space")
            with temporary.open("rb+") as made:
                os.fsync(made.fileno())
            temporary.rename(lake.catalog)
            sync_folder(lake.root)
        except OSError as error:
            raise LakeNotWritable(
                f"{lake.catalog}: {error.strerror or error}; nothing is lost, run again"
            ) from error
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
                own_log.unlink(missing_ok=True)

    def _attach(self, path: Path) -> None:
        """Open a file in the DuckDB that is at hand; starting another takes six times as long."""
        with self._translating():
            self._connection.execute(
                f"ATTACH {literal(str(path))} AS catalog (STORAGE_VERSION '{STORAGE_VERSION}')"
            )
            self._connection.execute("USE catalog")

    def _detach(self) -> None:
        """Close the file; DuckDB writes its write-ahead log into it."""
        try:
            self._connection.execute("USE memory")
            self._connection.execute("DETACH catalog")
        except duckdb.Error:  # after a fatal error a DuckDB can only be closed
            self._connection.close()
            self._connection = _start_duckdb()

    def _migrate(self) -> None:
        ((has_tables,),) = self.rows("queries/has_tables")
        done = self.rows("queries/lake")[0][0] if has_tables else 0
        scripts = sorted(path.stem for path in (sql_folder() / "migrations").glob("*.sql"))
        if done > len(scripts):
            raise WrongSettings(
                f"{self.lake.catalog}: made by a newer lasair-etl (migration {done}, this one "
                f"knows {len(scripts)}); {_upgrade(self.rows('queries/needs')[0][0])}"
            )
        if done < len(scripts):
            with self.transaction():
                for script in scripts[done:]:
                    self.define(sql_text(f"migrations/{script}"))
                self.write("register/set_migration", [{"migration": len(scripts)}])
                self.write("register/set_needs", [{"version": __version__}])

    def rows(self, name: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Run `sql/<name>.sql` and return its rows."""
        with self._translating():
            return self._connection.execute(sql_text(name), parameters or None).fetchall()

    def write(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        """Run `sql/<name>.sql` once for each set of parameters."""
        with self._translating():
            for parameters in rows:
                self._connection.execute(sql_text(name), parameters or None)

    def lake_id(self) -> str:
        """Return what tells this lake from every other one."""
        lake_id: str = self.rows("queries/identity")[0][0]
        return lake_id

    def read_whole(self) -> None:
        """Read every value, so that a damaged file is found before it replaces a sound copy.

        Raises
        ------
        UnreadableCatalog
            DuckDB's checksums don't fit.
        """
        for (table,) in self.rows("queries/etl_tables"):
            with self._translating():
                self._connection.sql(f"FROM etl.{quoted(table)}").aggregate(
                    "bit_xor(hash(COLUMNS(*)))"
                ).fetchall()

    def define(self, statement: str) -> None:
        """Run a statement, or several, that make a view, a macro or a comment, or a migration."""
        with self._translating():
            self._connection.execute(statement)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all statements inside, as one generation more, or none of them."""
        with self._translating():
            self._connection.execute("BEGIN TRANSACTION")
            try:
                yield
                self.write("register/grow", [{}])
                self._connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            raise translated(error, self.lake) from error

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
        self._detach()
        try:
            if self.lake.catalog_wal.exists():
                raise LakeNotWritable(
                    f"{self.lake.catalog_wal}: DuckDB could not write it into the catalog; the "
                    f"alerts are safe in it, and the next run publishes them"
                )
            publish_copy(self.lake)
        finally:
            self._attach(self.lake.catalog)

    def close(self) -> None:
        """Close the file, and the DuckDB that had it open."""
        with self._translating():
            self._connection.close()


def _start_duckdb() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    # DuckDB takes `python -c` for a prompt; its progress bar would get into the output.
    # In Jupyter it has none without ipywidgets, and refuses to be told so.
    with suppress(duckdb.InvalidInputException):
        connection.execute("SET enable_progress_bar = false")
    connection.execute(IN_UTC)
    return connection


def _upgrade(needs: str) -> str:
    """Return which version a catalog of a newer program asks for; builds may share a version."""
    if needs == __version__:
        return f"install the newest build of lasair-etl {needs}"
    return f"upgrade lasair-etl to {needs} or newer"


def _let_write(lake: Lake) -> None:
    """Make the catalog writable: it may be a copy of the published file, which is read-only."""
    if lake.catalog.exists() and not os.access(lake.catalog, os.W_OK):
        with suppress(OSError):  # another user owns it: opening it reports that
            lake.catalog.chmod(0o644)


def _set_aside(lake: Lake, error: UnreadableCatalog) -> None:
    """Keep what can't be read under another name: a first run was killed while it was made."""
    aside = lake.root / "catalog.duckdb.unreadable"
    lake.catalog.replace(aside)
    log.warning("%s; the lake holds nothing else: kept as %s, made anew", error, aside.name)
