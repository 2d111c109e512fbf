"""A clock that jumps: runs are ordered by number, and no file grows old by a jump."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import etl
from etl.audit.verify import verify
from etl.catalog import runs
from etl.catalog.database import Catalog
from etl.jobs import compact as compact_job
from etl.jobs.compact import delete_retired
from etl.read.published import Published
from etl.records import Figures, RunState
from etl.report.page import values
from tests.sampling import one_in
from tests.sql.lakes import Writer, alert
from tests.sql.test_compact import compacted, hours

AHEAD = datetime(2036, 2, 15)
KEEP = timedelta(days=7)


def clock(writer: Writer, run_id: str, began: datetime) -> None:
    """Let a run have been at work at another time, for some seconds."""
    ended = began + timedelta(seconds=5)
    writer.catalog.define(
        f"UPDATE etl.runs SET started_at = '{began}', ended_at = '{ended}' "
        f"WHERE run_id = '{run_id}'"
    )
    writer.catalog.define(f"UPDATE etl.topics SET last_seen = '{ended}'")


def test_the_last_run_is_the_one_that_ran_last(lake: Path) -> None:
    """After a run in 2036 by the clock, the next one is the last run wherever it is asked for."""
    writer = Writer(lake)
    writer.run([alert(1)])
    clock(writer, writer.run([alert(2), b"not json"], lost=2), AHEAD)
    last = writer.run([alert(3), b"not json"], lost=1)
    writer.close()
    began = datetime(2026, 2, 15, 15)
    with Published(writer.lake) as published:
        assert [row[0] for row in published.rows("queries/last_run")] == [last]
        assert {row[-1] for row in published.rows("queries/status_partitions")} == {last}
        page = values(published, datetime(2026, 2, 16), timedelta(hours=12))
        assert [run["started_at"] for run in page["runs"]][:2] == [began, AHEAD]
        assert [exit_["newest"] for exit_ in page["exits"]] == [began]
        assert [gap["lost"] for gap in page["gaps"]] == [1, 2]
        assert {hour["y"] for hour in page["grid"]} <= set(range(14))
        assert not [said for said in page["notices"] if "clock" in said]
        rejected = published.rows("queries/rejects", topic=None, most=1)
        assert rejected[0][2] == published.rows("queries/known_offsets")[1][3] - 1
    with etl.open(lake) as opened:
        assert opened.snapshot_at == began.replace(second=5, tzinfo=UTC)
    assert verify(writer.lake).complaints == ()


def test_the_age_is_never_negative(lake: Path) -> None:
    """A snapshot from a clock ahead is 0 old, and is said to be ahead."""
    writer = Writer(lake)
    clock(writer, writer.run([alert(1)]), AHEAD)
    writer.close()
    with etl.open(lake) as opened:
        assert opened.age == timedelta()
        assert "2036-02-15 00:00:05 UTC, which this clock has not reached" in repr(opened)
    with Published(writer.lake) as published:
        page = values(published, datetime(2026, 2, 16), timedelta(hours=12))
    assert "The last run began at 2036-02-15 00:00:00 UTC by a clock ahead." in page["notices"]


def test_a_run_ends_never_before_it_began(lake: Path) -> None:
    """Where the clock goes back within a run, or before a killed one is found, verify is well."""
    writer = Writer(lake)
    writer.run([alert(1)])
    for number, end in enumerate(("done", "killed")):
        run_id = f"2036021{number}T000000Z-0000000{number}"
        runs.open_run(writer.catalog, run_id, AHEAD, "tests", "here", 1)
        with writer.catalog.transaction():
            if end == "done":
                state = RunState("done", datetime(2026, 2, 15), 0)
                runs.update_run(writer.catalog, run_id, Figures(), state)
        if end == "killed":
            runs.close_killed_runs(writer.catalog, [run_id], datetime(2026, 2, 15))
    assert verify(writer.close()).complaints == ()


def deleted_after(lake: Path, catalog: Catalog, times: list[datetime]) -> int:
    """Let runs begin at these times, each of which deletes what is old by then; give which did."""
    for number, now in enumerate(times):
        run_id = f"run-{number}"
        runs.open_run(catalog, run_id, now, "tests", "here", 1)
        if delete_retired(catalog, now, KEEP):
            return number
    return len(times)


def retired(lake: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Catalog, datetime]:
    """Make a lake with retired files; give its catalog and when that was."""
    writer = Writer(lake)
    hours(writer)
    now = datetime(2026, 2, 27)
    monkeypatch.setattr(compact_job, "utc_now", lambda: now)
    assert compacted(writer.close().root).files_before == 5
    return Catalog.open(writer.lake), now


HOURLY = [timedelta(hours=n) for n in range(1, 24 * 7 + 1)]


@pytest.mark.parametrize(
    ("jump", "still"),
    one_in(
        2,
        [
            (timedelta(), 24 * 7 - 1),
            (timedelta(days=3650), 24 * 6),
            (timedelta(days=-3650), 24 * 7),
            (timedelta(minutes=-50), 24 * 7),
        ],
    ),
    ids=["none", "ten years ahead", "ten years back", "an hour back"],
)
def test_a_jump_makes_no_file_old(
    lake: Path, monkeypatch: pytest.MonkeyPatch, jump: timedelta, still: int
) -> None:
    """A clock that jumps once counts for a day at most, and one that goes back never ages less."""
    catalog, now = retired(lake, monkeypatch)
    times = [now + passed + (jump if n >= 12 else timedelta()) for n, passed in enumerate(HOURLY)]
    assert abs(deleted_after(lake, catalog, [*times, times[-1] + timedelta(hours=1)]) - still) <= 1
    catalog.close()


def test_a_clock_that_is_ahead_for_one_run_deletes_nothing(
    lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten years ahead and back again, each second run: only what passed between counts."""
    catalog, now = retired(lake, monkeypatch)
    assert deleted_after(lake, catalog, [now + timedelta(hours=1), AHEAD, AHEAD]) == 3
    catalog.close()


def test_an_older_catalog_numbers_its_runs_by_their_times(
    lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs of before have the order of their times; what was retired is kept for a while more."""
    catalog, now = retired(lake, monkeypatch)
    before = catalog.rows("queries/last_start")
    clusters = ("topics.cluster_id", "topics.bootstrap_servers", "topics.is_current")
    for column in ("files.retired_in", "runs.number", "runs.night_starts", *clusters):
        table, name = column.split(".")
        catalog.define(f"ALTER TABLE etl.{table} DROP COLUMN {name}")
    catalog.define("UPDATE etl.lake SET migration = 3")
    catalog.close()
    catalog = Catalog.open(catalog.lake)
    assert catalog.rows("queries/last_start") == before
    catalog.publish()
    assert verify(catalog.lake).complaints == ()
    hourly = [now + timedelta(days=30) + passed for passed in HOURLY]
    assert deleted_after(lake, catalog, hourly) > 24 * 5
    catalog.close()
