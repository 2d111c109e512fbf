"""Where a run starts, where a bound stops it, and that the next one goes on exactly there."""

import json
import signal
from datetime import datetime, timedelta

import duckdb
import pytest

from tests.flow import checker
from tests.flow.alerts import small_alerts
from tests.flow.drains import Fault, command, drain, start, wait_until


def check(broker, lake, topic, **options):
    """Check one topic in its first incarnation."""
    return checker.check(lake, {(topic, 1): checker.read_topic(broker, topic)}, **options)


def test_each_run_brings_what_is_new_and_nothing_else(kafka, broker, topic, lake):
    """Hourly runs with one group id bring each alert once; one with nothing new brings none."""
    for size in (30, 7, 0, 1):
        kafka.publish(topic, small_alerts(size))
        assert drain(broker, lake, topic).closing["figures"]["alerts"] == size
    assert check(broker, lake, topic).alerts == 38


def test_new_group_id_on_the_same_lake_adds_nothing_twice(kafka, broker, topic, lake):
    """Invariant 3: the catalog says where to resume, whatever the group is called."""
    kafka.publish(topic, small_alerts(30))
    drain(broker, lake, topic, group_id="one")
    kafka.publish(topic, small_alerts(10))
    finished = drain(broker, lake, topic, group_id="another")
    assert finished.closing["figures"]["alerts"] == 10
    assert check(broker, lake, topic).alerts == 40


def test_offsets_moved_by_another_program_change_nothing(kafka, broker, topic, lake):
    """Invariant 3: offsets of the group that another program moved are not followed, but told."""
    kafka.publish(topic, small_alerts(80))
    drain(broker, lake, topic)
    kafka.commit("flow-tests", {(topic, p): 2 if p % 2 else 1000 for p in (1, 2)})
    kafka.publish(topic, small_alerts(16))
    finished = drain(broker, lake, topic)
    assert finished.closing["figures"]["alerts"] == 16
    (note,) = finished.closing["notes"]
    assert "the group flow-tests is not where the lake is" in note
    assert f"{topic}[1] at 2, stored up to 10, {topic}[2] at 1000, stored up to 10" in note
    assert check(broker, lake, topic).alerts == 96
    assert drain(broker, lake, topic).closing["notes"] == []


def test_a_clock_that_went_back_is_told_once_and_changes_nothing(kafka, broker, topic, lake):
    """After a run by a clock ten years ahead, the next one says so, and is the last run."""
    kafka.publish(topic, small_alerts(8))
    drain(broker, lake, topic)
    with duckdb.connect(str(lake / "catalog.duckdb")) as catalog:
        for column in ("started_at", "ended_at"):
            catalog.execute(f"UPDATE etl.runs SET {column} = {column} + INTERVAL 10 YEAR")
        catalog.execute("UPDATE etl.topics SET last_seen = last_seen + INTERVAL 10 YEAR")
    kafka.publish(topic, small_alerts(8))
    (note,) = drain(broker, lake, topic).closing["notes"]
    assert note.startswith("the clock went back: it is ")
    assert drain(broker, lake, topic).closing["notes"] == []
    with duckdb.connect(str(lake / "alerts.duckdb"), read_only=True) as public:
        began = public.execute("SELECT started_at FROM etl.runs ORDER BY number").fetchall()
    assert began[0] > began[2] > began[1]
    told = command("status", "--json", "--lake", str(lake)).wait()
    assert json.loads(told.out)["last_run"]["started_at"] == began[2][0].isoformat()
    assert command("verify", "--lake", str(lake)).wait().code == 0
    assert check(broker, lake, topic).alerts == 16


def test_mirror_that_fell_behind_catches_up_without_new_alerts(kafka, broker, topic, lake):
    """A run that was killed between publishing and its group commit leaves that to the next."""
    kafka.publish(topic, small_alerts(80))
    fault = Fault("etl.kafka.mirror:Mirror.commit", "before")
    assert start(broker, lake, topic, faults=[fault]).wait().code == -signal.SIGKILL
    assert kafka.committed("flow-tests", topic) == {}
    assert drain(broker, lake, topic).closing["notes"] == []
    assert kafka.committed("flow-tests", topic) == dict.fromkeys(range(8), 10)


