"""Drains of an Apache Kafka of our own: what other brokers can't do, and what breaks a broker.

Retention, transactions, compaction, users and rights, restarts, other programs in the group: after
each, every message is stored, or accounted for in the words and numbers of the catalog.
"""

import json
import signal
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
)

from tests.flow import checker
from tests.flow.admin import create, publish, watermarks
from tests.flow.alerts import small_alerts
from tests.flow.brokers import ANSWER_S, Broker
from tests.flow.drains import SMALL_STEPS, Fault, arguments, command, drain, start, wait_until
from tests.flow.test_recreated import forget_topic_ids
from tests.kafka_server import PASSWORDS, READER, KafkaServer

CONNECT_S = 8
TEN_MB = 9_999_900
PARTITIONS = 3

_names = (f"lasair_{number}kafka" for number in count(1))


@pytest.fixture
def own(server: KafkaServer) -> Iterator[Broker]:
    """Return the broker that this test may break; it is whole again for the next one."""
    yield Broker("kafka", server.bootstrap_servers)
    if server.frozen:
        server.thaw()


@pytest.fixture
def topic(own: Broker) -> str:
    """Return a new topic of few partitions."""
    return own.create(next(_names), PARTITIONS)


def fill(own: Broker, topic: str, size: int) -> checker.Log:
    """Send so many alerts and give all that the topic holds."""
    own.publish(topic, small_alerts(size), PARTITIONS)
    return checker.read_topic(own.bootstrap_servers, topic)


def paused(running: Any) -> None:
    """Wait until a drain has stopped where its fault says."""
    wait_until(lambda: running.is_stopped() or not running.process.is_alive(), "the drain pauses")
    assert running.is_stopped(), str(running.wait())


def last_message(lake: Path) -> str:
    """Return what the last run had to say, as the published file keeps it."""
    with duckdb.connect(str(lake / "alerts.duckdb"), read_only=True) as public:
        found = public.execute("SELECT message FROM etl.runs ORDER BY number DESC").fetchone()
    assert found
    return str(found[0])


def gaps(lake: Path) -> list[tuple[int, int, int, str]]:
    """List the recorded gaps: partition, start, end, reason."""
    found = checker.read_catalog(lake).gaps
    return sorted((gap["partition"], gap["start"], gap["end"], gap["reason"]) for gap in found)


def drain_as_cron_does(own: Broker, lake: Path, topic: str) -> None:
    """Drain until a run is well; those before it end with 75.

    A broker that was frozen has no controller for a while. A client that met it then has waited for
    one until its timeout of 240 s; each run is a new client.
    """
    until = time.monotonic() + 2 * ANSWER_S
    while drain(own.bootstrap_servers, lake, topic, code=None, connect_timeout=20).code == 75:
        assert time.monotonic() < until, "the broker never came back"
    drain(own.bootstrap_servers, lake, topic)


def drop(own: Broker, topic: str, partition: int, below: int) -> None:
    """Delete a partition's messages below an offset."""
    admin = AdminClient({"bootstrap.servers": own.bootstrap_servers})
    (deleted,) = admin.delete_records([TopicPartition(topic, partition, below)]).values()
    assert deleted.result(timeout=ANSWER_S).low_watermark == below


# ------------------------------------------------------------------------------------ ends and lag
def test_lag_is_what_the_broker_still_has(own, topic, lake):
    """A bounded run says how many messages it left behind, and so does `status`."""
    fill(own, topic, 90)
    finished = drain(own.bootstrap_servers, lake, topic, max_messages=25)
    assert finished.closing["figures"]["lag"] == 65
    finished = command(
        *("status", "--json", "--lake", str(lake), "--topic", topic),
        *("--bootstrap-servers", own.bootstrap_servers),
    ).wait()
    (status,) = json.loads(finished.out)["topics"]
    assert status["lag"] == 65
    assert [part["end"] for part in status["partitions"]] == [30, 30, 30]


