"""Compaction beside readers, killed at any moment, and on a full disk: no row is lost or doubled.

The alerts here are of a night of last month or before, in several small files, so that a drain
without anything new has one thing to do. The kills are real ones.
"""

import os
import shutil
import signal
import time

import pytest

from etl.audit.verify import verify
from etl.lake.layout import Lake
from tests.flow import checker
from tests.flow.alerts import small_alerts
from tests.flow.brokers import PARTITIONS
from tests.flow.drains import SMALL_STEPS, Fault, command, drain, start
from tests.flow.readers import notebook, reading
from tests.flow.test_lake import fill, large_alerts, mounted
from tests.sampling import one_in
from tests.sql.stored_rows import stored_rows

DAY_MS = 86_400_000
ALERTS = 320

STAGES = {
    "files chosen": Fault("etl.jobs.compact:due"),
    "run recorded as open": Fault("etl.catalog.runs:open_run", call=2),
    "rows sorted, none written": Fault("etl.lake.sort:pc.sort_indices"),
    "file not complete": Fault("etl.lake.parquet:pq.ParquetWriter.close", "before"),
    "file under its temporary name": Fault("pathlib:Path.replace", "before", 3),
    "file complete": Fault("etl.lake.merge:merge_files"),
    "before the transaction": Fault("etl.catalog.checkpoint:replace_files", "before"),
    "inside the transaction": Fault("etl.catalog.define:define_views", "before", 2),
    "views redefined, not committed": Fault("etl.catalog.define:define_views", call=2),
    "committed, not published": Fault("etl.catalog.checkpoint:replace_files"),
    "copied, not replaced": Fault("etl.catalog.publication:os.fchmod", call=3),
    "published, not reopened": Fault("etl.catalog.publication:publish_copy", call=3),
    "before the old ones are deleted": Fault("etl.jobs.compact:delete_retired", "before"),
    "deleted, not forgotten": Fault("pathlib:Path.rmdir", "before"),
    "deleted and forgotten": Fault("etl.jobs.compact:delete_retired"),
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Write settings files: without compaction, with it, and with no grace for old files."""
    folder = tmp_path_factory.mktemp("settings")
    texts = {"never": "compact = false\n", "now": "", "at once": "keep_retired = 0\n"}
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.toml" for name in texts}


def days_ago(*days):
    """Return timestamps of messages that are so old, in turn, as `Broker.publish` takes it."""
    now = int(time.time() * 1000)
    return lambda number: now - days[number // PARTITIONS % len(days)] * DAY_MS


def fill_nights(kafka, broker, topic, lake, settings):
    """Drain several small files into each of two nights that are over."""
    values = [*small_alerts(ALERTS - 24), b"no json", *small_alerts(24)]
    kafka.publish(topic, values, timestamp_ms=days_ago(40, 41))
    drain(broker, lake, topic, config=settings["never"], tuning=SMALL_STEPS)


@pytest.fixture(scope="module")
def filled_once(kafka, broker, settings, tmp_path_factory):
    """Fill a lake from a topic that no test of this module adds to."""
    topic = kafka.create("lasair_1compaction")
    folder = tmp_path_factory.mktemp("filled")
    fill_nights(kafka, broker, topic, folder / "lake", settings)
    shutil.copytree(folder / "lake", folder / "kept")
    return topic, folder


@pytest.fixture
def filled(filled_once):
    """Return that topic, and the lake as it was when it was filled."""
    topic, folder = filled_once
    shutil.rmtree(folder / "lake")
    shutil.copytree(folder / "kept", folder / "lake")
    return topic, folder / "lake"


def live(lake):
    """Count the live files."""
    return len([f for f in checker.read_catalog(lake).files if f["retired_at"] is None])


@pytest.mark.parametrize("stage", one_in(6, STAGES))
def test_kill_at_any_stage_of_a_compaction(broker, filled, settings, stage):
    """A compaction killed here changes no row, and the next drain needs no help to end it."""
    topic, lake = filled
    before, files = stored_rows(lake), live(lake)
    log = {(topic, 1): checker.read_topic(broker, topic)}
    deletes = "delete" in stage  # without grace, which would break readers in the middle of a look
    config = settings["at once" if deletes else "now"]
    with reading(lake, () if deletes else ("reopening", "attaching")):
        killed = start(broker, lake, topic, faults=[STAGES[stage]], config=config).wait()
        assert killed.code == -signal.SIGKILL, f"it was never there: {stage}\n{killed}"
        assert stored_rows(lake) == before
        drain(broker, lake, topic, config=config)
    assert live(lake) < files
    assert stored_rows(lake) == before
    assert checker.check(lake, log).alerts == ALERTS
    assert checker.unregistered(lake) == []
    assert {run["state"] for run in checker.read_catalog(lake).runs} <= {"done", "failed"}
    assert verify(Lake(lake)).complaints == ()
    retired = [f for f in checker.read_catalog(lake).files if f["retired_at"] is not None]
    assert bool(retired) != deletes
    assert len(list(lake.rglob("*.parquet"))) == live(lake) + len(retired)


def test_a_drain_compacts_when_its_alerts_are_safe(kafka, broker, topic, lake, settings):
    """A drain says what it compacted; notebooks of before go on, and the setting turns it off."""
    fill_nights(kafka, broker, topic, lake, settings)
    kafka.publish(topic, small_alerts(16))
    with notebook(lake) as held:
        counted = held.ask("SELECT count(*), sum(diaObjectId) FROM alerts")
        finished = drain(broker, lake, topic, config=settings["now"]).closing
        assert finished["figures"]["alerts"] == 16
        assert finished["compacted"]["files_before"] > finished["compacted"]["files_after"]
        assert held.ask("SELECT count(*), sum(diaObjectId) FROM alerts") == counted
    assert drain(broker, lake, topic, config=settings["now"]).closing["compacted"] is None
    log = {(topic, 1): checker.read_topic(broker, topic)}
    assert checker.check(lake, log).alerts == ALERTS + 16
    retired = [f for f in checker.read_catalog(lake).files if f["retired_at"] is not None]
    assert all((lake / file["path"]).exists() for file in retired)
    assert len(retired) == finished["compacted"]["files_before"]


def test_the_verb_compacts_and_is_silent_with_nothing_to_do(filled):
    """`lasair-etl compact` says in one line what it did, and nothing where there is nothing."""
    _, lake = filled
    before = stored_rows(lake)
    done = command("compact", "--lake", str(lake)).wait()
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("compacted ")
    assert done.out.count("\n") == 1
    again = command("compact", "--lake", str(lake)).wait()
    assert (again.code, again.output) == (0, "")
    assert stored_rows(lake) == before


@pytest.mark.soak
def test_a_compaction_without_room_is_74_and_harms_nothing(
    kafka, broker, topic, tmp_path, settings
):
    """Where the disk has no room for it, all stays as it was; with room it is done."""
    with mounted(tmp_path / "disk", "64m") as disk:
        lake = disk / "lake"
        for _ in range(4):
            kafka.publish(topic, large_alerts(40), timestamp_ms=days_ago(40))
            drain(broker, lake, topic, config=settings["never"])
        before = stored_rows(lake)
        small = {"etl.lake.sort:HELD_BYTES": 1_000_000}
        with reading(lake):
            for free_kb, tuning in ((0, {}), (500, {}), (500, small), (1500, small)):
                fill(disk, free_kb)
                refused = drain(
                    broker, lake, topic, code=None, config=settings["now"], tuning=tuning
                )
                assert refused.code in ({74} if free_kb else {0, 74}), str(refused)
                assert "Traceback" not in refused.output
                (disk / "ballast").unlink()
                assert stored_rows(lake) == before
                assert not list(lake.rglob("*.tmp"))
            done = drain(broker, lake, topic, config=settings["now"]).closing["compacted"]
        assert done["files_before"] == 4
        assert stored_rows(lake) == before
        assert checker.unregistered(lake) == []
        assert verify(Lake(lake)).complaints == ()


@pytest.mark.soak
def test_kills_at_random_moments(kafka, broker, topic, lake, settings):
    """Drains and compactions killed at any moment, alerts old and new arriving: each is once."""
    fill_nights(kafka, broker, topic, lake, settings)
    chance = int.from_bytes(os.urandom(4), "big")
    with reading(lake):
        for turn in range(8):
            kafka.publish(topic, small_alerts(24), timestamp_ms=days_ago(40 + turn % 2))
            tuning = {"etl.jobs.compact:FEWEST": 2}
            running = start(broker, lake, topic, config=settings["now"], tuning=tuning)
            time.sleep((chance >> turn * 4) % 16 / 16 * 0.8)
            running.process.kill()
            running.wait()
        drain(broker, lake, topic, config=settings["now"], tuning={"etl.jobs.compact:FEWEST": 2})
    drain(broker, lake, topic, config=settings["at once"])
    log = {(topic, 1): checker.read_topic(broker, topic)}
    assert checker.check(lake, log).alerts == ALERTS + 8 * 24, f"seed {chance}"
    assert checker.unregistered(lake) == []
    assert verify(Lake(lake)).complaints == ()


@pytest.mark.parametrize(
    "which", one_in(2, [0, -1]), ids=["the first, which binds the view", "the last"]
)
def test_a_drain_that_meets_a_harmed_file_is_65(kafka, broker, topic, lake, settings, which):
    """Harm that a compaction finds is in the drain's exit code and named, until it is mended."""
    kafka.publish(topic, small_alerts(ALERTS), timestamp_ms=days_ago(40, 80))  # two months
    drain(broker, lake, topic, config=settings["never"], tuning=SMALL_STEPS)
    files = [file for file in checker.read_catalog(lake).files if file["kind"] == "alerts"]
    ordered = sorted(files, key=lambda f: (f["schema_version"], f["night"], f["path"]))
    harmed = lake / ordered[which]["path"]
    sound = harmed.read_bytes()
    harmed.write_bytes(bytes(len(sound)))
    finished = drain(broker, lake, topic, code=65, config=settings["now"])
    assert harmed.name in finished.output
    assert finished.closing["exit_code"] == 65
    harmed.write_bytes(sound)
    drain(broker, lake, topic, config=settings["now"])
    assert verify(Lake(lake)).complaints == ()
