"""A sandboxed lake: SQL that somebody else wrote selects from the lake and reaches nothing else."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import etl
from etl.audit.verify import verify
from etl.catalog import define, known
from etl.catalog.database import Catalog
from etl.errors import EtlError, WrongUsage
from etl.lake.layout import Lake
from etl.read.open_lake import OpenLake
from etl.read.published import Published
from etl.read.worked_queries import analyses
from etl.report.page import page
from tests.flow.drains import command
from tests.sql.lakes import Writer, alert, altered, build, copied

SECRET = "for nobody's eyes"
SEEN = """
alerts latest objects examples detections forced etl.sightings
lasair_one etl.rejects etl.runs etl.files etl.dictionary
light_curve(1) new_objects('2026-01-01') latest_of('lasair_one') not_again_within(1) cone(0,0,5)
"""

REFUSED = """
COPY (SELECT 1) TO 'OUT'
COPY alerts TO 'ROOT/data/more.parquet'
COPY alerts TO 'FILE'
SELECT 1; COPY alerts TO 'OUT'
EXPORT DATABASE 'OUT'
EXPLAIN ANALYZE COPY alerts TO 'OUT'
FROM read_csv('SECRET')
FROM 'SECRET'
FROM read_text('SECRET')
FROM read_blob('SECRET')
FROM read_json('SECRET')
FROM read_parquet('SECRET')
FROM read_blob('ROOT/data/../../secret')
FROM read_blob('ROOT/catalog.duckdb')
FROM read_blob('ROOT/data/../catalog.duckdb')
FROM read_duckdb('ROOT/catalog.duckdb')
FROM sniff_csv('SECRET')
FROM parquet_metadata('SECRET')
FROM query_table('SECRET')
FROM query('COPY alerts TO ''OUT''')
FROM glob('/etc/*')
FROM glob('ROOT/*')
FROM duckdb_secrets()
SELECT getenv('HOME')
ATTACH 'OUT'
ATTACH 'ROOT/data/new.duckdb'
ATTACH ':memory:' AS other
DETACH lake
USE memory
INSTALL httpfs
LOAD httpfs
LOAD 'OUT.duckdb_extension'
FROM read_parquet('https://example.org/x.parquet')
FROM read_parquet('s3://bucket/x.parquet')
SET enable_external_access = true
SET lock_configuration = false
RESET lock_configuration
SET allowed_directories = ['/']
SET TimeZone = 'Asia/Tokyo'
SET threads = 1
SET VARIABLE x = 1
PRAGMA threads = 1
PRAGMA enable_profiling
CALL enable_logging()
FROM enable_logging()
CREATE SECRET (TYPE s3)
CREATE TEMP TABLE mine AS SELECT 1
CREATE MACRO mine() AS 1
DROP VIEW alerts
DELETE FROM etl.runs
IMPORT DATABASE 'OUT'
CHECKPOINT
PREPARE mine AS SELECT 1
""".strip().splitlines()


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Make a lake in a folder whose name DuckDB would take for a pattern, with a secret beside."""
    folder = tmp_path_factory.mktemp("sandbox")
    (folder / "secret").write_text(SECRET)
    return build(folder / "el[s]e *")


@pytest.fixture(scope="module")
def lake(stored: Lake) -> Iterator[OpenLake]:
    """Open it in a sandbox."""
    with etl.open(stored.root, sandboxed=True) as opened:
        yield opened


