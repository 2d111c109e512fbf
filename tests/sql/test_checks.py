from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from etl.audit.verify import promise_of, verify
from etl.catalog.database import Catalog
from etl.errors import DATA_AT_RISK, OK, TryLater, WrongSettings
from etl.lake.layout import Lake
from etl.read.published import Published
from etl.statements import sql_names, sql_text
from tests.sampling import one_in
from tests.sql.lakes import altered, build, copied, moved, replaced, rewrite

Break = Callable[[Lake], object]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Make the lake that every test here gets a copy of."""
    return build(tmp_path_factory.mktemp("template") / "lake")


@pytest.fixture
def stored(template: Lake, lake: Path) -> Lake:
    """Return a small lake in which all is well."""
    return copied(template, lake)


def sql(*statements: str) -> Break:
    """Break the published catalog by SQL."""

    def break_it(lake: Lake) -> None:
        with altered(lake) as connection:
            for statement in statements:
                connection.execute(statement)

    return break_it


def column(name: str, values: Callable[[list[object]], list[object]]) -> Break:
    """Break one column of the first alert file."""
    return lambda lake: rewrite(lake, lambda table: replaced(table, name, values))


def nan_inside(table: pa.Table) -> pa.Table:
    """Put one NaN into a list inside a struct."""
    alerts = table.column("alert").to_pylist()
    alerts[3]["diaSourcesList"][1]["psfFlux"] = float("nan")
    at = table.schema.get_field_index("alert")
    field = table.schema.field(at)
    return table.set_column(at, field, pa.array(alerts, field.type))


FIRST = "(topic, incarnation, partition) = ('lasair_one', 1, 0)"
TWO = "topic = 'lasair_two'"
BREAKS: dict[str, list[Break]] = {
    "catalog_columns_widen": [
        sql(
            "INSERT INTO etl.columns (topic, path, version, ordinal, type)"
            " VALUES ('lasair_two', 'ra', 2, 1, 'VARCHAR')",
        ),
        sql("UPDATE etl.columns SET wide = true WHERE topic = 'lasair_two' AND path = 'mag'"),
    ],
    "catalog_files_are_filed": [
        sql("UPDATE etl.files SET path = 'data/stray.parquet' WHERE kind = 'rejects'"),
        sql("UPDATE etl.files SET last_night = night + 1 WHERE kind = 'rejects'"),
        sql(
            "UPDATE etl.files SET path = replace(path, 'night=2026-02-14', '2026-02'),"
            " last_night = night WHERE kind = 'rejects'"
        ),
    ],
    "catalog_files_have_schema": [
        sql("UPDATE etl.files SET schema_version = 9 WHERE topic = 'lasair_two'"),
    ],
    "catalog_files_hold_spans": [
        sql("DELETE FROM etl.files WHERE kind = 'rejects'"),
    ],
    "catalog_gaps_have_length": [
        sql(
            "INSERT INTO etl.gaps SELECT run_id, 1, topic, incarnation, partition, start, start, "
            "found_at, reason FROM etl.gaps",
        ),
    ],
    "catalog_last_record_is_read": [
        sql(f"UPDATE etl.offsets SET last_offset = next WHERE {FIRST}"),
        sql(f"UPDATE etl.offsets SET last_digest = NULL WHERE {FIRST}"),
    ],
    "catalog_incarnations_count": [
        sql(
            "INSERT INTO etl.topics (topic, incarnation, first_seen, last_seen, is_current)"
            " VALUES ('lasair_two', 4, now()::TIMESTAMP, now()::TIMESTAMP, false)",
        ),
        sql("UPDATE etl.topics SET is_current = false WHERE topic = 'lasair_one'"),
        sql("UPDATE etl.topics SET is_current = true WHERE topic = 'lasair_two'"),
        sql("INSERT INTO etl.offsets VALUES ('lasair_two', 3, 0, 0, 0, NULL, NULL, NULL)"),
    ],
    "catalog_runs_add_up": [
        sql("UPDATE etl.runs SET alerts = alerts + 1 WHERE run_id LIKE '20260215T01%'"),
        sql("UPDATE etl.runs SET lost = 0"),
    ],
    "catalog_runs_are_known": [
        sql("DELETE FROM etl.runs WHERE run_id LIKE '20260215T01%'"),
    ],
    "catalog_runs_end": [
        sql("UPDATE etl.runs SET state = 'open' WHERE run_id LIKE '20260215T01%'"),
        sql("UPDATE etl.runs SET exit_code = NULL WHERE run_id LIKE '20260215T02%'"),
    ],
    "catalog_spans_add_up": [
        sql(
            f"UPDATE etl.spans SET absent = absent + 1 WHERE {FIRST} AND start = 0",
            "UPDATE etl.runs SET absent = absent + 1 WHERE run_id LIKE '20260215T01%'",
        ),
    ],
    "catalog_spans_tile": [
        sql("UPDATE etl.offsets SET next = next + 1 WHERE topic = 'lasair_two'"),
        sql("UPDATE etl.offsets SET first = -1 WHERE topic = 'lasair_two' AND incarnation = 2"),
        sql('UPDATE etl.gaps SET start = start + 2, "end" = "end" + 2'),
        sql(
            "INSERT INTO etl.spans SELECT run_id, 1, topic, incarnation, partition, 100, 101,"
            f" 0, 0, 0, 1 FROM etl.spans WHERE {FIRST} AND start = 0",
            "UPDATE etl.runs SET absent = absent + 1 WHERE run_id LIKE '20260215T01%'",
        ),
    ],
    "catalog_views_show_columns": [
        sql(
            "DROP VIEW alerts",
            "CREATE VIEW alerts AS FROM lasair_one UNION ALL BY NAME FROM lasair_two",
            "UPDATE etl.columns SET in_alerts = false WHERE path = 'ra'",
        ),
        sql(
            "INSERT INTO etl.columns (topic, path, version, ordinal, type)"
            " VALUES ('lasair_one', '\"a.b\"', 1, 99, 'BIGINT')"
        ),
    ],
    "rows_are_once": [
        column("kafka_offset", lambda offsets: [*offsets[:2], offsets[0], *offsets[3:]]),
    ],
    "rows_fill_spans": [
        sql(
            "UPDATE etl.spans SET alerts = 2, tombstones = 0 WHERE tombstones = 1",
            "UPDATE etl.spans SET alerts = 0, tombstones = 1 WHERE rejects = 1",
        ),
        column("kafka_offset", lambda offsets: [offsets[0], 99, *offsets[2:]]),
    ],
    "rows_have_no_nan": [
        column("ra", lambda values: [float("nan"), *values[1:]]),
        lambda lake: rewrite(lake, nan_inside),
    ],
    "rows_have_runs": [
        column("etl_run_id", lambda runs: ["20260101T000000Z-00000000", *runs[1:]]),
    ],
    "rows_have_their_night": [
        column("kafka_timestamp", lambda times: [datetime(2025, 2, 14, 12), *times[1:]]),
        # together they leave no hour at which the nights could part
        column(
            "kafka_timestamp",
            lambda times: [datetime(2026, 2, 14, 11), datetime(2026, 2, 15, 11, 30), *times[2:]],
        ),
    ],
    "rows_match_files": [
        sql(
            f"UPDATE etl.files SET rows = rows + 1 WHERE {TWO} AND night = '2026-02-14'",
            f"UPDATE etl.files SET rows = rows - 1 WHERE {TWO} AND night <> '2026-02-14'",
        ),
    ],
}
ALSO = {
    # What the files hold is what the views show, and that is what the spans count: the third
    # follows from these two, and is there because it needs no file to be opened.
    "catalog_files_hold_spans": {"rows_match_files"},
}
CASES = [(name, number) for name, breaks in BREAKS.items() for number in range(len(breaks))]


def sql_complaints(lake: Lake) -> set[str]:
    """Run the checks that are SQL, each by itself, and name those that complain."""
    with Published(lake) as published:
        from etl.audit import verify  # noqa: PLC0415

        verify.define_nan_rows(published)
        return {
            complaint.check
            for name in sql_names("checks")
            for complaint in verify.check(published, name)
        }


def test_a_sound_lake_passes(stored: Lake) -> None:
    """Verify has nothing to say about a lake in which all is well."""
    report = verify(stored)
    assert (report.complaints, report.remarks, report.exit_code) == ((), (), OK)
    assert (report.files, report.rows) == (6, 25)
    assert report.checks == len(sql_names("checks")) + 3


def test_every_check_is_broken_by_a_test() -> None:
    """There is no check that no test has seen complain."""
    assert {f"checks/{name}" for name in BREAKS} == set(sql_names("checks"))


@pytest.mark.parametrize(("name", "number"), one_in(3, CASES))
def test_a_broken_promise_is_seen_by_its_check_alone(stored: Lake, name: str, number: int) -> None:
    """Each check sees what breaks its promise, and no other check complains of it."""
    BREAKS[name][number](stored)
    assert sql_complaints(stored) == {name} | ALSO.get(name, set())


@pytest.mark.parametrize("name", sql_names("checks"))
def test_every_check_says_its_promise(name: str) -> None:
    """The leading comment of each check is a sentence that verify can print."""
    assert sql_text(name).startswith("-- ")
    assert len(promise_of(name)) > 20


def test_complaints_name_the_place_and_the_promise(stored: Lake) -> None:
    """A complaint says where it is and what had been promised, and the exit code is 65."""
    BREAKS["catalog_spans_tile"][0](stored)
    report = verify(stored)
    assert report.exit_code == DATA_AT_RISK
    assert "topic=lasair_two, incarnation=1, partition=0" in report.complaints[0].where
    assert report.complaints[0].promise == promise_of("checks/catalog_spans_tile")


def test_a_catalog_without_sense_is_no_traceback(stored: Lake) -> None:
    """Where the catalog's columns can't be read, the checks say so and verify goes on."""
    sql("UPDATE etl.columns SET type = 'FLOAT' WHERE path = 'mag'")(stored)
    found = {complaint.check: complaint.where for complaint in verify(stored).complaints}
    assert set(found) == {"catalog_columns_widen", "rows_have_no_nan"}
    assert "can't be checked" in found["rows_have_no_nan"]


def test_many_complaints_are_counted(stored: Lake) -> None:
    """A check that finds very much names the first few and counts the rest."""
    sql("UPDATE etl.spans SET absent = absent + 1")(stored)
    with duckdb.connect(str(stored.public), read_only=True) as reader:
        spans = reader.execute("FROM etl.spans").fetchall()
    found = [c.where for c in verify(stored).complaints if c.check == "catalog_spans_add_up"]
    assert len(found) == 6
    assert found[-1] == f"and {len(spans) - 5} more"


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes, registered with"),
        (lambda path: path.write_bytes(bytes(path.stat().st_size)), "can't be read"),
    ],
)
def test_a_harmed_file_is_named(stored: Lake, harm: Break, said: str) -> None:
    """A file that is missing, cut short or overwritten is named; the rows are left for later."""
    path = min((stored.root / "data").rglob("*.parquet"))
    harm(path)  # type: ignore[arg-type]
    report = verify(stored)
    assert [complaint.check for complaint in report.complaints] == ["files"]
    assert report.complaints[0].where.startswith(path.relative_to(stored.root).as_posix())
    assert said in report.complaints[0].where
    assert "the rows were not checked" in report.remarks[-1]


def test_a_footer_with_other_rows_is_named(stored: Lake) -> None:
    """A file whose footer counts other rows than the catalog is named."""
    relative = rewrite(stored, lambda table: table.slice(1))
    assert f"{relative}: has 7 rows, registered with 8" in verify(stored).complaints[0].where


def test_a_retired_file_may_be_gone(stored: Lake) -> None:
    """A file that newer ones stand for is not missed."""
    with altered(stored) as connection:
        connection.execute(
            "INSERT INTO etl.files"
            " SELECT * REPLACE (replace(path, '-1.parquet', '-old.parquet') AS path,"
            " now()::TIMESTAMP AS retired_at) FROM etl.files WHERE topic = 'lasair_two'",
        )
    assert verify(stored).complaints == ()


def test_unknown_files_are_remarks(stored: Lake) -> None:
    """A stranger's file in data/ is named, is no error, and stays."""
    stranger = stored.root / "data" / "kafka_topic=lasair_one" / "notes.txt"
    stranger.write_text("mine")
    report = verify(stored)
    assert report.complaints == ()
    assert [remark.partition(":")[0] for remark in report.remarks] == [
        "data/kafka_topic=lasair_one/notes.txt"
    ]
    assert stranger.read_text() == "mine"