# ---------------------------------------------------------------------------------------- retention
def test_retention_that_drops_unread_alerts_is_a_gap_and_65_once(server, own, topic, lake):
    """What `retention.ms` took before it was read is a gap with its exact span, and told once."""
    before = fill(own, topic, 30)
    drain(own.bootstrap_servers, lake, topic)
    unread = fill(own, topic, 60)
    retention = ConfigEntry("retention.ms", "1", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[retention])
    admin = AdminClient(server.admin_settings)
    admin.incremental_alter_configs([resource])[resource].result(timeout=ANSWER_S)
    all_dropped = (30, 30)
    wait_until(lambda: {watermarks(server, topic, p) for p in range(3)} == {all_dropped}, "dropped")
    finished = drain(own.bootstrap_servers, lake, topic, code=65)
    reason = "the broker had dropped it before this run"
    assert gaps(lake) == [(p, 10, 30, reason) for p in range(3)]
    assert finished.closing["figures"]["lost"] == 60
    assert f"{topic}[0]: offsets 10 to 30 are lost" in finished.output
    assert f"{topic}[0]: offsets 10 to 30 are lost" in last_message(lake)
    assert drain(own.bootstrap_servers, lake, topic).closing["figures"]["lost"] == 0
    found = checker.check(lake, {(topic, 1): checker.merged([before, unread])})
    assert (found.alerts, found.lost) == (30, 60)


def test_stored_alerts_that_were_dropped_show_no_new_incarnation(own, topic, lake):
    """On a broker without topic ids, a last stored record that has expired proves nothing."""
    before = fill(own, topic, 30)
    drain(own.bootstrap_servers, lake, topic)
    forget_topic_ids(lake)
    log = checker.merged([before, fill(own, topic, 30)])
    drop(own, topic, 0, 10)
    drain(own.bootstrap_servers, lake, topic)
    assert checker.check(lake, {(topic, 1): log}).alerts == 60


def test_deleted_records_are_a_gap_and_what_follows_them_arrives(own, topic, lake):
    """Of a partition whose first unread alerts were deleted, the gap ends where the rest begins."""
    before = fill(own, topic, 30)
    drain(own.bootstrap_servers, lake, topic)
    log = checker.merged([before, fill(own, topic, 30)])
    drop(own, topic, 1, 16)
    drain(own.bootstrap_servers, lake, topic, code=65)
    assert gaps(lake) == [(1, 10, 16, "the broker had dropped it before this run")]
    drain(own.bootstrap_servers, lake, topic)
    assert checker.check(lake, {(topic, 1): log}).alerts == 54


def test_the_group_follows_over_a_gap(own, topic, lake):
    """A run that found only a gap moves the group over it, so that the next one suspects nobody."""
    fill(own, topic, 30)
    drain(own.bootstrap_servers, lake, topic)
    fill(own, topic, 60)
    for partition in range(3):
        drop(own, topic, partition, 30)
    drain(own.bootstrap_servers, lake, topic, code=65)
    assert own.committed("flow-tests", topic, 3) == dict.fromkeys(range(3), 30)
    assert drain(own.bootstrap_servers, lake, topic).closing["notes"] == []


def test_records_deleted_under_a_running_drain_are_a_gap(own, topic, lake):
    """What the broker drops after a run has planned to read it is told like any other loss."""
    log = fill(own, topic, 30)
    fault = Fault("etl.kafka.plan:plan_topics", signal=signal.SIGSTOP)
    running = start(own.bootstrap_servers, lake, topic, faults=[fault])
    paused(running)
    drop(own, topic, 2, 7)
    running.send(signal.SIGCONT)
    assert running.wait().code == 65
    assert gaps(lake) == [(2, 0, 7, "the broker dropped it while this run was reading")]
    drain(own.bootstrap_servers, lake, topic)
    assert checker.check(lake, {(topic, 1): log}).alerts == 23


