"""Invariants 1, 4 and 6: kill a run anywhere, then run again, and nothing shows that it happened.

Every drain here goes through many small batches and checkpoints. The kill is a real SIGKILL that
the process sends itself before or after its n-th call of one real function, or that comes from
outside at a random moment; readers query the published file all the while.
"""

import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from tests.flow import checker
from tests.flow.alerts import small_alerts
from tests.flow.brokers import free_port
from tests.flow.drains import SMALL_STEPS, Fault, drain, start, wait_until
from tests.flow.readers import reading
from tests.sampling import one_in

STAGES = {
    "lock taken": Fault("etl.lake.layout:check_catalog", "before"),
    "catalog made, not migrated": Fault("etl.catalog.database:Catalog.transaction", "before"),
    "catalog migrated in part": Fault("etl.catalog.database:Catalog.transaction", "before", 2),
    "catalog migrated": Fault("etl.catalog.database:Catalog.open"),
    "first publish, before any run": Fault("etl.catalog.publication:publish_copy"),
    "run recorded as open": Fault("etl.catalog.runs:open_run"),
    "run published as open": Fault("etl.catalog.publication:publish_copy", call=2),
    "planned": Fault("etl.kafka.plan:plan_topics"),
    "assigned": Fault("etl.kafka.client:Client.start"),
    "before the first file": Fault("etl.lake.land:land", "before"),
    "a file half written": Fault("etl.lake.parquet:pq.ParquetWriter.close", "before", 2),
    "a file written under its temporary name": Fault("pathlib:Path.replace", "before", 6),
    "a file renamed, its folder not synced": Fault("etl.lake.local:sync_folder", "before", 7),
    "landed, nothing registered": Fault("etl.lake.land:land"),
    "landed a second batch": Fault("etl.lake.land:land", call=2),
    "before the first transaction": Fault("etl.catalog.checkpoint:checkpoint", "before"),
    "before a later transaction": Fault("etl.catalog.checkpoint:checkpoint", "before", 2),
    "inside a transaction, files inserted": Fault(
        "etl.catalog.database:Catalog.write", call=2, argument="register/insert_gap"
    ),
    "inside a transaction, offsets advanced": Fault("etl.catalog.define:define_views", "before", 3),
    "inside a transaction, views redefined": Fault("etl.catalog.define:define_views", call=3),
    "committed, not published": Fault("etl.catalog.checkpoint:checkpoint", call=2),
    "committed and closed, not copied": Fault("etl.catalog.publication:publish_copy", "before", 4),
    "copied, not replaced": Fault("etl.catalog.publication:os.fchmod", call=4),
    "published, stale log not unlinked": Fault("pathlib:Path.replace", call=7),
    "published, not reopened": Fault("etl.catalog.publication:publish_copy", call=4),
    "published, before the group commit": Fault("etl.kafka.mirror:Mirror.commit", "before", 2),
    "after the group commit": Fault("etl.kafka.mirror:Mirror.commit", call=2),
    "before the last checkpoint": Fault("etl.jobs.drain:Run.finish", "before"),
    "after the last checkpoint": Fault("etl.jobs.drain:Run.finish"),
}


@pytest.mark.parametrize("stage", one_in(5, STAGES))
def test_kill_at_a_stage_boundary_loses_and_doubles_nothing(kafka, broker, topic, lake, stage):
    """A run killed at this point leaves nothing that the next run needs help with."""
    kafka.publish(topic, small_alerts(120))
    with reading(lake):
        killed = start(broker, lake, topic, faults=[STAGES[stage]], tuning=SMALL_STEPS).wait()
        assert killed.code == -signal.SIGKILL, f"it was never there: {stage}\n{killed}"
        for path in lake.glob("*/*/*/[!.]*.parquet"):
            pq.read_metadata(path)  # what has its final name is complete
        drain(broker, lake, topic)
    found = checker.check(lake, {(topic, 1): checker.read_topic(broker, topic)})
    assert found.alerts == 120
    assert checker.unregistered(lake) == []
    assert {run["state"] for run in checker.read_catalog(lake).runs} <= {"done", "failed"}
    assert not list(lake.glob(".alerts*"))


TIDYING = {
    "half swept": Fault("pathlib:Path.unlink", call=1),
    "swept, not recorded": Fault("etl.lake.local:sweep"),
    "tidied up, not published": Fault("etl.catalog.runs:close_killed_runs"),
}


@pytest.mark.parametrize("stage", one_in(3, TIDYING))
def test_kill_while_tidying_up_after_a_kill_needs_no_help(kafka, broker, topic, lake, stage):
    """A run killed while it tidies up after a killed run leaves that to the third."""
    kafka.publish(topic, small_alerts(120))
    first = Fault("etl.lake.land:land", call=3)
    tuning = SMALL_STEPS | {"etl.jobs.drain:CHECKPOINT_S": 60.0}
    with reading(lake):
        for fault in (first, TIDYING[stage]):
            killed = start(broker, lake, topic, faults=[fault], tuning=tuning).wait()
            assert killed.code == -signal.SIGKILL, f"it was never there: {fault}\n{killed}"
        drain(broker, lake, topic)
    assert checker.check(lake, {(topic, 1): checker.read_topic(broker, topic)}).alerts == 120
    assert checker.unregistered(lake) == []


