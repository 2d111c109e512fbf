"""The Apache Kafka that tests run on does what only Kafka does; what else they rest on it for.

These break their server, so they have one of their own.
"""

import os
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest
from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from tests.flow.admin import consumer_of, create, publish, watermarks
from tests.flow.brokers import ANSWER_S
from tests.flow.drains import wait_until
from tests.kafka_server import KafkaServer

ROOT = Path(__file__).parents[2]
_topics = (f"lasair_{number}" for number in count(1))


pytestmark = pytest.mark.usefixtures("only_on_kafka")


@pytest.fixture(scope="module")
def topics(secure: KafkaServer) -> None:
    """Make a topic that everybody may read and one that only the admin may, with a message each."""
    for topic in ("lasair_open", "private"):
        create(secure, topic)
        publish(secure, topic, [b"{}"])


def read(
    server: KafkaServer, topic: str, start: int = 0, **settings: object
) -> tuple[list[int], Message]:
    """Read partition 0 until an event comes: the offsets of the messages, and that event."""
    consumer = consumer_of(server, **settings)
    try:
        consumer.assign([TopicPartition(topic, 0, start)])
        offsets: list[int] = []
        until = time.monotonic() + ANSWER_S
        while time.monotonic() < until:
            message = consumer.poll(1)
            if message is None:
                continue
            if message.error() is not None:
                return offsets, message
            offset = message.offset()
            assert offset is not None
            offsets.append(offset)
        raise AssertionError(f"{topic}: neither an end nor an error after {offsets[-3:]}")
    finally:
        consumer.close()


def code_of(event: Message) -> int:
    """Return the code of an event that is no message."""
    error = event.error()
    assert error is not None
    code: int = error.code()
    return code


def describe_code(admin: AdminClient, topic: str) -> int | None:
    """Ask for a topic and give the code of the refusal, None where there is none."""
    described = admin.describe_topics(TopicCollection([topic]), request_timeout=ANSWER_S)
    try:
        described[topic].result(timeout=ANSWER_S)
    except KafkaException as error:
        code: int = error.args[0].code()
        return code
    return None


def test_end_offsets_are_true(server):
    """The end of a partition is where its next message will be, empty ones at 0."""
    topic = create(server, next(_topics), partitions=3)
    publish(server, topic, [b"{}"] * 123, partition=0)
    publish(server, topic, [b"{}"], partition=1)
    assert [watermarks(server, topic, p) for p in range(3)] == [(0, 123), (0, 1), (0, 0)]


def test_message_of_10_mb_is_taken_and_a_larger_one_refused(server):
    """The limit is Lasair's: 10 MB a message."""
    topic = create(server, next(_topics))
    publish(server, topic, [b"x" * 9_999_000])
    with pytest.raises(KafkaException) as refused:
        publish(server, topic, [b"x" * 10_000_001])
    assert refused.value.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE
    assert read(server, topic)[0] == [0]


def test_unknown_topic_is_not_made(server):
    """Asking for a topic makes none."""
    name = next(_topics)
    admin = AdminClient(server.admin_settings)
    admin.list_topics(name, timeout=ANSWER_S)
    assert describe_code(admin, name) == KafkaError.UNKNOWN_TOPIC_OR_PART
    assert name not in admin.list_topics(timeout=ANSWER_S).topics


def test_delete_records_moves_the_low_watermark(server):
    """Deleted records are gone, and reading from before them is an error that says where."""
    topic = create(server, next(_topics))
    publish(server, topic, [b"{}"] * 50)
    admin = AdminClient(server.admin_settings)
    asked = TopicPartition(topic, 0, 20)
    (deleted,) = admin.delete_records([asked]).values()
    assert deleted.result(timeout=ANSWER_S).low_watermark == 20
    assert watermarks(server, topic) == (20, 50)
    offsets, event = read(server, topic, start=7)
    assert offsets == []
    assert code_of(event) == KafkaError._AUTO_OFFSET_RESET
    assert (event.topic(), event.partition(), event.offset()) == (topic, 0, 7)


def test_retention_drops_old_messages(server):
    """A topic's `retention.ms` is enforced while a test waits."""
    topic = create(server, next(_topics), retention_ms=1000)
    publish(server, topic, [b"{}"] * 30)
    assert watermarks(server, topic) == (0, 30)
    wait_until(lambda: watermarks(server, topic) == (30, 30), "dropped")


def test_messages_with_old_timestamps_stay_without_retention(server):
    """Simulated alerts of last year are not dropped where a topic says nothing of retention."""
    topic = create(server, next(_topics))
    producer = Producer(server.admin_settings)
    producer.produce(topic, b"{}", partition=0, timestamp=1_700_000_000_000)
    assert producer.flush(ANSWER_S) == 0
    time.sleep(3)
    assert watermarks(server, topic) == (0, 1)


def test_aborted_transaction_leaves_offsets_that_nobody_reads(server):
    """A reader of committed messages is errors of none of an aborted transaction's offsets."""
    topic = create(server, next(_topics))
    producer = Producer(server.admin_settings | {"transactional.id": topic})
    producer.init_transactions(30)
    for values, end in ((5, producer.abort_transaction), (3, producer.commit_transaction)):
        producer.begin_transaction()
        for _ in range(values):
            producer.produce(topic, b"{}", partition=0)
        producer.flush(ANSWER_S)
        end(30)
    # 0-4 aborted, 5 the abort's marker, 6-8 committed, 9 the commit's marker
    offsets, event = read(server, topic, isolation_level="read_committed")
    assert offsets == [6, 7, 8]
    assert (code_of(event), event.offset()) == (KafkaError._PARTITION_EOF, 10)
    assert read(server, topic, isolation_level="read_uncommitted")[0] == [0, 1, 2, 3, 4, 6, 7, 8]
    assert watermarks(server, topic) == (0, 10)


