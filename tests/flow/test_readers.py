"""Invariant 5: readers never block the writer, nor the writer readers; each sees one snapshot."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from etl.demo.alerts import alerts
from tests.flow import checker
from tests.flow.alerts import small_alerts
from tests.flow.drains import ROOT, SMALL_STEPS, Fault, clean_environment, drain, start, wait_until
from tests.flow.readers import notebook, reading
from tests.sampling import one_in

OLDER_DUCKDB = ROOT / ".compat" / "duckdb-1.5.6"
NOBODY = 65534


@pytest.fixture
def shared_lake():
    """Return the path of a lake that other users can reach, which pytest's own folders are not."""
    with tempfile.TemporaryDirectory(prefix="lake-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "lake"


def check(broker, lake, topic):
    """Check one topic in its first incarnation."""
    return checker.check(lake, {(topic, 1): checker.read_topic(broker, topic)})


@pytest.mark.parametrize("attached", one_in(2, [False, True]))
def test_notebook_open_through_many_drains_keeps_its_snapshot_then_sees_the_new_one(
    kafka, broker, topic, lake, attached
):
    """A reader that stays open blocks no drain, and its snapshot changes only when it asks."""
    kafka.publish(topic, small_alerts(10))
    drain(broker, lake, topic)
    name = f'lake."{topic}"' if attached else f'"{topic}"'
    with notebook(lake, attached=attached) as held:
        for _ in range(3):
            kafka.publish(topic, small_alerts(10))
            drain(broker, lake, topic)
            assert held.ask(f"SELECT count(*), count(DISTINCT diaObjectId) FROM {name}") == [
                (10, 10)
            ]
            assert held.ask(f"SELECT count(*) FROM {'lake.' if attached else ''}etl.runs") == [(1,)]
        if attached:
            held.ask("DETACH lake")
            held.ask(f"ATTACH '{lake / 'alerts.duckdb'}' AS lake (READ_ONLY)")
            assert held.ask(f"SELECT count(*) FROM {name}") == [(40,)]
    with notebook(lake) as fresh:
        assert fresh.ask(f'SELECT count(*) FROM "{topic}"') == [(40,)]
    assert check(broker, lake, topic).alerts == 40


@pytest.mark.parametrize(
    "fault",
    one_in(
        2,
        [
            Fault("etl.lake.land:land", signal=signal.SIGSTOP),
            Fault(
                "etl.catalog.database:Catalog.write",
                signal=signal.SIGSTOP,
                argument="register/insert_gap",
            ),
            Fault("etl.catalog.checkpoint:checkpoint", signal=signal.SIGSTOP),
            Fault("etl.catalog.publication:os.fchmod", signal=signal.SIGSTOP),
        ],
    ),
    ids=str,
)
def test_run_that_stands_still_anywhere_blocks_no_reader(kafka, broker, topic, lake, fault):
    """While a run is at work, wherever it is, readers see all that was there before."""
    kafka.publish(topic, small_alerts(10))
    drain(broker, lake, topic)
    kafka.publish(topic, small_alerts(10))
    running = start(broker, lake, topic, faults=[fault])
    wait_until(running.is_stopped, f"the run stands still {fault}")
    with notebook(lake) as reader:
        counts = reader.ask(f'SELECT count(*) FROM "{topic}"')[0][0]
        assert counts == reader.ask("SELECT sum(alerts)::BIGINT FROM etl.spans")[0][0]
        assert counts in (10, 20)
        running.send(signal.SIGCONT)
        assert running.wait().code == 0
        assert reader.ask(f'SELECT count(*) FROM "{topic}"') == [(counts,)]
    assert check(broker, lake, topic).alerts == 20


def test_two_drains_at_once_the_second_names_the_first(kafka, broker, topic, lake):
    """A second run on the same lake is "try later", naming the process; nothing is doubled."""
    kafka.publish(topic, small_alerts(80))
    pause = Fault("etl.lake.land:land", signal=signal.SIGSTOP)
    running = start(broker, lake, topic, faults=[pause])
    wait_until(running.is_stopped, "the first run stands still")
    second = drain(broker, lake, topic, code=75)
    assert f"process {running.pid}" in second.err
    assert "Traceback" not in second.output
    running.send(signal.SIGCONT)
    assert running.wait().code == 0
    drain(broker, lake, topic)
    assert check(broker, lake, topic).alerts == 80


def test_many_drains_at_once_double_nothing(kafka, broker, topic, lake):
    """Runs that start together end with 0 or 75, and each alert is there once."""
    kafka.publish(topic, small_alerts(80))
    running = [start(broker, lake, topic, group_id=f"group-{n}") for n in range(4)]
    codes = [each.wait().code for each in running]
    assert 0 in codes
    assert set(codes) <= {0, 75}
    assert check(broker, lake, topic).alerts == 80


def test_lock_that_was_deleted_lets_no_second_writer_in(kafka, broker, topic, lake):
    """Deleting the lock file does not help: the catalog itself takes one writer at a time."""
    kafka.publish(topic, small_alerts(80))
    running = start(
        broker, lake, topic, faults=[Fault("etl.lake.land:land", signal=signal.SIGSTOP)]
    )
    wait_until(running.is_stopped, "the first run stands still")
    (lake / ".lock").unlink()
    drain(broker, lake, topic, code=75)
    running.send(signal.SIGCONT)
    assert running.wait().code == 0
    assert check(broker, lake, topic).alerts == 80


def test_run_whose_catalog_was_replaced_under_it_registers_nothing_twice(
    kafka, broker, topic, lake
):
    """Offsets that are not where a run found them stop it with 75 before it registers anything.

    Someone deletes the lock and puts a copy of the catalog in its place while a run is at work.
    """
    kafka.publish(topic, small_alerts(200))
    pause = Fault("etl.catalog.publication:publish_copy", call=3, signal=signal.SIGSTOP)
    running = start(broker, lake, topic, faults=[pause], tuning=SMALL_STEPS)
    wait_until(running.is_stopped, "the first run stands still")
    (lake / ".lock").unlink()
    shutil.copy(lake / "catalog.duckdb", lake / "copy")
    (lake / "copy").rename(lake / "catalog.duckdb")
    drain(broker, lake, topic)
    running.send(signal.SIGCONT)
    finished = running.wait()
    assert finished.code == 75, str(finished)
    assert "another writer has been here" in finished.err
    drain(broker, lake, topic)
    assert check(broker, lake, topic).alerts == 200


def test_killed_run_leaves_no_lock(kafka, broker, topic, lake):
    """The lock falls with its process, however that ended."""
    kafka.publish(topic, small_alerts(8))
    drain(broker, lake, topic, code=-9, faults=[Fault("etl.lake.land:land")])
    assert drain(broker, lake, topic).closing["figures"]["alerts"] == 8


def test_published_file_is_read_only_and_whole(kafka, broker, topic, lake):
    """The published file has mode 0444, no log beside it, and no temporary file is left."""
    kafka.publish(topic, small_alerts(8))
    drain(broker, lake, topic)
    assert stat.S_IMODE((lake / "alerts.duckdb").stat().st_mode) == 0o444
    names = {path.name for path in lake.iterdir()}
    assert names == {"data", "catalog.duckdb", "alerts.duckdb", ".lock"}


def test_ordinary_user_reads_but_cannot_write_the_published_file(kafka, broker, topic, shared_lake):
    """Whoever is not root can open the published file for reading only."""
    kafka.publish(topic, small_alerts(8))
    drain(broker, shared_lake, topic)
    uid = NOBODY if os.geteuid() == 0 else None
    with notebook(shared_lake, uid=uid) as reader:
        assert reader.ask(f'SELECT count(*) FROM "{topic}"') == [(8,)]
    with (
        pytest.raises(duckdb.Error, match="Permission denied"),
        notebook(shared_lake, read_only=False, uid=uid),
    ):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can open a file of mode 0444 for writing")
@pytest.mark.parametrize("new", one_in(2, [0, 10]))
@pytest.mark.parametrize("leaves", one_in(2, ["killed", "closed", "stays"]))
def test_what_root_wrote_into_the_published_file_is_healed(kafka, broker, topic, lake, leaves, new):
    """Root's changes, and the log they leave, are gone after the next drain, new alerts or not."""
    kafka.publish(topic, small_alerts(10))
    drain(broker, lake, topic)
    with notebook(lake, read_only=False) as root:
        root.ask("CREATE TABLE mine AS SELECT 42 AS answer")
        assert (lake / "alerts.duckdb.wal").exists()
        if leaves == "closed":
            root.ask("CHECKPOINT")
            root.close()
        elif leaves == "killed":
            root.kill()
        kafka.publish(topic, small_alerts(new))
        drain(broker, lake, topic)
        assert not (lake / "alerts.duckdb.wal").exists()
        with notebook(lake) as reader:
            assert reader.ask(f'SELECT count(*) FROM "{topic}"') == [(10 + new,)]
            assert reader.ask("SELECT * FROM duckdb_tables() WHERE table_name = 'mine'") == []
    drain(broker, lake, topic)
    with notebook(lake) as reader:
        assert reader.ask(f'SELECT count(*) FROM "{topic}"') == [(10 + new,)]
    assert check(broker, lake, topic).alerts == 10 + new


def test_readers_that_reopen_and_attach_see_counts_only_grow(kafka, broker, topic, lake):
    """Through many checkpoints, no reader sees an error, a count going down or half a step."""
    with reading(lake, ("reopening", "attaching"), pause_s=0.1) as seen:
        for _ in range(2):
            kafka.publish(topic, small_alerts(160))
            drain(broker, lake, topic, tuning=SMALL_STEPS)
    assert all(each.looks >= 5 for each in seen)
    assert all(each.counts[topic] == 320 for each in seen)
    assert check(broker, lake, topic).alerts == 320


QUESTIONS = """
import json, sys, duckdb
public, topics = sys.argv[1], sys.argv[2:]
with duckdb.connect(public, read_only=True) as connection:
    connection.execute("SET enable_progress_bar = false")
    answers = [duckdb.__version__]
    for sql in [
        *(f'SELECT * FROM "{t}" ORDER BY kafka_partition, kafka_offset' for t in topics),
        *(f'DESCRIBE "{t}"' for t in topics),
        "SELECT * FROM alerts ORDER BY kafka_topic, kafka_partition, kafka_offset",
        "DESCRIBE alerts",
        "SELECT kafka_topic, night, count(*), sum(ra), max(UTC) FROM alerts GROUP BY ALL "
        "ORDER BY ALL",
        "SELECT count(*) FROM alerts WHERE diaObjectId = (SELECT max(diaObjectId) FROM alerts)",
        f'SELECT unnest(alert.diaSourcesList, recursive := true) FROM "{topics[1]}" '
        "ORDER BY ALL LIMIT 50",
        "SELECT * FROM etl.rejects ORDER BY ALL",
        *(f"SELECT * FROM etl.{t} ORDER BY ALL" for t in
          ("topics", "offsets", "spans", "files", "columns", "gaps", "runs")),
        "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE comment IS NOT NULL "
        "ORDER BY ALL",
    ]:
        rows = connection.execute(sql).fetchall()
        answers.append([sql, [[repr(value) for value in row] for row in rows]])
print(json.dumps(answers))
"""


def _answers(public: Path, topics: list[str], path: str) -> list[Any]:
    asked = subprocess.run(
        [sys.executable, "-c", QUESTIONS, str(public), *topics],
        env={**clean_environment(), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    answers: list[Any] = json.loads(asked.stdout)
    return answers


def test_older_and_newer_duckdb_read_the_same(kafka, broker, new_topic, lake):
    """DuckDB 1.5.6 and the current one give the same answers on the published file."""
    if not OLDER_DUCKDB.is_dir():
        pytest.skip(f"no {OLDER_DUCKDB}: make test puts DuckDB 1.5.6 there")
    now = datetime(2026, 3, 1, tzinfo=UTC)
    topics = [new_topic() for _ in range(3)]
    for topic, kind in zip(topics, ("plain", "lite", "full"), strict=True):
        kafka.publish(topic, [*alerts(kind, 12, now=now), b"no json"])
    drain(broker, lake, *topics, code=None)
    kafka.publish(topics[0], [b'{"diaObjectId": 313637935709683761, "new": [1.5], "ra": "odd"}'])
    drain(broker, lake, *topics, code=None)
    new = _answers(lake / "alerts.duckdb", topics, "")
    old = _answers(lake / "alerts.duckdb", topics, str(OLDER_DUCKDB))
    assert old[0] == "1.5.6"
    assert new[0] == duckdb.__version__
    assert len(new) == len(old)
    for mine, theirs in zip(new[1:], old[1:], strict=True):
        assert mine == theirs


def test_copy_of_the_lake_elsewhere_is_as_good(kafka, broker, topic, lake, tmp_path):
    """A copied lake goes on by itself after its next drain, and the original does too."""
    kafka.publish(topic, small_alerts(10))
    drain(broker, lake, topic)
    other = tmp_path / "other"
    shutil.copytree(lake, other)
    kafka.publish(topic, small_alerts(10))
    drain(broker, other, topic)
    assert check(broker, other, topic).alerts == 20
    drain(broker, lake, topic)
    assert check(broker, lake, topic).alerts == 20