# --------------------------------------------------------------------------------- recreated topics
STAGES = {
    "planned": Fault("etl.kafka.plan:plan_topics", signal=signal.SIGSTOP),
    "assigned": Fault("etl.kafka.client:Client.start", signal=signal.SIGSTOP),
    "first messages taken": Fault("etl.kafka.buffers:Buffer.append", signal=signal.SIGSTOP),
    "before the topic's id is asked": Fault(
        "etl.kafka.identity:Identity.prove", "before", 1, signal.SIGSTOP
    ),
    "after the topic's id was asked": Fault(
        "etl.kafka.identity:Identity.prove", "after", 1, signal.SIGSTOP
    ),
    "decoded": Fault("etl.decode.batch:decode_batch", signal=signal.SIGSTOP),
    "landed": Fault("etl.lake.land:land", signal=signal.SIGSTOP),
    "before the transaction": Fault(
        "etl.catalog.checkpoint:checkpoint", "before", 1, signal.SIGSTOP
    ),
    "after the transaction": Fault("etl.catalog.checkpoint:checkpoint", "after", 1, signal.SIGSTOP),
    "before the group commit": Fault("etl.kafka.mirror:Mirror.commit", "before", 1, signal.SIGSTOP),
    "before the last checkpoint": Fault("etl.jobs.drain:Run.finish", "before", 1, signal.SIGSTOP),
}


@pytest.mark.parametrize("after", [6, 240])
@pytest.mark.parametrize("stage", STAGES)
def test_topic_recreated_while_a_drain_stands_at_a_stage(own, topic, lake, stage, after):
    """Wherever a drain stands when its topic is made anew: nothing lost unsaid, doubled, misfiled.

    Of the old incarnation each message is stored or in a gap; of the new one each is stored.
    """
    old = fill(own, topic, 120)
    running = start(own.bootstrap_servers, lake, topic, faults=[STAGES[stage]], tuning=SMALL_STEPS)
    paused(running)
    own.recreate(topic, PARTITIONS)
    new = fill(own, topic, after)
    running.send(signal.SIGCONT)
    finished = running.wait()
    lost = finished.closing["figures"]["lost"]
    assert finished.code == (65 if lost else 0), str(finished)
    drain(own.bootstrap_servers, lake, topic)
    again = drain(own.bootstrap_servers, lake, topic)
    assert again.closing["figures"]["alerts"] == 0
    found = checker.check(lake, {(topic, 1): old, (topic, 2): new})
    assert found.alerts + found.lost == 120 + after
    assert found.lost == lost


def test_broker_that_is_silent_until_the_time_is_over_is_75(server, own, topic, lake):
    """A run whose time ends before its patience does not take silence for an empty stream."""
    log = fill(own, topic, 90)
    faults = [STAGES["planned"]]
    running = start(own.bootstrap_servers, lake, topic, faults=faults, max_seconds=3)
    paused(running)
    server.freeze()
    running.send(signal.SIGCONT)
    finished = running.wait()
    server.thaw()
    assert finished.code == 75, str(finished)
    assert f"{topic}[0], {topic}[1], {topic}[2]: no answer within 3 s" in finished.output
    drain_as_cron_does(own, lake, topic)
    assert checker.check(lake, {(topic, 1): log}).alerts == 90


# ---------------------------------------------------------------------- offsets without a message
def test_aborted_transactions_are_accounted_for_and_never_stored(server, own, lake):
    """What was aborted is no alert; its offsets and the markers are counted as absent."""
    topic = create(server, next(_names))
    producer = Producer(server.admin_settings | {"transactional.id": topic})
    producer.init_transactions(ANSWER_S)
    for size, end in (
        (5, producer.abort_transaction),
        (3, producer.commit_transaction),
        (2, producer.abort_transaction),
    ):
        producer.begin_transaction()
        for value in small_alerts(size):
            producer.produce(topic, value, partition=0)
        producer.flush(ANSWER_S)
        end(ANSWER_S)
    log = checker.read_topic(own.bootstrap_servers, topic)
    assert sorted(offset for _, offset in log) == [6, 7, 8]
    finished = drain(own.bootstrap_servers, lake, topic)
    figures = finished.closing["figures"]
    assert (figures["alerts"], figures["absent"], figures["lag"]) == (3, 10, 0)
    (offset,) = checker.read_catalog(lake).offsets
    assert offset["next"] == watermarks(server, topic)[1] == 13
    assert checker.check(lake, {(topic, 1): log}).alerts == 3
    assert drain(own.bootstrap_servers, lake, topic).closing["figures"]["absent"] == 0


