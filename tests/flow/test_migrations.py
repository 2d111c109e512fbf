"""Every catalog version that ever landed is migrated, and a newer one is refused."""

import signal

import duckdb
import pytest

from etl.audit.verify import verify
from etl.catalog.database import STORAGE_VERSION
from etl.lake.layout import Lake
from etl.statements import sql_folder, sql_text
from etl.version import __version__
from tests.flow import checker
from tests.flow.alerts import small_alerts
from tests.flow.drains import Fault, drain
from tests.flow.test_lake import tree
from tests.sampling import one_in

SCRIPTS = sorted(path.stem for path in (sql_folder() / "migrations").glob("*.sql"))


def downgrade(lake, version):
    """Put a catalog of an older version, with the same content, in place of a lake's."""
    for name in ("catalog.duckdb", "alerts.duckdb"):
        newer = lake.parent / f"newer-{name}"
        (lake / name).rename(newer)
        config: dict[str, str | bool | int | float | list[str]] = {
            "storage_compatibility_version": STORAGE_VERSION
        }
        with duckdb.connect(str(lake / name), config=config) as older:
            for script in SCRIPTS[:version]:
                older.execute(sql_text(f"migrations/{script}"))
            older.execute("DELETE FROM etl.lake")
            older.execute(f"ATTACH '{newer}' AS newer (READ_ONLY)")
            for table, names in columns_of(older).items():
                older.execute(
                    f"INSERT INTO etl.{table} ({names}) SELECT {names} FROM newer.etl.{table}"
                )
            older.execute("DELETE FROM etl.views")  # its views are made anew by the next drain
            older.execute(f"UPDATE etl.lake SET migration = {version}, root = ''")
    (lake / "alerts.duckdb").chmod(0o444)


def columns_of(connection):
    """Return the names of the columns of every table of the catalog."""
    found = connection.execute(
        "SELECT table_name, string_agg(format('\"{}\"', column_name), ', ' ORDER BY column_index)"
        " FROM duckdb_columns() JOIN duckdb_tables() USING (database_name, schema_name, table_name)"
        " WHERE schema_name = 'etl' AND database_name = current_database() GROUP BY ALL"
    ).fetchall()
    return dict(found)


@pytest.mark.parametrize("version", one_in(len(SCRIPTS), range(1, len(SCRIPTS))))
def test_an_older_catalog_is_migrated(kafka, broker, topic, lake, version):
    """A lake of any earlier version goes on: each alert once, and all that is checked holds."""
    kafka.publish(topic, [*small_alerts(20), b"no json"])
    drain(broker, lake, topic)
    downgrade(lake, version)
    kafka.publish(topic, small_alerts(20))
    drain(broker, lake, topic)
    assert checker.check(lake, {(topic, 1): checker.read_topic(broker, topic)}).alerts == 40
    assert verify(Lake(lake)).exit_code == 0
    with duckdb.connect(str(lake / "alerts.duckdb"), read_only=True) as public:
        ((migration, lake_id, generation),) = public.sql(
            "SELECT migration, lake_id, generation FROM etl.lake"
        ).fetchall()
    assert migration == len(SCRIPTS)
    assert lake_id
    assert generation > 0


def test_a_migration_that_is_killed_is_whole_in_the_next_run(kafka, broker, topic, lake):
    """Old programs always hear which version they need: it is noted with the migration itself."""
    kafka.publish(topic, small_alerts(20))
    drain(broker, lake, topic)
    downgrade(lake, 3)
    noted = Fault("etl.catalog.database:Catalog.write", "before", argument="register/set_needs")
    with duckdb.connect(str(lake / "catalog.duckdb")) as catalog:
        catalog.execute("UPDATE etl.lake SET needs = '0.0.1'")
    drain(broker, lake, topic, code=-signal.SIGKILL, faults=[noted])
    drain(broker, lake, topic)
    with duckdb.connect(str(lake / "alerts.duckdb"), read_only=True) as public:
        found = public.sql("SELECT migration, needs FROM etl.lake").fetchall()
    assert found == [(len(SCRIPTS), __version__)]
    assert checker.check(lake, {(topic, 1): checker.read_topic(broker, topic)}).alerts == 20


def test_a_newer_catalog_is_78_and_names_the_version_that_is_needed(kafka, broker, topic, lake):
    """A catalog that a newer version made is not touched, and the version to upgrade to is said."""
    kafka.publish(topic, small_alerts(20))
    drain(broker, lake, topic)
    for needs, advice in (
        ("9.8.7", "upgrade lasair-etl to 9.8.7 or newer"),
        (__version__, f"install the newest build of lasair-etl {__version__}"),
    ):
        with duckdb.connect(str(lake / "catalog.duckdb")) as catalog:
            catalog.execute("UPDATE etl.lake SET migration = 99, needs = ?", [needs])
        before = tree(lake)
        refused = drain(broker, lake, topic, code=78)
        assert advice in refused.err
        assert tree(lake) == before
