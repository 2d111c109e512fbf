"""Copies of a lake's parts that are older or newer than the rest: told, never used in silence."""

import os
import shutil
import signal
from pathlib import Path

import duckdb
import pytest

from etl.audit.verify import verify
from etl.lake.layout import Lake
from tests.flow import checker
from tests.flow.advice import follow
from tests.flow.alerts import small_alerts
from tests.flow.drains import SMALL_STEPS, Fault, drain, start, wait_until
from tests.flow.test_lake import tree


def check(broker, lake, topic):
    """Check one topic in its first incarnation; return how many alerts it has."""
    return checker.check(lake, {(topic, 1): checker.read_topic(broker, topic)}).alerts


def complaints(lake):
    """Return the names of the checks that `verify` finds broken."""
    return {complaint.check for complaint in verify(Lake(lake)).complaints}


# ------------------------------------------------------------------------------ older catalogs


def test_a_catalog_from_a_backup_is_78_and_the_way_out_works(kafka, broker, topic, lake):
    """A catalog older than the published file replaces nothing; copied back, all goes on."""
    kafka.publish(topic, small_alerts(20))
    drain(broker, lake, topic)
    backup = (lake / "catalog.duckdb").read_bytes()
    kafka.publish(topic, small_alerts(20))
    drain(broker, lake, topic)
    (lake / "catalog.duckdb").write_bytes(backup)
    kafka.publish(topic, small_alerts(20))
    before = tree(lake)
    refused = drain(broker, lake, topic, code=78)
    assert tree(lake) == before
    assert "catalog.duckdb is older" in refused.err
    assert "nothing was touched" in refused.err
    follow(refused.err)
    drain(broker, lake, topic)
    assert check(broker, lake, topic) == 60
    assert complaints(lake) == set()


def test_a_catalog_of_another_lake_is_78_and_the_way_out_works(
    kafka, broker, topic, lake, tmp_path
):
    """A catalog that was copied from another lake does not take this one over."""
    kafka.publish(topic, small_alerts(20))
    drain(broker, lake, topic)
    for _ in range(2):
        drain(broker, tmp_path / "other", topic, group_id="other")
    shutil.copy(tmp_path / "other" / "catalog.duckdb", lake / "catalog.duckdb")
    before = tree(lake)
    refused = drain(broker, lake, topic, code=78)
    assert tree(lake) == before
    assert "of another lake" in refused.err
    follow(refused.err)
    drain(broker, lake, topic)
    assert check(broker, lake, topic) == 20


def test_a_stale_log_beside_a_restored_catalog_is_78_and_the_way_out_works(
    kafka, broker, topic, lake
):
    """A catalog whose log belongs to another moment is refused, and mended as advised."""
    kafka.publish(topic, small_alerts(20))
    drain(broker, lake, topic)
    backup = (lake / "catalog.duckdb").read_bytes()
    kafka.publish(topic, small_alerts(20))
    killed = [Fault("etl.catalog.checkpoint:checkpoint")]
    drain(broker, lake, topic, code=-9, faults=killed)
    (lake / "catalog.duckdb").write_bytes(backup)
    refused = drain(broker, lake, topic, code=78)
    follow(refused.err)
    drain(broker, lake, topic)
    assert check(broker, lake, topic) == 40
    assert complaints(lake) == set()


def test_a_lost_catalog_is_78_before_the_first_file_too(broker, topic, lake):
    """A lake that has read nothing yet, and lost its catalog, does not start over in silence."""
    drain(broker, lake, topic)
    (lake / "catalog.duckdb").unlink()
    refused = drain(broker, lake, topic, code=78)
    follow(refused.err)
    drain(broker, lake, topic)


# --------------------------------------------------------------------- files that nobody lists


def test_files_of_a_newer_catalog_are_65_until_their_alerts_are_read_again(
    kafka, broker, topic, lake
):
    """Both copies of the catalog from a backup: `verify` names the files that they don't know."""
    kafka.publish(topic, small_alerts(20))
    drain(broker, lake, topic)
    backup = (lake / "catalog.duckdb").read_bytes()
    kafka.publish(topic, small_alerts(20))
    drain(broker, lake, topic)
    for name in ("catalog.duckdb", "alerts.duckdb"):
        (lake / name).chmod(0o644)
        (lake / name).write_bytes(backup)
    report = verify(Lake(lake))
    assert report.exit_code == 65
    (told,) = report.complaints
    assert (told.check, told.where.partition(":")[0]) == (
        "unlisted",
        checker.unregistered(lake)[0],
    )
    drain(broker, lake, topic)
    assert check(broker, lake, topic) == 40
    report = verify(Lake(lake))
    assert report.complaints == ()
    assert "in other files" in report.remarks[0]


@pytest.mark.parametrize("kind", ["data", "rejects"])
def test_what_a_killed_run_left_is_no_complaint(kafka, broker, topic, lake, kind):
    """Files of a run that is open, killed or at work, are explained by it: `verify` is 0."""
    kafka.publish(topic, [*small_alerts(20), b"no json"])
    running = start(
        broker, lake, topic, faults=[Fault("etl.lake.land:land", signal=signal.SIGSTOP)]
    )
    wait_until(running.is_stopped, "it has landed its files")
    assert any(path.startswith(kind) for path in checker.unregistered(lake))
    assert verify(Lake(lake)).exit_code == 0
    running.send(signal.SIGKILL)
    running.wait()
    report = verify(Lake(lake))
    assert report.exit_code == 0
    assert "was killed" in report.remarks[0]
    drain(broker, lake, topic)
    assert check(broker, lake, topic) == 20
    assert verify(Lake(lake)).remarks == ()