def test_compaction_removes_records_from_the_middle(server):
    """Of a compacted topic only the last message of each key stays, under its own offset."""
    topic = create(
        server,
        next(_topics),
        cleanup_policy="compact",
        segment_ms=100,
        min_cleanable_dirty_ratio=0.01,
        delete_retention_ms=100,
    )
    publish(server, topic, [b"{}"] * 100, key=lambda number: b"%d" % (number % 5))
    time.sleep(0.3)
    publish(server, topic, [b"{}"], key=lambda _: b"the segment before this is closed")
    left = [95, 96, 97, 98, 99, 100]
    wait_until(lambda: read(server, topic)[0] == left, "compacted")
    assert watermarks(server, topic) == (0, 101)


@pytest.mark.parametrize("end", [KafkaServer.stop, KafkaServer.kill])
def test_restart_keeps_everything(server, end):
    """A server that was stopped or killed comes back with its topics, messages and offsets."""
    topic = create(server, next(_topics))
    publish(server, topic, [b"{}"] * 10)
    group = next(_topics)
    consumer = consumer_of(server, group_id=group)
    consumer.commit(offsets=[TopicPartition(topic, 0, 4)], asynchronous=False)
    consumer.close()
    servers = server.bootstrap_servers
    end(server)
    server.restart()
    assert server.bootstrap_servers == servers
    assert watermarks(server, topic) == (0, 10)
    consumer = consumer_of(server, group_id=group)
    (committed,) = consumer.committed([TopicPartition(topic, 0)], timeout=ANSWER_S)
    consumer.close()
    assert committed.offset == 4
    publish(server, topic, [b"{}"])
    assert read(server, topic)[0] == list(range(11))


def test_frozen_server_is_silent_and_goes_on_when_thawed(server):
    """A frozen server refuses no connection and answers nothing, until it is thawed."""
    topic = create(server, next(_topics))
    publish(server, topic, [b"{}"])
    server.freeze()
    try:
        with pytest.raises(KafkaException) as silent:
            AdminClient(server.admin_settings | {"log_level": 0}).list_topics(timeout=1)
        assert silent.value.args[0].code() == KafkaError._TRANSPORT
    finally:
        server.thaw()
    assert read(server, topic)[0] == [0]


def test_killed_test_run_leaves_no_server_behind(tmp_path):
    """Java dies with the process that started it, however that ended."""
    if sys.platform != "linux":
        pytest.skip("only Linux tells a process that its parent has died")
    program = (
        "import pathlib, sys, time\n"
        "from tests.kafka_server import KafkaServer\n"
        "server = KafkaServer(pathlib.Path(sys.argv[1]))\n"
        "server.start()\n"
        "print(server._process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert run.stdout is not None
    java = Path(f"/proc/{int(run.stdout.readline())}")
    assert (java / "exe").exists()
    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stdout.close()
    wait_until(lambda: not (java / "exe").exists(), "Java has ended")


def test_right_password_reads_public_topics(secure, topics):
    """With name and password over TLS, what begins with `lasair_` can be read, in any group."""
    consumer = Consumer(
        secure.settings_of("reader") | {"group.id": "any", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe(["lasair_open"])
    message = consumer.poll(30)
    assert message is not None
    assert message.error() is None
    consumer.commit(message=message, asynchronous=False)
    consumer.close()


def test_nobody_reads_public_topics_without_a_name(secure, topics):
    """Without a name the public topics can be read too, as at Lasair."""
    settings = {"bootstrap_servers": secure.bootstrap_servers, "security_protocol": "plaintext"}
    assert read(secure, "lasair_open", **settings)[0] == [0]


def test_wrong_password_is_refused(secure):
    """A wrong password is errors as just that."""
    errors: list[int] = []
    settings = secure.settings_of("reader", "wrong") | {"log_level": 0}
    admin = AdminClient(settings | {"error_cb": lambda error: errors.append(error.code())})
    with pytest.raises(KafkaException):
        admin.list_topics(timeout=3)
    admin.poll(1)
    assert KafkaError._AUTHENTICATION in errors


@pytest.mark.parametrize("user", ["reader", None])
def test_other_topics_are_denied(secure, topics, user):
    """What does not begin with `lasair_` can be neither read nor listed, and nothing be written."""
    settings = secure.settings_of(user) if user else {"bootstrap.servers": secure.bootstrap_servers}
    admin = AdminClient(settings)
    assert set(admin.list_topics(timeout=ANSWER_S).topics) == {"lasair_open"}
    assert describe_code(admin, "private") == KafkaError.TOPIC_AUTHORIZATION_FAILED
    # A consumer that has it assigned is errors nothing at all; one that subscribes is.
    consumer = Consumer(settings | {"group.id": "any"})
    consumer.subscribe(["private"])
    message = consumer.poll(20)
    consumer.close()
    assert message is not None
    assert code_of(message) == KafkaError.TOPIC_AUTHORIZATION_FAILED
    refused: list[KafkaError | None] = []
    producer = Producer(settings)
    producer.produce("lasair_open", b"{}", on_delivery=lambda error, _: refused.append(error))
    assert producer.flush(ANSWER_S) == 0
    assert refused == [KafkaError.TOPIC_AUTHORIZATION_FAILED]
