import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from etl.audit.verify import check, verify
from etl.catalog import runs
from etl.catalog.checkpoint import Replacement, replace_files
from etl.catalog.database import Catalog
from etl.config.settings import Settings
from etl.errors import DATA_AT_RISK, DataAtRisk, LakeBusy, OffsetsMoved
from etl.jobs import compact as compact_job
from etl.jobs.compact import Compacted, compact
from etl.lake import sort
from etl.lake.layout import Lake
from etl.lake.local import locked
from etl.lake.parquet import FOOTER_KEY
from etl.read.published import Published
from etl.records import Figures, LandedFile, RunState
from tests.sampling import one_in
from tests.sql.lakes import NOON, Writer, alert, altered, build, moved
from tests.sql.stored_rows import stored_rows

TOPIC = "lasair_one"
OLD_DUCKDB = Path(__file__).resolve().parents[2] / ".compat" / "duckdb-1.5.6"
BEFORE_MONTH_ENDS = datetime(2026, 2, 27)


@pytest.fixture(autouse=True)
def _in_february(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the nights of these lakes be over, but not their month."""
    at(monkeypatch, BEFORE_MONTH_ENDS)


def at(monkeypatch: pytest.MonkeyPatch, now: datetime) -> None:
    """Set the clock of compactions."""
    monkeypatch.setattr(compact_job, "utc_now", lambda: now)


def compacted(lake: Path, **settings: Any) -> Compacted:
    """Compact a lake as the verb does."""
    return compact(Settings("", "", (), lake, **settings))


def live(lake: Path) -> list[Any]:
    """List the live files of a lake."""
    with duckdb.connect(str(lake / "alerts.duckdb"), read_only=True) as public:
        return public.execute(
            "SELECT path, topic, kind, night, last_night, rows, schema_version FROM etl.files "
            "WHERE retired_at IS NULL ORDER BY path"
        ).fetchall()


def asked(lake: Path, sql: str) -> list[Any]:
    """Ask the published file."""
    with duckdb.connect(str(lake / "alerts.duckdb"), read_only=True) as public:
        return public.execute(sql).fetchall()


def hours(writer: Writer, nights: int = 1, each: int = 5, **options: Any) -> None:
    """Write some runs an hour apart, for some nights."""
    for night in range(nights):
        for hour in range(each):
            numbers = range(hour * 7, hour * 7 + 9)
            writer.run([alert(n) for n in numbers], hours=24 * night + hour, **options)


def drained_daily(lake: Path, days: int) -> None:
    """Record a drain a day, each without news, from the day after the compaction on."""
    catalog = Catalog.open(Lake(lake))
    for day in range(1, days + 1):
        run_id, now = f"day-{day}", BEFORE_MONTH_ENDS + timedelta(days=day)
        runs.open_run(catalog, run_id, now, "tests", "here", 1)
        with catalog.transaction():
            runs.update_run(catalog, run_id, Figures(), RunState("done", now, 0))
    catalog.publish()
    catalog.close()


ODD = [
    b'{"diaObjectId": 3, "x": -0.0, "l": [], "s": {"v": [null, 1]}, "t": null}',
    b'{"diaObjectId": 1, "x": Infinity, "l": null, "s": null, "t": ""}',
    b'{"diaObjectId": null, "x": -Infinity, "l": [[1.5], [], null], "s": {}}',
    b'{"diaObjectId": 2, "x": 5e-324, "l": [[-0.0]], "s": {"v": []}, "t": "\\u0000\\u00e9"}',
    b'{"diaObjectId": 9007199254740993, "x": 1.7976931348623157e308}',
    b"{}",
]


def test_every_value_is_as_it_was(lake: Path) -> None:
    """Compaction changes no bit of a value: signs of zero, infinities, NULL beside empty lists."""
    writer = Writer(lake)
    for turn in range(6):
        writer.run(ODD[turn:] + ODD[:turn] + [b"not json", None], hours=turn)
    writer.close()
    before = stored_rows(lake)
    done = compacted(lake)
    assert (done.files_before, done.files_after, done.rows) == (12, 2, 42)
    assert stored_rows(lake) == before
    assert len(before) == 42
    assert {path for path, *_ in live(lake)} != set()
    assert len(live(lake)) == 2
    assert verify(Lake(lake)).complaints == ()


@pytest.mark.parametrize("held", one_in(3, [4_000, 1, sort.HELD_BYTES]))
def test_rows_are_sorted_by_object_whatever_memory_may_hold(
    lake: Path, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    """A night larger than memory gets the same rows in the same order, object by object."""
    writer = Writer(lake)
    hours(writer, each=12)
    writer.run(ODD)
    writer.close()
    before = stored_rows(lake)
    monkeypatch.setattr(sort, "HELD_BYTES", held)
    monkeypatch.setattr(sort, "PIECE_BYTES", held // 10)
    compacted(lake)
    assert stored_rows(lake) == before
    ((path, *_),) = live(lake)
    table = pq.ParquetFile(lake / path).read()
    names = ["diaObjectId", "etl_incarnation", "kafka_partition", "kafka_offset"]
    keys = [
        tuple((row[name] is None, row[name]) for name in names)
        for row in table.select(names).to_pylist()
    ]
    assert keys == sorted(keys)
    assert list(lake.glob("tmp*")) == []


def test_schema_versions_of_one_night_become_the_newest(lake: Path) -> None:
    """Files of several schema versions become one that has the columns of a file landed now."""
    writer = Writer(lake)
    writer.run([b'{"objectId": "b", "n": 5, "s": {"a": 1}}', b'{"objectId": "a", "n": -7}'])
    writer.run([b'{"objectId": "c", "n": 1.5, "m": [{"q": 1}]}'])
    writer.run(
        [b'{"objectId": "a", "s": {"b": [{"c": true}], "a": 2}, "m": [{"q": 2.5, "r": ""}]}']
    )
    writer.run([b'{"objectId": "a"}', b'{"objectId": 7, "n": "odd"}'])
    newest = writer.run([b'{"objectId": "z"}'])
    writer.close()
    before = stored_rows(lake)
    assert len({version for *_, version in live(lake)}) > 2
    landed = pq.read_schema(next(lake.rglob(f"{newest}-*.parquet")))
    seen = asked(lake, f"FROM {TOPIC} ORDER BY kafka_partition, kafka_offset")
    compacted(lake)
    ((path, *_, version),) = live(lake)
    assert pq.read_schema(lake / path).equals(landed)
    assert version == writer.schemas[TOPIC].version
    assert stored_rows(lake) == before
    assert asked(lake, f"FROM {TOPIC} ORDER BY kafka_partition, kafka_offset") == seen
    assert verify(Lake(lake)).complaints == ()


def test_a_filter_finds_what_it_found(lake: Path) -> None:
    """Each look-up by id, which now goes by bloom filters and sorting, gives what it gave."""
    writer = Writer(lake)
    hours(writer, each=6)
    writer.close()
    ids = [313637935709683761 + n for n in range(-1, 60)]
    sql = f"SELECT * FROM {TOPIC} WHERE diaObjectId = {{}} ORDER BY kafka_partition, kafka_offset"
    before = [asked(lake, sql.format(number)) for number in ids]
    compacted(lake)
    assert [asked(lake, sql.format(number)) for number in ids] == before
    ((path, *_),) = live(lake)
    excluded = asked(
        lake,
        f"SELECT * FROM parquet_bloom_probe('{lake / path}', 'diaObjectId', {ids[0] - 1000})",
    )
    assert [row[-1] for row in excluded] == [True]


def test_nights_that_may_not_be_over_are_left_alone(
    lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A night is compacted some hours after its end, by the setting that says when it ends."""
    writer = Writer(lake)
    hours(writer)  # of the night 2026-02-14, which ends on the 15th at 12 h
    writer.close()
    at(monkeypatch, datetime(2026, 2, 15, 17, 59))
    assert compacted(lake).files_before == 0
    assert len(live(lake)) == 5
    at(monkeypatch, datetime(2026, 2, 15, 18, 0))
    assert compacted(lake).files_before == 5
    assert len(live(lake)) == 1


def test_what_does_not_pay_is_left_alone(lake: Path) -> None:
    """Few files of a night stay as they are, nothing is written, and no run is recorded."""
    writer = Writer(lake)
    hours(writer, nights=3, each=3)
    before = writer.close().public.read_bytes()
    assert compacted(lake).files_before == 0
    assert (lake / "alerts.duckdb").read_bytes() == before


def test_late_alerts_are_compacted_again(lake: Path) -> None:
    """Alerts that come late for a compacted night join its file when they are some files."""
    writer = Writer(lake)
    hours(writer)
    writer.close()
    compacted(lake)
    writer = reopened(writer)
    hours(writer, each=3)
    writer.close()
    before = stored_rows(lake)
    done = compacted(lake)
    assert (done.files_before, done.files_after) == (4, 1)
    assert stored_rows(lake) == before
    ((_, _, _, _, _, rows, _),) = live(lake)
    assert rows == 8 * 9
    assert verify(Lake(lake)).complaints == ()


def reopened(writer: Writer) -> Writer:
    """Go on writing where a writer was closed."""
    writer.catalog = Catalog.open(writer.lake)
    return writer


def test_a_month_that_is_over_becomes_one_file(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of a month's nights become one, in which each row keeps its night."""
    writer = Writer(lake)
    hours(writer, nights=5, each=4)
    writer.close()
    before = stored_rows(lake)
    nights = "SELECT night, count(*), sum(ra) FROM alerts GROUP BY night ORDER BY night"
    counted = asked(lake, nights)
    compacted(lake)
    assert len(live(lake)) == 5
    assert {last for _, _, _, _, last, _, _ in live(lake)} == {None}
    at(monkeypatch, datetime(2026, 3, 1, 18))
    done = compacted(lake)
    assert (done.files_before, done.files_after, done.rows) == (5, 1, 180)
    ((path, _, _, night, last_night, *_),) = live(lake)
    assert (night, last_night) == (date(2026, 2, 14), date(2026, 2, 18))
    assert f"/kafka_topic={TOPIC}/2026-02/" in path
    assert stored_rows(lake) == before
    assert asked(lake, nights) == counted
    assert verify(Lake(lake)).complaints == ()
    writer = reopened(writer)
    hours(writer, nights=4, each=1)  # late, and beside the month's file
    writer.close()
    before = stored_rows(lake)
    assert verify(Lake(lake)).complaints == ()
    assert compacted(lake).files_before == 5
    assert stored_rows(lake) == before
    assert verify(Lake(lake)).complaints == ()


def test_large_files_are_left_alone(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file grows without bound: what is large is no longer touched, what is small is joined."""
    writer = Writer(lake)
    hours(writer, each=12)
    writer.close()
    size = max(path.stat().st_size for path in lake.rglob("*.parquet"))
    monkeypatch.setattr(compact_job, "MOST_BYTES", 4 * size)
    monkeypatch.setattr(compact_job, "LARGE_BYTES", size + 1)
    before = stored_rows(lake)
    done = compacted(lake)
    assert (done.files_before, done.files_after) == (12, 3)
    assert stored_rows(lake) == before
    assert compacted(lake).files_before == 0


def test_footers_say_where_all_the_rows_come_from(lake: Path) -> None:
    """The footer of a compacted file names the incarnations and offsets of the files before it."""
    writer = Writer(lake)
    hours(writer, each=3)
    writer.run([alert(1)], hours=3, lost=4)
    writer.run([alert(1), alert(2)], hours=4, incarnation=2)
    writer.close()

    def offsets(path: str) -> set[tuple[int, int, int]]:
        origin = json.loads(pq.read_metadata(lake / path).metadata[FOOTER_KEY])
        return {
            (span["incarnation"], span["partition"], offset)
            for span in origin["spans"]
            for offset in range(span["start"], span["end"])
        }

    before = set().union(*(offsets(path) for path, *_ in live(lake)))
    for _ in range(2):
        compacted(lake)
        ((path, *_),) = live(lake)
        assert offsets(path) == before
        origin = json.loads(pq.read_metadata(lake / path).metadata[FOOTER_KEY])
        assert origin["lives"] == {"1": None, "2": None}
        assert (origin["topic"], origin["incarnation"], origin["topic_id"]) == (TOPIC, 2, None)
        assert len(origin["spans"]) == 5
        writer = reopened(writer)
        hours(writer, each=3, incarnation=2)
        writer.close()
        before = set().union(*(offsets(path) for path, *_ in live(lake)))


def test_retired_files_stay_for_the_grace_period(
    lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot from before works until the grace period is over; then the old files go."""
    writer = Writer(lake)
    hours(writer)
    writer.close()
    files = set(lake.rglob("*.parquet"))
    with duckdb.connect() as old:
        old.execute(f"ATTACH '{lake / 'alerts.duckdb'}' AS lake (READ_ONLY)")
        count = old.execute("SELECT count(*), sum(kafka_offset) FROM lake.alerts").fetchall()
        compacted(lake)
        drained_daily(lake, days=2)
        at(monkeypatch, BEFORE_MONTH_ENDS + timedelta(days=2))
        assert compacted(lake, keep_retired=timedelta(days=3)).deleted == 0
        assert (
            old.execute("SELECT count(*), sum(kafka_offset) FROM lake.alerts").fetchall() == count
        )
        at(monkeypatch, BEFORE_MONTH_ENDS + timedelta(days=3))
        assert compacted(lake, keep_retired=timedelta(days=3)).deleted == 5
    assert not any(path.exists() for path in files)
    assert len(live(lake)) == len(asked(lake, "FROM etl.files")) == 1
    assert verify(Lake(lake)).complaints == ()


def test_half_deleted_files_harm_nobody(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are gone before that is recorded are no complaint, and the next run goes on."""
    writer = Writer(lake)
    hours(writer)
    writer.close()
    compacted(lake)
    gone, *_ = asked(lake, "SELECT path FROM etl.files WHERE retired_at IS NOT NULL")
    (lake / gone[0]).unlink()
    assert verify(Lake(lake)).complaints == ()
    drained_daily(lake, days=7)
    at(monkeypatch, BEFORE_MONTH_ENDS + timedelta(days=8))
    assert compacted(lake).deleted == 5
    assert verify(Lake(lake)).complaints == ()


@pytest.mark.parametrize(
    "harm",
    one_in(
        2,
        [
            lambda path: path.write_bytes(path.read_bytes()[:-1]),
            lambda path: path.write_bytes(bytes(path.stat().st_size)),
            lambda path: path.write_bytes(path.read_bytes().replace(b'"spans"', b'"span!"')),
            lambda path: path.write_bytes(path.read_bytes().replace(b'{"run_id"', b'{;run_id"')),
            lambda path: path.unlink(),
        ],
    ),
    ids=["cut short", "overwritten", "spans unsaid", "footer no JSON", "gone"],
)
def test_a_harmed_file_is_told_and_stays(lake: Path, harm: Callable[[Path], object]) -> None:
    """A night with a damaged file stays as it is, the others are compacted, and it is said."""
    writer = Writer(lake)
    hours(writer, nights=2)
    writer.close()
    path = max(lake.rglob("*.parquet"))  # views are bound by the first one
    harm(path)
    done = compacted(lake)
    assert (done.files_before, done.exit_code) == (5, DATA_AT_RISK)
    assert path.name in done.notes[0]
    assert len(live(lake)) == 6
    assert not list(lake.rglob("*.tmp"))


def test_a_compaction_that_fails_leaves_all_as_it_was(lake: Path) -> None:
    """Where no view can be made, for a file is harmed, nothing is registered, nothing left behind.

    The failed run is recorded, so that the next one has nothing to tidy up.
    """
    writer = Writer(lake)
    hours(writer, nights=2)
    writer.close()
    files = set(lake.rglob("*.parquet"))
    before = live(lake)
    harmed = min(files)
    sound = harmed.read_bytes()
    harmed.write_bytes(bytes(len(sound)))
    with pytest.raises(DataAtRisk, match=harmed.name):
        compacted(lake)
    assert live(lake) == before
    assert set(lake.rglob("*.parquet")) == files
    runs = "SELECT state, message FROM etl.runs WHERE group_id IS NULL"
    ((state, message),) = asked(lake, runs)
    assert state == "failed"
    assert harmed.name in message
    harmed.write_bytes(sound)
    assert compacted(lake).files_before == 10
    assert verify(Lake(lake)).complaints == ()


def test_files_that_another_writer_has_replaced_are_not_replaced_again(lake: Path) -> None:
    """Where a file to retire is not live, nothing is registered: its rows would be doubled."""
    writer = Writer(lake)
    hours(writer, each=4)
    writer.close()
    before = live(lake)
    first = LandedFile(before[0][0], TOPIC, date(2026, 2, 14), "alerts", 9, 1, 1)
    catalog = Catalog.open(Lake(lake))
    for paths in ([before[0][0], "gone"], [before[0][0]] * 2):
        step = Replacement("run", 1, BEFORE_MONTH_ENDS, [first], paths)
        with pytest.raises(OffsetsMoved, match="1 of 2 files"):
            replace_files(catalog, step, Figures(), RunState("open"), lake)
    catalog.publish()
    catalog.close()
    assert live(lake) == before


def test_a_moved_lake_is_compacted_where_it_is(lake: Path, tmp_path: Path) -> None:
    """A moved lake is published anew, and compacted at its new place."""
    writer = Writer(lake)
    hours(writer)
    before = stored_rows(writer.close().root)
    place = moved(Lake(lake), tmp_path / "else[w]here").root
    assert compacted(place).files_before == 5
    assert stored_rows(place) == before
    assert verify(Lake(place)).complaints == ()


def test_another_run_at_work_is_waited_for(lake: Path) -> None:
    """While a drain holds the lake, compaction is refused with 75."""
    with locked(build(lake)), pytest.raises(LakeBusy, match="another run is at work"):
        compacted(lake)


def test_all_that_a_lake_can_hold_is_compacted(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With rejects, incarnations, gaps and topics, verify is content and the rows stay the same."""
    build(lake)
    before = stored_rows(lake)
    monkeypatch.setattr(compact_job, "FEWEST", 1)
    at(monkeypatch, NOON.astimezone(UTC).replace(tzinfo=None) + timedelta(days=60))
    done = compacted(lake)
    assert done.files_before == 5
    assert stored_rows(lake) == before
    assert verify(Lake(lake)).complaints == ()


def month_lake(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a lake with a file of several nights, and one of a single night beside it."""
    writer = Writer(lake)
    hours(writer, nights=2, each=4)
    writer.close()
    at(monkeypatch, datetime(2026, 3, 2))
    compacted(lake)
    writer = reopened(writer)
    writer.run([alert(1), b"not json"], hours=480)
    writer.close()


def test_verify_counts_files_of_several_nights(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A month whose files hold other rows than the views show is named by verify's check."""
    month_lake(lake, monkeypatch)
    with Published(Lake(lake)) as published:
        assert list(check(published, "checks/rows_match_files")) == []
    with altered(Lake(lake)) as connection:
        connection.execute("UPDATE etl.files SET rows = rows + 1 WHERE last_night IS NOT NULL")
    with Published(Lake(lake)) as published:
        (complaint,) = check(published, "checks/rows_match_files")
    assert complaint.where.startswith("topic=lasair_one, night=2026-02-14, kind=alerts, ")
    assert complaint.where.endswith("shown=72, in_files=73")


def test_duckdb_1_5_reads_compacted_files(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB 1.5.6 gives the same rows of files with bloom filters, of one night and of several."""
    if not OLD_DUCKDB.is_dir():
        pytest.skip(f"no {OLD_DUCKDB}: make test puts DuckDB 1.5.6 there")
    month_lake(lake, monkeypatch)
    program = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True);"
        "c.execute('SET enable_progress_bar = false');"
        "print(duckdb.__version__);"
        "print(c.execute('FROM alerts ORDER BY kafka_partition, kafka_offset').fetchall());"
        "print([c.execute('SELECT count(*), min(night), max(night) FROM alerts "
        "WHERE diaObjectId = ?', [313637935709683760 + n]).fetchall() for n in range(40)])"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program, str(lake / "alerts.duckdb")],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        for path in ("", str(OLD_DUCKDB))
    ]
    assert [version for version, *_ in said] == [duckdb.__version__, "1.5.6"]
    assert said[0][1:] == said[1][1:]


def test_lakes_of_before_are_migrated(lake: Path) -> None:
    """A catalog that knows neither files of several nights nor clusters learns of both."""
    writer = Writer(lake)
    hours(writer)
    later = ("files.last_night", "files.retired_in", "runs.number", "runs.night_starts")
    identity = ("lake.lake_id", "lake.generation", "lake.needs")
    clusters = ("topics.cluster_id", "topics.bootstrap_servers", "topics.is_current")
    for column in (*later, *identity, *clusters):
        table, name = column.split(".")
        writer.catalog.define(f"ALTER TABLE etl.{table} DROP COLUMN {name}")
    writer.catalog.define("UPDATE etl.lake SET migration = 1")
    writer.close()
    assert compacted(lake).files_before == 5
    assert verify(Lake(lake)).complaints == ()