def test_compacted_topic_is_drained_with_its_holes_accounted_for(server, own, lake):
    """Offsets that compaction removed are absent, not lost; what is left is stored."""
    topic = create(
        server,
        next(_names),
        cleanup_policy="compact",
        segment_ms=100,
        min_cleanable_dirty_ratio=0.01,
        delete_retention_ms=100,
    )
    publish(server, topic, small_alerts(100), key=lambda number: b"%d" % (number % 5))
    time.sleep(0.3)
    publish(server, topic, small_alerts(1), key=lambda _: b"the segment before this is closed")

    def read() -> checker.Log:
        return checker.read_topic(own.bootstrap_servers, topic)

    wait_until(lambda: len(read()) == 6, "compacted")
    figures = drain(own.bootstrap_servers, lake, topic).closing["figures"]
    assert (figures["alerts"], figures["absent"], figures["lost"]) == (6, 95, 0)
    assert checker.check(lake, {(topic, 1): read()}).alerts == 6


def test_message_of_ten_megabytes_arrives(own, topic, lake):
    """The largest message that Lasair's broker takes is stored value for value."""
    words = json.dumps([f"word {number}" for number in range(800_000)])[1:-1]
    head, tail = b'{"diaObjectId": 313637935709683761, "words": [', b"]}"
    size = TEN_MB - len(head) - len(tail) - 12
    inner = words[: words.rindex(",", 0, size)].encode()
    large = head + inner + tail
    assert len(large) > 9_900_000
    one, two = small_alerts(2)
    own.publish(topic, [one, large, two], 1)
    drain(own.bootstrap_servers, lake, topic)
    log = checker.read_topic(own.bootstrap_servers, topic)
    assert checker.check(lake, {(topic, 1): log}).alerts == 3


# ------------------------------------------------------------------------------ a broker in trouble
@pytest.mark.parametrize("end", [KafkaServer.stop, KafkaServer.kill])
@pytest.mark.parametrize("stage", ["planned", "first messages taken", "landed"])
def test_broker_restarted_under_a_drain_loses_nothing(server, own, topic, lake, stage, end):
    """A broker that goes away and comes back costs nothing, or the rest waits for the next run."""
    log = fill(own, topic, 120)
    fault = STAGES[stage]
    running = start(
        own.bootstrap_servers, lake, topic, faults=[fault], tuning=SMALL_STEPS, connect_timeout=20
    )
    paused(running)
    end(server)
    running.send(signal.SIGCONT)
    time.sleep(0.5)
    server.start()
    finished = running.wait()
    assert finished.code in (0, 75), str(finished)
    assert "Traceback" not in finished.output
    drain(own.bootstrap_servers, lake, topic)
    assert checker.check(lake, {(topic, 1): log}).alerts == 120


@pytest.mark.parametrize(
    "stage", ["planned", "first messages taken", "landed", "before the group commit"]
)
def test_broker_frozen_for_longer_than_the_timeouts_is_75_in_bounded_time(
    server, own, topic, lake, stage
):
    """A broker that holds its breath ends the run in the time allowed; nothing is lost by it."""
    log = fill(own, topic, 120)
    running = start(
        own.bootstrap_servers,
        lake,
        topic,
        faults=[STAGES[stage]],
        tuning=SMALL_STEPS,
        connect_timeout=CONNECT_S,
    )
    paused(running)
    server.freeze()
    running.send(signal.SIGCONT)
    finished = running.wait()
    server.thaw()
    assert finished.code in (0, 75), str(finished)
    assert finished.code == 75 or checker.read_catalog(lake).counts[topic] == 120
    assert "Traceback" not in finished.output
    drain_as_cron_does(own, lake, topic)
    assert checker.check(lake, {(topic, 1): log}).alerts == 120