def tree(folder: Path) -> dict[Path, int]:
    """List all files below a folder with the times of their last change."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_nothing_outside_the_lake_is_reached(stored: Lake, lake: OpenLake) -> None:
    """Files, other databases, the network, extensions, settings, the environment: all refused."""
    around = stored.root.parent
    before = tree(around)
    places = {
        "SECRET": around / "secret",
        "ROOT": stored.root,
        "FILE": min(stored.root.rglob("*.parquet")),
        "OUT": around / "out",
    }
    for written in REFUSED:
        sql = written
        for name, path in places.items():
            sql = sql.replace(name, str(path))
        with pytest.raises(EtlError) as refused:
            pytest.fail(f"{sql} was answered: {lake.sql(sql).arrow()}")
        assert SECRET not in str(refused.value), sql
        assert tree(around) == before, sql
    assert lake.sql("SELECT count(*) AS n FROM alerts").arrow()["n"].to_pylist() == [24]


def test_what_python_holds_is_not_reached(lake: OpenLake) -> None:
    """DuckDB would take a name that is no table for a variable of the program."""
    for name in ("variables", "parameters", "kinds", "self", "pa", "duckdb"):
        with pytest.raises(WrongUsage, match="does not exist"):
            lake.sql(f"FROM {name}")


def test_every_view_and_macro_is_seen(stored: Lake, lake: OpenLake) -> None:
    """In a sandbox each of them answers as it does outside."""
    with etl.open(stored.root) as outside:
        for name in SEEN.split():
            sql = f"FROM {name} ORDER BY ALL"
            assert lake.sql(sql).arrow() == outside.sql(sql).arrow(), name


def test_every_worked_query_runs(stored: Lake, lake: OpenLake) -> None:
    """Worked queries run in a sandbox, with their variables too."""
    values = {"since": "2026-02-14", "classes": "SN", "blue": "g", "red": "r"}
    with etl.open(stored.root) as outside, Published(stored, sandboxed=True) as published:
        for name, worked in analyses().items():
            assert lake.sql(worked.sql).arrow() == outside.sql(worked.sql).arrow(), name
            chosen = {each: values.get(each, "1") for each in worked.variables}
            assert list(published.ask(worked.sql, chosen).rows()) is not None, name


def test_all_that_only_selects_is_allowed(lake: OpenLake) -> None:
    """A sandbox takes descriptions, parameters and every conversion."""
    assert lake.sql("DESCRIBE alerts").arrow().num_rows > 10
    assert lake.sql("SUMMARIZE alerts").arrow().num_rows > 10
    assert lake.sql("SELECT $a + 1 AS b", a=1).arrow()["b"].to_pylist() == [2]
    assert lake.latest().df().shape[0] > 0
    assert lake.light_curve(1).astropy().colnames
    assert lake.plot_sky().axes


def test_the_sandbox_stays_after_a_refresh(tmp_path: Path) -> None:
    """The newest snapshot is shown in the same sandbox."""
    writer = Writer(tmp_path / "lake")
    writer.run([alert(1)])
    writer.catalog.publish()
    with etl.open(tmp_path / "lake", sandboxed=True) as opened:
        writer.run([alert(2)], hours=48)
        writer.close()
        opened.refresh()
        assert opened.sql("SELECT count(*) AS n FROM alerts").arrow()["n"].to_pylist() == [2]
        with pytest.raises(WrongUsage, match="only SELECT"):
            opened.sql("COPY alerts TO 'x'")
        with pytest.raises(WrongUsage, match="disabled by configuration"):
            opened.sql("FROM read_text('/etc/passwd')").arrow()


def published_under(lake: Lake, public: Path) -> Path:
    """Publish a lake for readers who see it under another path, as `public_root` does."""
    catalog = Catalog.open(lake)
    with catalog.transaction():
        define.define_views(catalog, set(known.known_topics(catalog)), public)
        catalog.write("register/set_root", [{"root": str(public)}])
    catalog.publish()
    catalog.close()
    return public


def test_a_lake_under_another_path_is_seen(stored: Lake, tmp_path: Path) -> None:
    """A lake that moved, or that readers see under `public_root`, answers in a sandbox."""
    count = "SELECT count(*) AS n FROM alerts"
    moved = copied(stored, tmp_path / "moved")
    with etl.open(moved.root, sandboxed=True) as opened:
        assert opened.sql(count).arrow()["n"].to_pylist() == [24]
    (tmp_path / "public").symlink_to(moved.root)
    with etl.open(published_under(moved, tmp_path / "public"), sandboxed=True) as opened:
        assert opened.sql(count).arrow()["n"].to_pylist() == [24]
        with pytest.raises(WrongUsage, match="disabled by configuration"):
            opened.sql(f"FROM read_blob('{moved.root}/catalog.duckdb')").arrow()


def test_the_products_own_questions_are_asked_in_a_sandbox(stored: Lake, tmp_path: Path) -> None:
    """Worked queries, report, rejects, status and verify need nothing outside; `sql` is a shell."""
    assert verify(stored).complaints == ()
    with Published(stored, sandboxed=True) as published:
        assert page(published, datetime(2026, 2, 16), timedelta(hours=12))
    out = tmp_path / "out.csv"
    typed = command("sql", f"COPY (SELECT 1) TO '{out}'", "--lake", str(stored.root)).wait()
    assert out.exists(), typed.err
    for verb in (("query", "latency"), ("report", "-o", "-"), ("rejects",), ("status",)):
        asked = command(*verb, "--lake", str(stored.root)).wait()
        assert asked.code == 0, asked.err


def test_what_a_stranger_published_reaches_no_file(stored: Lake, tmp_path: Path) -> None:
    """A lake that came from elsewhere can't make `query` or `report` read files for it."""
    lake = copied(stored, tmp_path / "strange")
    secret = stored.root.parent / "secret"
    with altered(lake) as connection:
        connection.execute(
            f"CREATE OR REPLACE VIEW examples AS SELECT content FROM read_text('{secret}')"
        )
    with etl.open(lake.root) as opened:
        assert opened.sql("FROM examples").arrow()["content"].to_pylist() == [SECRET]
    with etl.open(lake.root, sandboxed=True) as opened, pytest.raises(WrongUsage):
        opened.sql("FROM examples").arrow()