def test_files_of_other_lakes_and_copies_are_remarks(kafka, broker, topic, lake, tmp_path):
    """Another lake's file, and a copy under another name, are left alone and no complaint."""
    kafka.publish(topic, small_alerts(20))
    drain(broker, lake, topic)
    drain(broker, tmp_path / "other", topic, group_id="other")
    own = next((lake / "data").rglob("*.parquet"))
    shutil.copy(next((tmp_path / "other" / "data").rglob("*.parquet")), own.parent)
    shutil.copy(own, own.parent / "mine.parquet")
    report = verify(Lake(lake))
    assert report.complaints == ()
    assert len(report.remarks) == 2
    assert any("of another lake" in remark for remark in report.remarks)


def test_data_older_than_the_catalog_is_65(kafka, broker, topic, lake, tmp_path):
    """Files that a restored `data/` lacks are named with 65, by `verify` and a drain with news."""
    kafka.publish(topic, small_alerts(20))
    drain(broker, lake, topic)
    shutil.copytree(lake / "data", tmp_path / "backup")
    kafka.publish(topic, small_alerts(20))
    drain(broker, lake, topic)
    shutil.move(lake / "data", tmp_path / "kept")
    shutil.copytree(tmp_path / "backup", lake / "data")
    assert "files" in complaints(lake)
    kafka.publish(topic, small_alerts(20))
    drain(broker, lake, topic, code=65)
    shutil.copytree(tmp_path / "kept", lake / "data", dirs_exist_ok=True)
    drain(broker, lake, topic)
    assert check(broker, lake, topic) == 60


# ------------------------------------------------------------------------- copied under a drain

MOMENTS = [
    ("etl.catalog.runs:open_run", 1),
    ("etl.lake.land:land", 1),
    ("etl.catalog.checkpoint:checkpoint", 1),
    ("etl.catalog.publication:publish_copy", 2),
    ("etl.catalog.checkpoint:checkpoint", 2),
    ("etl.lake.land:land", 3),
]


@pytest.mark.parametrize(
    "first",
    [["data", "catalog.duckdb"], ["alerts.duckdb"], []],
    ids=str,
)
@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_lake_copied_in_the_middle_of_a_drain(kafka, broker, topic, lake, tmp_path, first):
    """`cp -r` under a drain is exact, or refused with a way out that works, wherever it fell.

    What is `first` is copied at one moment, all the rest at the next one.
    """
    kafka.publish(topic, small_alerts(40))
    drain(broker, lake, topic)
    kafka.publish(topic, small_alerts(80))
    faults = [Fault(target, "after", call, signal.SIGSTOP) for target, call in MOMENTS]
    running = start(broker, lake, topic, faults=faults, tuning=SMALL_STEPS)
    copies: list[Path] = []
    for number, _ in enumerate(MOMENTS):
        wait_until(running.is_stopped, f"moment {number}")
        for copy in copies[-1:]:
            copy_parts(lake, copy, [p.name for p in lake.iterdir() if p.name not in first])
        copies.append(tmp_path / f"copy{number}")
        copies[-1].mkdir()
        copy_parts(lake, copies[-1], first)
        running.send(signal.SIGCONT)
        wait_until(lambda: not running.is_stopped(), "it goes on")
    finished = running.wait()
    assert finished.code == 0, str(finished)
    copy_parts(lake, copies[-1], [p.name for p in lake.iterdir() if p.name not in first])
    for copy in copies:
        ended = drain(broker, copy, topic, code=None)
        if ended.code == 78:
            follow(ended.err)
            ended = drain(broker, copy, topic, code=None)
        if ended.code == 65:  # files are newer than the copy of data/: they are named
            assert "put it back" in ended.output
            copy_parts(lake, copy, ["data"])
            ended = drain(broker, copy, topic, code=None)
        assert ended.code == 0, f"{copy.name}: {ended}"
        assert check(broker, copy, topic) == 120
        assert complaints(copy) == set()


def copy_parts(lake, copy, names):
    """Copy so much of a lake as is there, as `cp -r` does."""
    for name in names:
        if (lake / name).is_dir():
            shutil.copytree(lake / name, copy / name, dirs_exist_ok=True)
        elif (lake / name).exists():
            shutil.copy(lake / name, copy / name)


def test_a_published_file_of_before_generations_is_replaced(kafka, broker, topic, lake):
    """A lake whose published file knows no generation is accepted."""
    kafka.publish(topic, small_alerts(20))
    drain(broker, lake, topic)
    os.chmod(lake / "alerts.duckdb", 0o644)  # noqa: PTH101 - as a user would
    with duckdb.connect(str(lake / "alerts.duckdb")) as public:
        public.execute("ALTER TABLE etl.lake DROP COLUMN generation")
    drain(broker, lake, topic)
    assert check(broker, lake, topic) == 20
