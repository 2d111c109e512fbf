"""Read-only access to the published file, which blocks nobody.

The file is attached to a database in memory. So a reader makes no lock and no write-ahead log
beside it, and sees one snapshot as long as it stays open.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import duckdb
import pyarrow as pa

from etl.errors import DataAtRisk, EtlError, TryLater, WrongSettings, WrongUsage
from etl.lake.layout import FOLDERS, Lake
from etl.read import exact
from etl.statements import IN_UTC, VARIABLE, literal, quoted, sql_text, unpatterned
from etl.text.tables import shown_lines

BATCH_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Answer:
    """The columns of a statement's result, with unique names, and its rows as they are read."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Read the rows as Python values."""
        for batch in self.batches:
            try:
                columns = [_python(column) for column in batch.columns]
            except (ValueError, OverflowError) as error:
                raise WrongUsage(f"Python can't hold a value ({error}); cast the column") from error
            yield from zip(*columns, strict=True)

    def write_parquet(self, path: Path) -> int:
        """Write the rows as one Parquet file, whole or not at all; return their number."""
        import pyarrow.parquet as pq  # noqa: PLC0415 - slow, and seldom needed

        from etl.lake.local import atomic_file  # noqa: PLC0415

        rows = 0
        try:
            with (
                atomic_file(path) as out,
                pq.ParquetWriter(out, self.schema, compression="zstd") as writer,
            ):
                for batch in self.batches:
                    writer.write_batch(batch)
                    rows += batch.num_rows
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
            raise WrongUsage(f"Parquet can't hold this ({error}); cast the column") from error
        return rows