def test_first_meeting_starts_at_the_groups_offsets_and_says_so(kafka, broker, topic, lake):
    """Where the lake meets a topic first, the group's committed offsets count, and that is said."""
    kafka.publish(topic, small_alerts(80))
    kafka.commit("from-lasairs-sample", {(topic, p): 4 for p in (0, 1, 2)})
    finished = drain(broker, lake, topic, group_id="from-lasairs-sample")
    (note,) = finished.closing["notes"]
    assert note.startswith(f"{topic}: first drain into this lake")
    assert note.endswith("[0] at 4, [1] at 4, [2] at 4")
    log = checker.read_topic(broker, topic)
    read = {(p, offset): message for (p, offset), message in log.items() if p > 2 or offset >= 4}
    assert checker.check(lake, {(topic, 1): read}).alerts == 80 - 12


def test_first_meeting_with_a_group_offset_beyond_the_end_loses_nothing(kafka, broker, topic, lake):
    """An offset of the group that lies beyond the end of the topic is left aside, and that is said.

    It is what a topic that was recreated before the lake met it leaves behind.
    """
    kafka.publish(topic, small_alerts(16))
    kafka.commit("old", {(topic, p): 50 for p in range(8)})
    finished = drain(broker, lake, topic, group_id="old")
    assert "beyond the end" in finished.output
    assert check(broker, lake, topic).alerts == 16
    kafka.publish(topic, small_alerts(16))
    drain(broker, lake, topic, group_id="old")
    assert check(broker, lake, topic).alerts == 32


def test_offsets_are_mirrored_to_the_group(kafka, broker, topic, lake):
    """Lag monitors see in the group what the catalog holds."""
    kafka.publish(topic, small_alerts(83))
    drain(broker, lake, topic, group_id="watched")
    stored = {o["partition"]: o["next"] for o in checker.read_catalog(lake).offsets}
    assert kafka.committed("watched", topic) == stored
    assert sum(stored.values()) == 83


def test_max_messages_stops_and_the_next_run_goes_on_exactly_there(kafka, broker, topic, lake):
    """A run bounded in messages takes exactly so many, and the next ones the rest."""
    kafka.publish(topic, small_alerts(100))
    for number, taken in enumerate((33, 33, 33, 1, 0), 1):
        finished = drain(broker, lake, topic, max_messages=33)
        assert finished.closing["figures"]["alerts"] == taken
        check(broker, lake, topic, unread=max(0, 100 - 33 * number))


def test_max_seconds_stops_a_stream_that_never_falls_silent(kafka, broker, topic, lake):
    """A run bounded in time ends although alerts keep coming, and the next one goes on there."""
    sent = kafka.publish(topic, small_alerts(50))
    for max_seconds in (1, 10, 60):  # until the broker can answer in that time
        running = start(broker, lake, topic, poll_timeout=600, max_seconds=max_seconds)
        wait_until((lake / "alerts.duckdb").exists, "the first publish")
        sent += kafka.publish(topic, small_alerts(50))
        finished = running.wait()
        if finished.code == 0:
            break
    assert finished.code == 0, str(finished)
    assert finished.closing["stopped"] == "max_seconds"
    drain(broker, lake, topic)
    assert check(broker, lake, topic).alerts == sent


def test_poll_timeout_waits_for_alerts_that_come_late(kafka, broker, topic, lake):
    """A run goes on until no alert has arrived for poll_timeout."""
    kafka.publish(topic, small_alerts(8))
    finished = drain(broker, lake, topic, poll_timeout=2)
    assert finished.seconds >= 2
    assert finished.closing["stopped"] == "drained"
    kafka.publish(topic, small_alerts(8))
    running = start(
        broker,
        lake,
        topic,
        poll_timeout=600,
        max_messages=16,
        tuning={"etl.jobs.drain:CHECKPOINT_S": 0.2},
    )
    wait_until(lambda: checker.read_catalog(lake).counts[topic] == 16, "the first are stored")
    kafka.publish(topic, small_alerts(8))
    assert running.wait().code == 0
    assert check(broker, lake, topic).alerts == 24


def test_empty_topic_is_nothing_new(broker, topic, lake):
    """A topic without a message is drained with nothing new, and has an empty, typed view."""
    finished = drain(broker, lake, topic)
    assert finished.closing["figures"]["alerts"] == 0
    with duckdb.connect(str(lake / "alerts.duckdb"), read_only=True) as public:
        columns = {
            name: kind for name, kind, *_ in public.execute(f'DESCRIBE "{topic}"').fetchall()
        }
        assert public.execute(f'SELECT * FROM "{topic}"').fetchall() == []
        assert public.execute("SELECT * FROM alerts").fetchall() == []
    assert columns["kafka_offset"] == "BIGINT"
    assert columns["UTC"] == "TIMESTAMP"


