from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from etl.audit.verify import define_nan_rows
from etl.catalog.database import Catalog
from etl.lake.layout import Lake
from etl.read.published import Published
from etl.schema.own_columns import ARRIVAL, NEWEST
from etl.statements import sql_folder, sql_text
from tests.sql.lakes import Writer

NAMES = sorted(
    path.relative_to(sql_folder()).with_suffix("").as_posix()
    for path in sql_folder().rglob("*.sql")
)
DEMO = (
    b'{"diaObjectId": 1, "ra": 1.5, "decl": 2.5, "nDiaSources": 20, "classification": "SN", '
    b'"UTC": "2026-02-14 13:41:02", "alert": {"diaSourcesList": ['
    + b", ".join(
        b'{"psfFlux": 5000.5, "psfFluxErr": 99.5, "midpointMjdTai": %d.25, "band": "r"}' % night
        for night in range(61000, 61020)
    )
    + b"]}}"
)


@pytest.fixture(scope="module")
def demo_lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Make a lake that has the topics of the demonstration too."""
    writer = Writer(tmp_path_factory.mktemp("sql") / "lake")
    writer.run([DEMO], topic="lasair_demo_plain")
    writer.run([DEMO], topic="lasair_demo_lite")
    return writer.close()


@pytest.fixture(scope="module")
def connection(demo_lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the private catalog of that lake, with what one check needs beside it."""
    Catalog.open(demo_lake).close()
    with duckdb.connect(str(demo_lake.catalog)) as catalog:
        catalog.execute("CREATE TEMP VIEW nan_rows AS SELECT * FROM alerts WHERE false")
        yield catalog


BOUND = [name for name in NAMES if not name.startswith(("migrations/", "macros/"))]


@pytest.mark.parametrize("name", BOUND)
def test_every_file_parses_and_binds(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Each SQL file is one statement that DuckDB takes on a real catalog, and comments on it."""
    statements = connection.extract_statements(sql_text(name))
    connection.execute("BEGIN TRANSACTION")
    try:
        for number, statement in enumerate(statements):
            assert number == 0 or statement.query.lstrip().startswith("COMMENT ON ")
            parameters = dict.fromkeys(statement.named_parameters)
            connection.execute(statement, parameters or None).fetchall()
    except duckdb.ConstraintException:
        pass  # it was bound and run: nothing but NULL came
    finally:
        connection.execute("ROLLBACK")


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("macros/")])
def test_every_macro_is_in_the_catalog(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Each file of a macro has made it, and the catalog can say what it is."""
    comment = "SELECT comment FROM duckdb_functions() WHERE function_name = ? AND NOT internal"
    ((text,),) = connection.execute(comment, [name.removeprefix("macros/")]).fetchall()
    assert text


def test_migrations_make_the_catalog(tmp_path: Path) -> None:
    """The migrations, run in order on nothing, make what every query names."""
    catalog = Catalog.open(Lake(tmp_path))
    migrations = [name for name in NAMES if name.startswith("migrations/")]
    assert catalog.rows("queries/lake") == [(len(migrations), "")]
    catalog.close()


@pytest.mark.parametrize("name", NAMES)
def test_every_file_says_what_it_is_for(name: str) -> None:
    """Each SQL file can be read without the code that runs it: a comment, or a single statement."""
    text = sql_text(name)
    assert text.endswith(";\n")
    if not name.startswith("register/insert_"):
        assert text.startswith("-- ")


def test_one_order_decides_which_alert_is_the_newest() -> None:
    """The SQL files that choose an object's newest alert spell out the order of `NEWEST`."""
    place = ", ".join(ARRIVAL)
    assert f"ORDER BY {NEWEST}\n) = 1" in sql_text("views/latest")
    age = f"row(coalesce(kafka_timestamp, '-infinity'), {place}) AS age"
    assert age in sql_text("views/objects")
    assert f"SELECT {place} FROM latest" in sql_text("macros/latest_of")
    assert f"USING ({place})" in sql_text("macros/latest_of")


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("demo/")])
def test_the_demonstration_asks_what_can_be_answered(demo_lake: Lake, name: str) -> None:
    """Each query of the demonstration gives rows on what the demonstration stores."""
    with Published(demo_lake) as published:
        define_nan_rows(published)
        assert list(published.ask(sql_text(name)).rows())
