import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from etl.audit.verify import verify
from etl.catalog.database import Catalog
from etl.catalog.known import known_schemas, known_topics
from etl.errors import DataAtRisk, TryLater, WrongSettings, WrongUsage
from etl.lake.layout import Lake
from etl.read.published import Published
from tests.flow.drains import clean_environment
from tests.sql.lakes import Writer, alert, altered, build, moved


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Make a small lake, which no test may change."""
    return build(tmp_path_factory.mktemp("template") / "lake")


@pytest.fixture
def stored(lake: Path) -> Lake:
    """Return a small lake."""
    return build(lake)


def test_a_statement_gives_names_types_and_exact_ids(stored: Lake) -> None:
    """What a user asks is answered with DuckDB's types; 64-bit ids are exact."""
    with Published(stored) as published:
        answer = published.ask("SELECT diaObjectId, UTC, ra FROM lasair_one ORDER BY ALL LIMIT 1")
        assert answer.schema.types == [pa.int64(), pa.timestamp("us"), pa.float64()]
        assert next(answer.rows())[0] == 313637935709683761


def test_columns_of_one_name_are_told_apart(stored: Lake) -> None:
    """Two columns of one name can be written to JSON and Parquet: the second gets a number."""
    with Published(stored) as published:
        assert published.ask("SELECT 1 AS a, 2 AS a, 3 AS a").schema.names == ["a", "a_1", "a_2"]


@pytest.mark.parametrize(
    "statement",
    [
        "selec 1",
        "SELECT nope FROM alerts",
        "SELECT 'x'::INTEGER",
        "SELECT classification::INTEGER FROM (SELECT 'x' || ra AS classification FROM alerts)",
        "CREATE TABLE mine (a INTEGER)",
        "INSERT INTO etl.lake VALUES (1, '')",
        "UPDATE etl.offsets SET next = 0",
        "DROP VIEW alerts",
        "SELECT $1",
        "-- nothing",
        "",
    ],
)
def test_what_duckdb_does_not_take_is_wrong_usage(template: Lake, statement: str) -> None:
    """A mistake in SQL, or an attempt to write, is wrong usage with DuckDB's own words."""
    before = template.public.read_bytes()
    with Published(template) as published, pytest.raises(WrongUsage, match=r"\w"):
        list(published.ask(statement).rows())
    assert template.public.read_bytes() == before
    assert not template.public_wal.exists()


def test_a_missing_file_is_data_at_risk(stored: Lake) -> None:
    """A query that meets a missing file says so, and names verify."""
    min((stored.root / "data").rglob("*.parquet")).unlink()
    with Published(stored) as published, pytest.raises(DataAtRisk, match="lasair-etl verify"):
        list(published.ask("SELECT sum(ra) FROM alerts").rows())


def test_a_snapshot_stays_while_the_lake_goes_on(lake: Path) -> None:
    """A reader sees what was published when it came, until it comes again."""
    writer = Writer(lake)
    writer.run([alert(1), alert(2)])
    writer.catalog.publish()
    with Published(writer.lake) as before:
        count = "SELECT count(*) FROM alerts"
        assert list(before.ask(count).rows()) == [(2,)]
        writer.run([alert(3)])
        writer.close()
        assert list(before.ask(count).rows()) == [(2,)]
        with Published(writer.lake) as after:
            assert list(after.ask(count).rows()) == [(3,)]


def test_readers_share_the_rows_of_the_writer(stored: Lake) -> None:
    """What the writer knows of topics and schemas, a reader of the published file knows too."""
    with Published(stored) as published:
        known = known_topics(published)
        assert {topic: each[-1].incarnation for topic, each in known.items()} == {
            "lasair_one": 1,
            "lasair_two": 2,
        }
        assert known["lasair_one"][-1].next == {0: 13, 1: 10}
        assert set(known_schemas(published)) == {"lasair_one", "lasair_two"}