def test_a_moved_lake_is_told_the_way_out(stored: Lake, tmp_path: Path) -> None:
    """A lake that moved is said to have moved, and that the next drain mends it."""
    report = verify(moved(stored, tmp_path / "elsewhere"))
    assert [complaint.check for complaint in report.complaints] == ["place"]
    assert "the next lasair-etl drain" in report.complaints[0].where


def test_no_lake_at_all(tmp_path: Path) -> None:
    """Without a published file verify says so: wrong settings, or a drain that is not done yet."""
    with pytest.raises(WrongSettings, match="no lake here"):
        verify(Lake(tmp_path))
    Catalog.open(Lake(tmp_path)).close()
    with pytest.raises(TryLater, match="nothing is published yet"):
        verify(Lake(tmp_path))


def test_an_empty_lake_passes(tmp_path: Path) -> None:
    """A lake that has met no topic breaks no promise."""
    lake = Lake(tmp_path)
    catalog = Catalog.open(lake)
    catalog.write("register/set_root", [{"root": str(tmp_path)}])
    from etl.catalog.define import define_views  # noqa: PLC0415

    define_views(catalog, set(), tmp_path)
    catalog.publish()
    catalog.close()
    assert verify(lake).complaints == ()


def test_verify_changes_nothing(stored: Lake) -> None:
    """Verify only reads: every file of the lake is as before, and there is none more."""

    def look() -> dict[str, tuple[int, int]]:
        return {
            str(path): (path.stat().st_mtime_ns, path.stat().st_size)
            for path in stored.root.rglob("*")
        }

    before = look()
    verify(stored)
    assert look() == before