@pytest.mark.parametrize(
    "fault",
    one_in(
        3,
        [
            Fault("etl.kafka.mirror:Mirror.commit", "before"),
            Fault("etl.catalog.checkpoint:checkpoint", "before"),
            Fault("etl.catalog.checkpoint:checkpoint"),
        ],
    ),
    ids=str,
)
def test_group_is_never_ahead_of_the_lake(kafka, broker, topic, lake, fault):
    """A run killed in its only checkpoint has committed nothing to the group before the lake.

    The group counts where the lake meets a topic first: an offset too early would lose alerts.
    """
    kafka.publish(topic, small_alerts(40))
    drain(broker, lake, topic, code=-signal.SIGKILL, faults=[fault], group_id="behind")
    assert kafka.committed("behind", topic) == {}
    drain(broker, lake, topic, group_id="behind")
    assert checker.check(lake, {(topic, 1): checker.read_topic(broker, topic)}).alerts == 40


def test_run_that_finds_the_broker_down_still_tidies_up_after_a_kill(kafka, broker, topic, lake):
    """What a killed run had committed is published by the next one, even if that reads nothing."""
    kafka.publish(topic, small_alerts(40))
    killed = [Fault("etl.catalog.checkpoint:checkpoint")]
    drain(broker, lake, topic, code=-signal.SIGKILL, faults=killed)
    (lake / "alerts.duckdb.wal").write_bytes(b"left by someone")
    drain(f"127.0.0.1:{free_port()}", lake, topic, code=75, connect_timeout=1)
    assert not (lake / "alerts.duckdb.wal").exists()
    assert checker.check(lake, {(topic, 1): checker.read_topic(broker, topic)}).alerts == 40


@pytest.mark.soak
def test_kill_at_random_moments_while_readers_query(kafka, broker, topic, lake):
    """Runs killed at any moment, alerts arriving all the while, end in each alert exactly once."""
    seed = random.SystemRandom().randrange(10**6)
    chance = random.Random(seed)
    kafka.publish(topic, small_alerts(160))
    whole_s = drain(broker, lake, topic, tuning=SMALL_STEPS).seconds
    runs = kills = 0
    with reading(lake, ("reopening", "attaching"), pause_s=0.1) as seen:
        while runs < 8 or (kills < 4 and runs < 40):
            runs += 1
            kafka.publish(topic, small_alerts(160))
            running = start(broker, lake, topic, tuning=SMALL_STEPS)
            time.sleep(chance.uniform(0.05, whole_s))
            running.process.kill()
            finished = running.wait()
            if finished.code == -signal.SIGKILL:
                kills += 1
            else:  # the machine has become quicker
                whole_s /= 2
        drain(broker, lake, topic)
    found = checker.check(lake, {(topic, 1): checker.read_topic(broker, topic)})
    assert found.alerts == (1 + runs) * 160, f"seed {seed}"
    assert kills >= 4, f"seed {seed}: only {kills} runs were still there to be killed"
    assert all(each.looks > 10 for each in seen)
    assert checker.unregistered(lake) == []


def test_what_has_arrived_is_seen_while_a_run_waits_for_more(kafka, broker, topic, lake):
    """A run that waits long for the next alert registers those that it has at each interval."""
    kafka.publish(topic, small_alerts(20))
    running = start(
        broker, lake, topic, poll_timeout=600, tuning={"etl.jobs.drain:CHECKPOINT_S": 0.5}
    )
    wait_until(lambda: visible(lake, topic) == 20, "20 alerts are seen")
    kafka.publish(topic, small_alerts(25))
    wait_until(lambda: visible(lake, topic) == 45, "25 more are seen")
    running.send(signal.SIGTERM)
    assert running.wait().code == 75


def visible(lake: Path, topic: str) -> int:
    """Count what readers see now."""
    try:
        return checker.read_catalog(lake).counts.get(topic, 0)
    except (duckdb.Error, OSError):  # not published yet
        return 0


STOPS = [[signal.SIGTERM], [signal.SIGINT], [signal.SIGHUP, signal.SIGHUP]]


@pytest.mark.parametrize("numbers", one_in(2, STOPS))
def test_a_request_to_stop_stores_what_has_arrived(kafka, broker, topic, lake, numbers):
    """A signal ends a run soon, with 75, all that it read stored, and none open.

    A terminal that closes sends two: its shell's SIGHUP, and the system's.
    """
    kafka.publish(topic, small_alerts(80))
    running = start(broker, lake, topic, poll_timeout=600)
    wait_until((lake / "alerts.duckdb").exists, "the first publish")
    time.sleep(0.4)
    for number in numbers:
        with suppress(ProcessLookupError):
            running.send(number)
        time.sleep(0.05)
    finished = running.wait()
    assert finished.code == 75, str(finished)
    assert "Traceback" not in finished.output
    stored = checker.read_catalog(lake).counts[topic]
    log = checker.read_topic(broker, topic)
    checker.check(lake, {(topic, 1): log}, unread=80 - stored)
    drain(broker, lake, topic)
    assert checker.check(lake, {(topic, 1): log}).alerts == 80