OF_CLUSTERS = ("cluster_id", "bootstrap_servers", "is_current")
ABOUT_TOPICS = ("queries/status_topics", "queries/status_partitions", "report/read_until")


def test_a_file_that_knows_no_clusters_is_read_as_before(stored: Lake) -> None:
    """What an older program published is read as it is: its newest incarnations count."""
    with Published(stored) as published:
        known = known_topics(published)
        before = {name: list(published.records(name)) for name in ABOUT_TOPICS}
    with altered(stored) as connection:
        for name in OF_CLUSTERS:
            connection.execute(f"ALTER TABLE etl.topics DROP COLUMN {name}")
    with Published(stored) as published:
        assert known_topics(published) == known
        assert [each.is_current for each in known["lasair_two"]] == [False, True]
        assert {name: list(published.records(name)) for name in ABOUT_TOPICS} == before
    assert verify(stored).complaints == ()


def test_a_folder_without_a_lake(tmp_path: Path) -> None:
    """Where there is no lake, the sentence names the folder and the way to one."""
    with pytest.raises(WrongSettings, match="no lake here"):
        Published(Lake(tmp_path))


def test_a_published_file_that_is_none(tmp_path: Path) -> None:
    """A published file of another program is refused with its name."""
    (tmp_path / "alerts.duckdb").write_bytes(b"something else" * 1000)
    with pytest.raises(WrongSettings, match=r"alerts\.duckdb: not a readable lake"):
        Published(Lake(tmp_path))


def test_a_stale_log_is_said_to_be_healed(stored: Lake, lake: Path) -> None:
    """Where a writer left its log beside the published file, the next drain is the cure."""
    stored.public.chmod(0o644)
    writer = (
        "import duckdb, os, sys; c = duckdb.connect(sys.argv[1]); "
        "c.execute('CREATE TABLE t AS SELECT 1'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", writer, str(stored.public)], check=True)
    assert stored.public_wal.exists()
    elsewhere = Lake(lake.with_name("another"))
    elsewhere.root.mkdir()
    Catalog.open(elsewhere).close()  # all others that tests make are copies of one file
    another = build(elsewhere.root)
    another.public.replace(stored.public)  # as a drain that was killed before it removed the log
    with pytest.raises(TryLater, match="the next lasair-etl drain heals it"):
        Published(stored)


def test_a_lake_with_an_odd_path(tmp_path: Path) -> None:
    """A path with quotes, spaces and semicolons is a path."""
    lake = build(tmp_path / 'it\'s; a "lake"')
    with Published(lake) as published:
        assert list(published.ask("SELECT count(*) FROM alerts").rows()) == [(24,)]


def test_a_moved_lake_says_so_in_sql(stored: Lake, tmp_path: Path) -> None:
    """SQL on a lake that moved fails plainly: the views name where it was."""
    lake = moved(stored, tmp_path / "elsewhere")
    with Published(lake) as published, pytest.raises((DataAtRisk, WrongUsage), match=r"parquet"):
        list(published.ask("SELECT sum(ra) FROM alerts").rows())


def test_no_progress_bar_gets_into_the_output(stored: Lake) -> None:
    """A slow query prints no bar, though DuckDB takes `python -c` for a person at a prompt."""
    program = (
        "import sys; from pathlib import Path; from etl.lake.layout import Lake\n"
        "from etl.read.published import Published\n"
        "published = Published(Lake(Path(sys.argv[1])))\n"
        "shown = published.ask(\"SELECT current_setting('enable_progress_bar')\")\n"
        "print(list(shown.rows()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(stored.root)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=clean_environment(),
    )
    assert done.stdout == "[(False,)]\n"


def test_readers_in_threads_do_not_meet(stored: Lake) -> None:
    """Several readers in one process work side by side."""
    found: list[int] = []

    def count() -> None:
        with Published(stored) as published:
            found.extend(n for (n,) in published.ask("SELECT count(*) FROM alerts").rows())

    readers = [threading.Thread(target=count) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert found == [24] * 4