class Published:
    """One snapshot of the published file, open for reading.

    `sandboxed`: SQL can only select, and reaches the lake's own Parquet files and nothing else: no
    other file, no network, no extension, no setting. For SQL that its user did not type himself.
    """

    def __init__(self, lake: Lake, *, sandboxed: bool = False) -> None:
        self.lake = lake
        self._sandboxed = sandboxed
        if not lake.public.exists():
            raise _not_published(lake)
        self._connection = duckdb.connect()
        try:
            # DuckDB takes `python -c` and workers of a pool for a person at a prompt, and would
            # print its progress bar to their stdout, where answers go. In Jupyter it has none
            # without ipywidgets, and refuses to be told so.
            with suppress(duckdb.InvalidInputException):
                self._connection.execute("SET enable_progress_bar = false")
            self._connection.execute(IN_UTC)
            self._connection.execute(f"ATTACH {literal(str(lake.public))} AS lake (READ_ONLY)")
            self._connection.execute("USE lake")
        except duckdb.Error as error:
            self._connection.close()
            raise _not_readable(error, lake) from error
        if sandboxed:
            self._enter_sandbox()

    def _enter_sandbox(self) -> None:
        """Close all ways out of the lake; a connection can't open them again.

        DuckDB's allowed folders may be written too, so that `ask` refuses all but questions.
        """
        try:
            root = self.rows("queries/lake")[0][1]
            # DuckDB compares names as they are written, and the views write theirs unpatterned
            ways = (root, unpatterned(root))
            folders = [literal(f"{way}/{name}") for way in ways for name in FOLDERS.values()]
            for statement in (
                "SET python_enable_replacements = false",
                f"SET allowed_directories = [{', '.join(folders)}]",
                "SET enable_external_access = false",
                "SET lock_configuration = true",
            ):
                self._connection.execute(statement)
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def misplaced(self) -> str | None:
        """Return a complaint where the lake has moved: views name absolute paths."""
        root = Path(self.rows("queries/lake")[0][1])
        if root.is_dir() and root.samefile(self.lake.root):
            return None
        return (
            f"they name {root}, the lake is in {self.lake.root}; the next lasair-etl drain "
            f"publishes it anew"
        )

    def rows(self, name: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Run `sql/<name>.sql` and return its rows."""
        return self.named_rows(name, **parameters)[1]

    def named_rows(self, name: str, **parameters: Any) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Run `sql/<name>.sql` and return the names of its columns, and its rows."""
        try:
            found = self._connection.execute(sql_text(name), parameters or None)
            return [column[0] for column in found.description or ()], found.fetchall()
        except duckdb.ConnectionException as error:
            raise self._translated(error) from error  # it was closed
        except duckdb.Error as error:
            raise DataAtRisk(f"{self.lake.public}: {_first_line(error)}") from error

    def records(self, name: str, **parameters: Any) -> list[dict[str, Any]]:
        """Run `sql/<name>.sql` and return its rows as dictionaries, by the columns' names."""
        columns, rows = self.named_rows(name, **parameters)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def define(self, statement: str) -> None:
        """Run a statement that defines something temporary."""
        try:
            self._connection.execute(statement)
        except duckdb.Error as error:
            raise DataAtRisk(f"{self.lake.public}: {_first_line(error)}") from error

    def ask(
        self,
        sql: str,
        variables: Mapping[str, str] | None = None,
        *,
        parameters: Mapping[str, Any] | None = None,
        limit: int | None = None,
    ) -> Answer:
        """Run a user's SQL.

        `variables` are texts, which DuckDB casts to the types that the SQL casts them to;
        `parameters` are the values of its `$name`s; `limit` is the number of rows wanted.

        Raises
        ------
        WrongUsage
            DuckDB refuses it; the message is DuckDB's.
        DataAtRisk
            A file of the lake can't be read.
        """
        if self._sandboxed and not self.is_question(sql):
            raise WrongUsage("only SELECT is allowed here: this lake is open in a sandbox")
        kinds = dict(VARIABLE.findall(sql))
        try:
            for name, value in (variables or {}).items():
                cast = f"{literal(value)}::{kinds.get(name, 'VARCHAR')}"
                self._connection.execute(f"SET VARIABLE {quoted(name)} = {cast}")
            relation = self._connection.sql(sql, params=dict(parameters) if parameters else None)
            if relation is None:
                raise WrongUsage("no statement here returns rows")
            found = relation if limit is None else relation.limit(limit)
            projection = exact.guarded(found.columns, found.types)
            found = found.project(projection) if projection else found
            reader = found.to_arrow_reader(BATCH_ROWS)
        except (duckdb.Error, pa.ArrowException, OSError, ValueError) as error:
            raise self._translated(error) from error
        schema = _unique(reader.schema)
        return Answer(schema, self._read(reader, schema))

    def units(self) -> dict[str, str]:
        """Return the units of fields by name; none where an older version published the lake."""
        ((has_dictionary,),) = self.rows("queries/has_dictionary")
        return dict(self.rows("queries/units")) if has_dictionary else {}

    def is_question(self, sql: str) -> bool:
        """Return whether a user's SQL only selects rows, so that it may run any number of times.

        Raises
        ------
        WrongUsage
            It is not SQL; the message is DuckDB's.
        """
        try:
            statements = self._connection.extract_statements(sql)
        except duckdb.Error as error:
            raise self._translated(error) from error
        return all(each.type == duckdb.StatementType.SELECT for each in statements)

    def bind(self, question: str) -> None:
        """Have DuckDB check a query, without running it.

        Raises
        ------
        WrongUsage
            DuckDB refuses it; the message is DuckDB's.
        """
        try:
            self._connection.sql(question)
        except duckdb.Error as error:
            raise self._translated(error) from error

    def _read(self, reader: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        try:
            for batch in reader:
                for field, column in zip(schema, batch.columns, strict=True):
                    exact.check(field.name, column)
                yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
        except (pa.ArrowException, OSError) as error:  # how DuckDB's errors come through Arrow
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> EtlError:
        text = shown_lines(str(error).strip())  # which quotes names and values
        if "IO Error" in text and str(self.lake.root) in text:
            return DataAtRisk(f"{text.splitlines()[0]}; lasair-etl verify says what is wrong")
        return WrongUsage(text)


def _python(values: pa.Array) -> list[Any]:
    """Return the values as Python has them, but nanoseconds, which its times lack, as text."""
    fine = pa.types.is_timestamp(values.type) and values.type.unit == "ns"
    found: list[Any] = (values.cast(pa.string()) if fine else values).to_pylist()
    return found


def _unique(schema: pa.Schema) -> pa.Schema:
    """Number columns that have the same name: JSON and Parquet can't hold them."""
    taken: set[str] = set()
    fields = []
    for field in schema:
        name, number = field.name, 0
        while name in taken:
            number += 1
            name = f"{field.name}_{number}"
        taken.add(name)
        fields.append(field.with_name(name))
    return pa.schema(fields)


def _not_published(lake: Lake) -> EtlError:
    if lake.root.is_file():
        return WrongSettings(f"{lake.root}: a file; a lake is named by its folder")
    if lake.catalog.exists():
        return TryLater(f"{lake.root}: nothing is published yet; the next lasair-etl drain does it")
    return WrongSettings(
        f"{lake.root}: no lake here ({lake.public.name} is missing); lasair-etl drain makes one, "
        f"--lake names another"
    )


def _not_readable(error: duckdb.Error, lake: Lake) -> EtlError:
    text = _first_line(error)
    if lake.public_wal.exists():
        return TryLater(
            f"{lake.public}: a program opened it for writing and left {lake.public_wal.name}; the "
            f"next lasair-etl drain heals it ({text})"
        )
    return WrongSettings(f"{lake.public}: not a readable lake ({text})")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