def test_tombstones_are_counted_and_passed_over(kafka, broker, topic, lake):
    """A message without a value is no alert and no reject, and is accounted for."""
    values = small_alerts(20)
    kafka.publish(topic, [v for pair in zip(values, [None] * 20, strict=True) for v in pair])
    figures = drain(broker, lake, topic).closing["figures"]
    assert (figures["alerts"], figures["tombstones"], figures["rejects"]) == (20, 20, 0)
    found = check(broker, lake, topic)
    assert (found.alerts, found.tombstones) == (20, 20)


def test_several_topics_arrive_each_in_its_own_view(kafka, broker, new_topic, lake):
    """Topics drained in one run stand each under its exact name, and all in `alerts`."""
    topics = [new_topic(partitions) for partitions in (8, 1, 3)]
    for number, (topic, partitions) in enumerate(zip(topics, (8, 1, 3), strict=True), 1):
        kafka.publish(topic, small_alerts(10 * number), partitions)
    drain(broker, lake, *topics)
    logs = {(topic, 1): checker.read_topic(broker, topic) for topic in topics}
    assert checker.check(lake, logs).alerts == 60
    with duckdb.connect(str(lake / "alerts.duckdb"), read_only=True) as public:
        counts = public.execute("SELECT kafka_topic, count(*) FROM alerts GROUP BY 1").fetchall()
    assert dict(counts) == dict(zip(topics, (10, 20, 30), strict=True))


def test_topic_added_to_a_lake_and_one_left_out_keep_what_they_have(kafka, broker, new_topic, lake):
    """A run for one topic leaves the others of the lake as they are."""
    one, other = new_topic(), new_topic()
    kafka.publish(one, small_alerts(10))
    kafka.publish(other, small_alerts(20))
    drain(broker, lake, one)
    drain(broker, lake, other)
    logs = {(topic, 1): checker.read_topic(broker, topic) for topic in (one, other)}
    assert checker.check(lake, logs).alerts == 30


@pytest.mark.not_on("embedded", reason="Tansu refuses CreatePartitions")
def test_new_partitions_are_read_from_their_beginning(kafka, broker, new_topic, lake):
    """Partitions that a topic gets later are read from their first message."""
    topic = new_topic(2)
    kafka.publish(topic, small_alerts(10), partitions=2)
    drain(broker, lake, topic)
    kafka.add_partitions(topic, 5)
    kafka.publish(topic, small_alerts(10), partitions=5)
    drain(broker, lake, topic)
    assert check(broker, lake, topic).alerts == 20


def test_partitions_that_the_catalog_has_not_met_are_read_from_their_beginning(
    kafka, broker, topic, lake
):
    """Invariant 2 holds for partitions that are met later than their topic.

    Every broker can serve this: the catalog is made to forget partitions that it had not read.
    """
    kafka.publish(topic, small_alerts(2), partitions=2)
    drain(broker, lake, topic)
    with duckdb.connect(str(lake / "catalog.duckdb")) as catalog:
        catalog.execute("DELETE FROM etl.offsets WHERE partition >= 2")
    kafka.publish(topic, small_alerts(16))
    drain(broker, lake, topic)
    assert check(broker, lake, topic).alerts == 18


def test_nights_are_those_of_the_kafka_time_at_the_site(kafka, broker, topic, lake, tmp_path):
    """An alert is filed under the date of its Kafka time, less the hours that the site's night is
    behind UTC.
    """
    evening = checker.moment_ms(datetime(2026, 2, 13, 23, 30))
    step_ms = int(timedelta(minutes=10).total_seconds() * 1000)
    kafka.publish(topic, small_alerts(80), timestamp_ms=lambda n: evening + n * step_ms)
    config = tmp_path / "site.toml"
    config.write_text("night_starts = 6\n", encoding="utf-8")
    drain(broker, lake, topic, config=config)
    found = check(broker, lake, topic, night_hours=6)
    assert (found.alerts, found.files) == (80, 2)


def test_closing_object_says_what_was_done(kafka, broker, topic, lake):
    """The closing object's figures are those of the lake."""
    kafka.publish(topic, [*small_alerts(20), b"no json"])
    finished = drain(broker, lake, topic)
    figures = finished.closing["figures"]
    (run,) = checker.read_catalog(lake).runs
    for name in ("alerts", "rejects", "tombstones", "absent", "lost", "files", "bytes", "lag"):
        assert run[name] == figures[name], name
    assert run["state"] == "done"
    assert run["run_id"] == finished.closing["run_id"]
    assert json.loads(finished.out.splitlines()[-1]) == finished.closing