# ------------------------------------------------------------------------------ others in our group
def test_another_program_active_in_our_group_costs_nothing_but_the_mirror(own, topic, lake):
    """Somebody who subscribed under our group id can take no alert away, and it is said."""
    log = fill(own, topic, 30)
    other = Consumer(
        {
            "bootstrap.servers": own.bootstrap_servers,
            "group.id": "flow-tests",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    try:
        other.subscribe([topic])
        wait_until(lambda: bool(other.poll(0.2)) and bool(other.assignment()), "the other reads")
        finished = drain(own.bootstrap_servers, lake, topic)
        assert "offsets could not be mirrored to the group" in finished.output
    finally:
        other.close()
    assert checker.check(lake, {(topic, 1): log}).alerts == 30
    assert own.committed("flow-tests", topic, PARTITIONS) == {}
    drain(own.bootstrap_servers, lake, topic)
    assert own.committed("flow-tests", topic, PARTITIONS) == dict.fromkeys(range(3), 10)


# --------------------------------------------------------------------------------- users and rights
@pytest.fixture(scope="module")
def closed(secure: KafkaServer) -> dict[str, list[bytes]]:
    """Return the topics of a secure server and what is in them: one for everybody, one for none."""
    made = {name: small_alerts(20) for name in ("lasair_2open", "private")}
    for name, values in made.items():
        create(secure, name)
        publish(secure, name, values)
    return made


def secure_drain(secure: KafkaServer, folder: Path, password: str, topic: str) -> Any:
    """Run the command as a user would who has to log in."""
    config = folder / "lasair-etl.toml"
    settings = secure.settings_of(READER)
    kept = ("security.protocol", "sasl.mechanism", "sasl.username", "ssl.ca.location")
    lines = "".join(f'"{key}" = "{settings[key]}"\n' for key in kept)
    config.write_text(f"[kafka]\n{lines}", encoding="utf-8")
    return command(
        *arguments(secure.secure_servers, folder / "lake", topic, config=config),
        environment={"LASAIR_ETL_KAFKA_SASL_PASSWORD": password},
    ).wait()


def test_public_topics_are_drained_without_a_name(secure, closed, lake):
    """Who has no name may read what begins with `lasair_` under any group, as at Lasair."""
    finished = drain(secure.bootstrap_servers, lake, "lasair_2open", group_id="anything")
    assert finished.closing["figures"]["alerts"] == 20
    assert "mirrored" not in finished.output


def test_drain_with_scram_over_tls(secure, closed, tmp_path):
    """A user name and a password over TLS work from the settings and the environment alone."""
    finished = secure_drain(secure, tmp_path, PASSWORDS[READER], "lasair_2open")
    assert finished.code == 0, str(finished)
    assert finished.closing["figures"]["alerts"] == 20
    assert PASSWORDS[READER] not in finished.output
    found = (tmp_path / "lake").rglob("*")
    assert not [p for p in found if p.is_file() and PASSWORDS[READER].encode() in p.read_bytes()]


def test_wrong_password_is_77_and_never_shown(secure, closed, tmp_path):
    """A wrong password is "access denied" in one sentence, which does not repeat it."""
    finished = secure_drain(secure, tmp_path, "wrong-secret", "lasair_2open")
    assert finished.code == 77, str(finished)
    assert "wrong-secret" not in finished.output
    assert "Traceback" not in finished.output


def test_denied_topic_is_77_for_users_and_for_the_nameless(secure, closed, lake, tmp_path):
    """A topic without the right to read it is "access denied", and named."""
    nameless = drain(secure.bootstrap_servers, lake, "private", code=77)
    assert "private" in nameless.err
    named = secure_drain(secure, tmp_path, PASSWORDS[READER], "private")
    assert named.code == 77, str(named)


def test_right_taken_away_is_77_and_what_is_stored_stays(secure, closed, lake):
    """A right that was taken away between two runs is 77; with the right back the rest arrives."""
    ours = (secure.bootstrap_servers, lake, "lasair_2open")
    drain(*ours, group_id="taken-away")
    publish(secure, "lasair_2open", small_alerts(5))
    admin = AdminClient(secure.admin_settings)
    place = (ResourceType.TOPIC, "lasair_2open", ResourcePatternType.LITERAL)
    denial: Any = (*place, "User:ANONYMOUS", "*", AclOperation.READ, AclPermissionType.DENY)
    for future in admin.create_acls([AclBinding(*denial)]).values():
        future.result(timeout=ANSWER_S)
    try:
        drain(*ours, code=77)
    finally:
        for future in admin.delete_acls([AclBindingFilter(*denial)]).values():
            future.result(timeout=ANSWER_S)
    assert drain(*ours).closing["figures"]["alerts"] == 5
    assert checker.read_catalog(lake).counts["lasair_2open"] == 25
