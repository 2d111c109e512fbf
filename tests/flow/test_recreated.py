"""A topic deleted and recreated between runs, as Lasair does each time a filter is saved.

The old alerts stay, and all new ones arrive under the topic's next incarnation. No consumer is
alive while a topic is recreated: every drain is a process that has ended by then.
"""

from pathlib import Path

import duckdb
import pytest

from tests.flow import checker
from tests.flow.alerts import small_alerts
from tests.flow.drains import Fault, drain
from tests.sampling import one_in

BEFORE = 24
WAITED_OUT_S = 120
AFTER = {"fewer": 10, "the same number": BEFORE, "more": 40, "none": 0}


def forget_topic_ids(lake: Path) -> None:
    """Make the catalog one that was written beside a broker without topic ids."""
    with duckdb.connect(str(lake / "catalog.duckdb")) as catalog:
        catalog.execute("UPDATE etl.topics SET topic_id = NULL")


def incarnations_of(lake: Path, topic: str) -> list[int]:
    """List the incarnations of a topic that have rows."""
    with duckdb.connect(str(lake / "alerts.duckdb"), read_only=True) as public:
        rows = public.execute(f'SELECT DISTINCT etl_incarnation FROM "{topic}" ORDER BY 1')
        return [incarnation for (incarnation,) in rows.fetchall()]


@pytest.mark.parametrize("ids", ["with ids", "without ids"])
@pytest.mark.parametrize("after", one_in(2, AFTER))
def test_recreated_topic_arrives_whole_as_the_next_incarnation(
    kafka, broker, topic, lake, after, ids
):
    """All that a recreated topic holds arrives as its next incarnation; the old one stays."""
    kafka.publish(topic, small_alerts(BEFORE))
    first = checker.read_topic(broker, topic)
    drain(broker, lake, topic)
    if ids == "without ids":
        forget_topic_ids(lake)
    kafka.recreate(topic)
    kafka.publish(topic, small_alerts(AFTER[after]))
    finished = drain(broker, lake, topic)
    second = checker.read_topic(broker, topic)
    found = checker.check(lake, {(topic, 1): first, (topic, 2): second})
    assert found.alerts == BEFORE + AFTER[after]
    assert f"{topic}: recreated; reading incarnation 2" in finished.closing["notes"]


@pytest.mark.parametrize("ids", one_in(2, ["with ids", "without ids"]))
def test_recreated_topic_with_an_old_offset_in_the_group_arrives_whole(
    kafka, broker, topic, lake, ids
):
    """A group offset left from the old incarnation skips nothing of the new one."""
    kafka.publish(topic, small_alerts(80))
    first = checker.read_topic(broker, topic)
    drain(broker, lake, topic, group_id="steady")
    if ids == "without ids":
        forget_topic_ids(lake)
    kafka.recreate(topic)
    kafka.publish(topic, small_alerts(160))
    kafka.commit("steady", {(topic, p): 10 for p in range(8)})
    drain(broker, lake, topic, group_id="steady")
    again = drain(broker, lake, topic, group_id="steady")
    assert again.closing["figures"]["alerts"] == 0
    assert again.closing["notes"] == []
    second = checker.read_topic(broker, topic)
    assert checker.check(lake, {(topic, 1): first, (topic, 2): second}).alerts == 240


@pytest.mark.parametrize("ids", one_in(2, ["without ids", "with ids"]))
def test_recreated_topic_with_fewer_partitions_arrives_whole(kafka, broker, topic, lake, ids):
    """A topic that comes back with fewer partitions is a new incarnation like any other."""
    kafka.publish(topic, [None] * 7 + small_alerts(1))
    first = checker.read_topic(broker, topic)
    drain(broker, lake, topic)
    if ids == "without ids":
        forget_topic_ids(lake)
    kafka.recreate(topic, partitions=2)
    kafka.publish(topic, small_alerts(10), partitions=2)
    finished = drain(broker, lake, topic, connect_timeout=WAITED_OUT_S)
    second = checker.read_topic(broker, topic)
    assert checker.check(lake, {(topic, 1): first, (topic, 2): second}).alerts == 11
    assert finished.seconds < WAITED_OUT_S, "it waited for the partitions that are gone"


def test_topic_recreated_many_times_keeps_every_incarnation(kafka, broker, topic, lake):
    """Each incarnation of a topic is kept, also where it was recreated twice between two runs."""
    logs = {}
    for incarnation, recreations in enumerate((0, 1, 2), 1):
        for _ in range(recreations):
            kafka.recreate(topic)
        kafka.publish(topic, small_alerts(10))
        drain(broker, lake, topic)
        logs[topic, incarnation] = checker.read_topic(broker, topic)
    assert checker.check(lake, logs).alerts == 30
    assert incarnations_of(lake, topic) == [1, 2, 3]


def test_topic_that_is_the_same_goes_on_where_the_broker_gives_no_ids(kafka, broker, topic, lake):
    """Without topic ids, a topic that was not recreated is known by its last stored record."""
    kafka.publish(topic, small_alerts(BEFORE))
    drain(broker, lake, topic)
    forget_topic_ids(lake)
    kafka.publish(topic, small_alerts(10))
    finished = drain(broker, lake, topic)
    log = checker.read_topic(broker, topic)
    assert checker.check(lake, {(topic, 1): log}).alerts == BEFORE + 10
    assert finished.closing["notes"] == []


def test_recreated_before_the_first_incarnation_had_an_alert(kafka, broker, topic, lake):
    """A topic that was empty when it was met and then recreated is read from its beginning."""
    drain(broker, lake, topic)
    kafka.recreate(topic)
    kafka.publish(topic, small_alerts(10))
    drain(broker, lake, topic)
    log = checker.read_topic(broker, topic)
    assert checker.check(lake, {(topic, 2): log}).alerts == 10


def test_deleted_topic_keeps_its_alerts(kafka, broker, topic, lake):
    """A topic that is gone from the broker is no error, and what is stored of it stays."""
    kafka.publish(topic, small_alerts(BEFORE))
    log = checker.read_topic(broker, topic)
    drain(broker, lake, topic)
    kafka.delete(topic)
    finished = drain(broker, lake, topic)
    assert "no such topic yet" in finished.output
    assert checker.check(lake, {(topic, 1): log}).alerts == BEFORE


def test_killed_in_the_first_run_of_a_new_incarnation_needs_no_help(kafka, broker, topic, lake):
    """The next run does the work of one that was killed before it registered anything."""
    kafka.publish(topic, small_alerts(BEFORE))
    first = checker.read_topic(broker, topic)
    drain(broker, lake, topic)
    kafka.recreate(topic)
    kafka.publish(topic, small_alerts(10))
    drain(
        broker, lake, topic, code=-9, faults=[Fault("etl.catalog.checkpoint:checkpoint", "before")]
    )
    drain(broker, lake, topic)
    second = checker.read_topic(broker, topic)
    assert checker.check(lake, {(topic, 1): first, (topic, 2): second}).alerts == BEFORE + 10
