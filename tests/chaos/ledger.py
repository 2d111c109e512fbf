"""What was produced, as the producer knows it: each message, and the incarnation of its topic.

Every message carries the incarnation that it was sent to and its number among all. Where it was
stored is taken from the broker's delivery report, never from what a drain has read.
"""

import json
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

from confluent_kafka import (
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic

from etl.demo.alerts import alerts
from tests.flow.alerts import keyed, small_objects, sources, texts
from tests.flow.brokers import MESSAGE_BYTES, Broker

GOOD, BAD, TOMBSTONE = "alert", "reject", "tombstone"
"""What a drain has to make of a message."""

Place = tuple[int, int]
"""Partition and offset."""

Batch = Sequence[tuple[str, bytes | None]]
"""What is sent: what a drain has to make of each message, and its value."""

NOW = datetime(2026, 3, 1, tzinfo=UTC)
POOL = {"plain": 2_000, "lite": 40, "full": 4}
ANSWER_S = 60.0


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that the broker has stored; `number` counts all that the campaign has sent."""

    number: int
    kind: str
    stamp_ms: int | None
    value: bytes | None


@dataclass(slots=True)
class Incarnation:
    """One incarnation of a topic and what was sent to it; no other has its number.

    `settled` are the places that a check has found in the lake, `dropped` those that the broker
    was told to forget before a drain had read them.
    """

    topic: str
    number: int
    topic_id: str
    partitions: int
    sent: dict[Place, Sent] = field(default_factory=dict)
    settled: set[Place] = field(default_factory=set)
    dropped: set[Place] = field(default_factory=set)
    ended: bool = False


class Ledger:
    """The topics of one lake, all their incarnations, and the hand that writes to them."""

    def __init__(self, broker: Broker, chance: Random, numbers: Iterator[int]) -> None:
        self.broker = broker
        self.chance = chance
        self.incarnations: dict[str, list[Incarnation]] = {}
        self.numbers = numbers
        # A broker that has just come back is not news here.
        self._connection: dict[str, str | int | float | bool] = {
            "bootstrap.servers": broker.bootstrap_servers,
            "reconnect.backoff.max.ms": 200,
            "log_level": 0,
        }
        self._admin = AdminClient(self._connection)

    @property
    def topics(self) -> list[str]:
        """The topics that drains are asked for."""
        return list(self.incarnations)

    def current(self, topic: str) -> Incarnation:
        """Return the incarnation that a topic has now."""
        return self.incarnations[topic][-1]

    def all(self) -> Iterator[Incarnation]:
        """Go through every incarnation of every topic."""
        for incarnations in self.incarnations.values():
            yield from incarnations

    def create(self, topic: str, partitions: int) -> None:
        """Make a topic, or make it again: its earlier incarnation has then ended."""
        if topic in self.incarnations:
            self.current(topic).ended = True
            self.broker.delete(topic)
        self._begin(topic, partitions)

    def create_again(self) -> None:
        """Make every topic on a broker that has lost them all."""
        for topic in self.topics:
            self.current(topic).ended = True
            self._begin(topic, self.current(topic).partitions)

    def take_in(self, other: "Ledger") -> None:
        """Count what was sent to another cluster too; each topic's current incarnation stays."""
        for topic, incarnations in other.incarnations.items():
            self.incarnations[topic][:0] = incarnations

    def _begin(self, topic: str, partitions: int) -> None:
        incarnations = self.incarnations.setdefault(topic, [])
        before = {incarnation.topic_id for incarnation in incarnations}
        self._make(topic, partitions)
        topic_id = self._topic_id(topic, before)
        incarnations.append(Incarnation(topic, next(self.numbers), topic_id, partitions))

    def _make(self, topic: str, partitions: int) -> None:
        """Make a topic as soon as the broker is done with its earlier incarnation."""
        until = time.monotonic() + ANSWER_S
        while True:
            try:
                made = self._admin.create_topics([NewTopic(topic, partitions, 1)])
                made[topic].result(timeout=ANSWER_S)
                return
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
                assert time.monotonic() < until, f"{topic}: deleted, and still there"
                time.sleep(0.02)

    def drop_records(self, topic: str, partition: int, below: int) -> None:
        """Let the broker forget what a partition has below an offset."""
        place = TopicPartition(topic, partition, below)
        for done in self._admin.delete_records([place]).values():
            done.result(timeout=ANSWER_S)
        incarnation = self.current(topic)
        incarnation.dropped |= {
            (p, offset) for p, offset in incarnation.sent if p == partition and offset < below
        }

    def _topic_id(self, topic: str, before: Collection[str]) -> str:
        """Ask for the id of a new incarnation, which the broker may take a moment to know."""
        until = time.monotonic() + ANSWER_S
        while True:
            asked = self._admin.describe_topics(TopicCollection([topic]), request_timeout=ANSWER_S)
            try:
                topic_id = str(asked[topic].result(timeout=ANSWER_S).topic_id)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
            else:
                if topic_id not in before:
                    return topic_id
            assert time.monotonic() < until, f"{topic}: created, and not to be seen"
            time.sleep(0.02)

    def send(self, topic: str, batch: Batch, days_ago: int = 0) -> int:
        """Send kinds and values to the topic's current incarnation, and note where each was stored.

        Messages of some days ago belong to a night that is over, which a drain may compact.
        """
        stamp_ms = int(time.time() * 1000) - 86_400_000 * days_ago
        incarnation = self.current(topic)
        failed: list[str] = []
        producer = Producer(
            {
                **self._connection,
                "message.max.bytes": MESSAGE_BYTES,
                "enable.idempotence": True,
                "linger.ms": 2,
            }
        )
        for kind, value in batch:
            number = next(self.numbers)
            marked = mark(kind, value, incarnation.number, number)

            def told(
                error: KafkaError | None,
                message: Message,
                *,
                number: int = number,
                kind: str = kind,
                value: bytes | None = marked,
            ) -> None:
                partition, offset = message.partition(), message.offset()
                if error is not None or partition is None or offset is None:
                    failed.append(str(error))
                    return
                known, stamp = message.timestamp()
                incarnation.sent[partition, offset] = Sent(
                    number, kind, stamp if known else None, value
                )

            partition = self.chance.randrange(incarnation.partitions)
            producer.produce(
                topic, marked, partition=partition, timestamp=stamp_ms, on_delivery=told
            )
        left = producer.flush(ANSWER_S)
        assert not left, f"{topic}: {left} messages not delivered"
        assert not failed, f"{topic}: {failed[:3]}"
        return len(batch)


def mark(kind: str, value: bytes | None, incarnation: int, number: int) -> bytes | None:
    """Write into a message to which incarnation it was sent, and as which of all."""
    if value is None or not value.startswith(b"{"):
        return value
    end = b"" if value[1:2] == b"}" else b", "
    return b'{"chaos_incarnation": %d, "chaos_number": %d%s%s' % (
        incarnation,
        number,
        end,
        value[1:],
    )


class Stock:
    """Values to send: simulated alerts of each kind, and odd and bad ones."""

    def __init__(self, chance: Random) -> None:
        self._values = {
            kind: list(alerts(kind, count, chance.randrange(1000), now=NOW))
            for kind, count in POOL.items()
        }

    def mixed(self, chance: Random, most: int) -> list[tuple[str, bytes | None]]:
        """Mostly plain alerts, sometimes larger ones, odd ones, tombstones."""
        batch = self.some("plain", chance.randint(1, most), chance)
        if chance.random() < 0.2:
            batch += self.some("lite", chance.randint(1, 10), chance)
        if chance.random() < 0.05:
            batch += self.some("full", 1, chance)
        if chance.random() < 0.4:
            batch += [(TOMBSTONE, None)] * chance.randint(1, 5)
        if chance.random() < 0.3:
            batch += [(GOOD, value) for value in chance.sample(ODD, 3)]
        chance.shuffle(batch)
        return batch

    def bad(self, chance: Random) -> list[tuple[str, bytes | None]]:
        """Every bad message and every odd one, among good ones."""
        batch: list[tuple[str, bytes | None]] = [(BAD, value) for value in REJECTED]
        batch += [(GOOD, value) for value in ODD]
        batch += self.some("plain", chance.randint(10, 60), chance)
        chance.shuffle(batch)
        return batch

    def large(self, chance: Random) -> Batch:
        """Messages near the broker's limit, good and bad, and some that are large to decode."""
        batch: list[tuple[str, bytes | None]] = [(GOOD, texts(9.7))] * chance.randint(1, 2)
        batch += [(GOOD, sources(0.4)), (GOOD, small_objects(0.05)), (BAD, texts(4)[:-1])]
        batch += self.some("plain", chance.randint(10, 60), chance)
        chance.shuffle(batch)
        return batch

    def keyed(self, chance: Random) -> Batch:
        """Alerts with an object keyed by ids: some that make columns, or too many for that."""
        first, count = chance.randrange(1_000), chance.choice([10, 60, 400])
        return [(GOOD, value) for value in keyed(first + count)[first:]]

    def some(self, kind: str, count: int, chance: Random) -> list[tuple[str, bytes | None]]:
        """Some alerts of a kind, which may be alike but for their marks."""
        return [(GOOD, value) for value in chance.choices(self._values[kind], k=count)]


ODD = [
    b'{"ra": NaN, "decl": Infinity, "x": -Infinity}',
    b'{"ra": 1e400}',
    b'{"ra": 5, "decl": "Unexpected type in json.dumps"}',
    b'{"ra": 1.5, "RA": 2.5}',
    b'{"kafka_offset": 7, "etl_run_id": "x", "night": 3}',
    b'{"classification": 5, "diaObjectId": 1.5}',
    b'{"big": 123456789012345678901234567890}',
    b'{"a\\"b": 1, "c.d": 2, "": 5}',
    b'{"deep": {"list": [{"a": 1}, {"b": null}]}}',
    b'{"deep": {"list": [{"a": 1.5, "c": "t"}]}}',
    b'{"deep": 7}',
    b'{"UTC": "yesterday"}',
    b"{}",
]

REJECTED = [
    b"",
    b"null",
    b"no json",
    b'[{"ra": 1}]',
    b'{"ra": 1',
    b'{"ra": 1}{"ra": 2}',
    b'{"name": "\xff\xfe"}',
    b'{"name": "\\ud800"}',
    b'{"name": "\x00\x01"}',
    b'{"a": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
]


def incarnation_of(value: bytes) -> int | None:
    """Read the incarnation out of a message's mark, None where it bears none."""
    try:
        told = json.loads(value).get("chaos_incarnation")
    except (ValueError, AttributeError, RecursionError):
        return None
    return told if isinstance(told, int) else None
