"""The broker, as the rest of the program sees it: the one reader that speaks Kafka.

The catalog says where to resume, so partitions are assigned with offsets of our own: no group
join (which costs seconds), nobody else's rebalance, and commits are a mirror for lag monitors.
"""

import ctypes
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Protocol, Self

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from etl.errors import AccessDenied, BrokerUnreachable, EtlError, WrongSettings
from etl.kafka.codes import DENIED, SETTLING, UNANSWERED, UNKNOWN_TOPIC
from etl.kafka.mirror import COMMIT_TIMEOUT_S
from etl.kafka.topics import GRACE_S, NO_TOPIC_ID, SETTLE_S, TopicState
from etl.librdkafka import OWNED

log = logging.getLogger(__name__)

# Ours to choose, the user's to change.
TUNING: Mapping[str, Any] = {
    # How long the broker may hold an empty answer back: an end of partition waits for it.
    "fetch.wait.max.ms": 20,
    # Large answers, and a queue that bounds memory; larger ones were no quicker.
    "fetch.message.max.bytes": 4_000_000,
    "fetch.max.bytes": 12_000_000,
    "queued.max.messages.kbytes": 16_384,
    "queued.min.messages": 100_000,
    # A full queue is looked at again soon: the default of 1 s let the drain run dry.
    "fetch.queue.backoff.ms": 10,
    # A broker that is starting is asked again soon.
    "reconnect.backoff.max.ms": 2_000,
    "receive.message.max.bytes": 100_000_000,
}

LEADERS_S = 2.0


class Client:
    """One connection to the broker, for asking and for reading."""

    def __init__(
        self, bootstrap_servers: str, group_id: str, timeout_s: float, extra: Mapping[str, Any]
    ) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.group_id = group_id
        self.timeout_s = timeout_s
        self.extra = extra
        self._denied: KafkaError | None = None
        self._controlled = False
        self._mirror: Consumer | None = None
        self._abandoned = False
        self._commit_answers: list[str] = []
        common: dict[str, Any] = {
            "bootstrap.servers": bootstrap_servers,
            "socket.connection.setup.timeout.ms": int(max(1.0, timeout_s) * 1000),
            "error_cb": self._note_error,
            "logger": logging.getLogger("librdkafka"),
        }
        consumer_config = common | dict(TUNING) | dict(extra) | dict(OWNED) | {"group.id": group_id}
        self._mirror_config = (
            common
            | {key: value for key, value in extra.items() if key not in TUNING}
            | dict(OWNED)
            | {"group.id": group_id, "on_commit": self._take_commit_answer}
        )
        admin_config = {k: v for k, v in (common | dict(extra)).items() if k not in TUNING}
        try:
            self.consumer = Consumer(consumer_config)
            self.admin = AdminClient(admin_config)
        except KafkaException as error:
            raise WrongSettings(f"[kafka] settings: {error.args[0].str()}") from error

    def twin(self) -> "Client":
        """Make another connection like this one, which knows nothing of old metadata."""
        return Client(self.bootstrap_servers, self.group_id, self.timeout_s, self.extra)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.consumer.close()
        if self._mirror is not None:
            self._mirror.close()

    def _note_error(self, error: KafkaError) -> None:
        if error.code() in DENIED:
            self._denied = error
        log.debug("broker: %s", error.str())

    def topic_ids(self, topics: Sequence[str], timeout_s: float) -> dict[str, str | None]:
        """Ask for the id of each topic that exists; None where the broker gives none."""
        return {topic: state[0] for topic, state in self._describe(topics, timeout_s).items()}

    def topic_states(self, topics: Sequence[str]) -> dict[str, TopicState]:
        """Ask for all topics that exist, with the ends of their partitions.

        Raises
        ------
        BrokerUnreachable
            No answer within the timeout.
        AccessDenied
            The broker refuses this user.
        """
        until = time.monotonic() + self.timeout_s
        described = self._describe(topics, self.timeout_s)
        while True:
            before, settle = described, time.monotonic() < until
            every = [TopicPartition(t, p) for t, (_, parts) in before.items() for p in parts]
            low = self._list_offsets(every, OffsetSpec.earliest(), settle=settle)
            high = self._list_offsets(every, OffsetSpec.latest(), settle=settle)
            described = self._describe(topics, self.timeout_s)
            if described != before:
                continue  # deleted or made anew between the questions
            if low is not None and high is not None:
                break
            time.sleep(SETTLE_S)
        return {
            topic: TopicState(
                topic,
                topic_id,
                {p: low[topic, p] for p in partitions},
                {p: high[topic, p] for p in partitions},
            )
            for topic, (topic_id, partitions) in described.items()
        }

    def _describe(
        self, topics: Sequence[str], timeout_s: float
    ) -> dict[str, tuple[str | None, list[int]]]:
        if not topics:
            return {}
        if not self._has_controller():
            return self._listed(topics)
        futures = self.admin.describe_topics(
            TopicCollection(list(topics)), request_timeout=timeout_s
        )
        found: dict[str, tuple[str | None, list[int]]] = {}
        for topic, future in futures.items():
            try:
                described = future.result(timeout=timeout_s + GRACE_S)
            except KafkaException as error:
                if error.args[0].code() not in UNKNOWN_TOPIC:
                    raise self.translated(error.args[0], topic) from error
                continue
            topic_id = str(described.topic_id) if described.topic_id is not None else None
            found[topic] = (
                None if topic_id == NO_TOPIC_ID else topic_id,
                sorted(partition.id for partition in described.partitions),
            )
        return found

    def _has_controller(self) -> bool:
        """Say whether topics can be described: librdkafka's mock cluster can only list them."""
        if not self._controlled:
            try:
                metadata = self.admin.list_topics(timeout=self.timeout_s)
            except KafkaException as error:
                raise self.translated(error.args[0], "") from error
            self._controlled = metadata.controller_id in metadata.brokers
        return self._controlled

    def _listed(self, topics: Sequence[str]) -> dict[str, tuple[str | None, list[int]]]:
        """Give the partitions of the topics that exist, without ids."""
        known = self.admin.list_topics(timeout=self.timeout_s).topics
        return {
            topic: (None, sorted(known[topic].partitions)) for topic in topics if topic in known
        }

    def _list_offsets(
        self, partitions: list[TopicPartition], spec: OffsetSpec, *, settle: bool
    ) -> dict[tuple[str, int], int] | None:
        """Ask where partitions begin or end; None where the broker may be given time to settle.

        Notes
        -----
        Asked again alone, librdkafka 2.16.0 goes on with the leader epoch that it knows and gets
        the same refusal for minutes: the topics have to be described again in between.
        """
        if not partitions:
            return {}
        ends = {}
        futures = self.admin.list_offsets(
            dict.fromkeys(partitions, spec), request_timeout=self.timeout_s
        )
        for partition, future in futures.items():
            try:
                offset = future.result(timeout=self.timeout_s + GRACE_S).offset
            except KafkaException as error:
                if settle and error.args[0].code() in SETTLING:
                    return None
                raise self.translated(error.args[0], partition.topic) from error
            if offset < 0:  # librdkafka's answer for "no answer", from a broker that is starting
                raise BrokerUnreachable(
                    f"{self.bootstrap_servers}: {partition.topic}[{partition.partition}]: the "
                    f"broker did not say where it begins and ends; the next run tries again"
                )
            ends[partition.topic, partition.partition] = offset
        return ends

    def committed(self, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Ask for the group's committed offsets; partitions without one are left out."""
        asked = [TopicPartition(topic, partition) for topic, partition in partitions]
        if not asked:
            return {}
        try:
            answers = self.consumer.committed(asked, timeout=self.timeout_s)
        except KafkaException as error:
            raise self.translated(error.args[0], asked[0].topic) from error
        return {(a.topic, a.partition): a.offset for a in answers if a.offset >= 0}

    def known_names(self) -> list[str]:
        """List all topics that this user may see, for "did you mean"."""
        try:
            return list(self.admin.list_topics(timeout=self.timeout_s).topics)
        except KafkaException as error:
            raise self.translated(error.args[0], "") from error

    def mirror(self, offsets: Mapping[tuple[str, int], int]) -> str | None:
        """Commit offsets to the group for lag monitors; give the reason where that fails.

        Notes
        -----
        A commit that a frozen broker never answers holds up a synchronous call, and the closing
        of its consumer, for as long as the broker is frozen (librdkafka 2.16.0: no end within
        700 s). So commits go out from a consumer of their own, are waited for up to a deadline,
        and after one without an answer that consumer is left to the end of the process.
        """
        if not offsets:
            return None
        if self._abandoned:
            return "the broker did not answer an earlier commit"
        if self._mirror is None:
            self._mirror = Consumer(self._mirror_config)
        self._commit_answers.clear()
        wanted = [TopicPartition(t, p, offset) for (t, p), offset in offsets.items()]
        try:
            self._mirror.commit(offsets=wanted, asynchronous=True)
            until = time.monotonic() + min(self.timeout_s, COMMIT_TIMEOUT_S)
            while not self._commit_answers and time.monotonic() < until:
                self._mirror.poll(0.005)
        except KafkaException as error:
            return str(error.args[0].str())
        if not self._commit_answers:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._mirror))
            self._mirror, self._abandoned = None, True
            return "the broker does not answer"
        return self._commit_answers[0] or None

    def _take_commit_answer(
        self, error: KafkaError | None, partitions: list[TopicPartition]
    ) -> None:
        failed = [partition.error for partition in partitions if partition.error is not None]
        worst = error if error is not None else next(iter(failed), None)
        self._commit_answers.append(worst.str() if worst is not None else "")

    def start(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Begin to fetch these partitions, each at its offset."""
        with suppress(KafkaException):  # a broker that is silent now is told by the reading
            # Else the library looks for the partitions' leaders up to a second later.
            self.consumer.list_topics(timeout=min(self.timeout_s, LEADERS_S))
        self.consumer.assign([TopicPartition(t, p, offset) for (t, p), offset in offsets.items()])

    def leave(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Fetch these partitions no longer."""
        self.consumer.incremental_unassign([TopicPartition(t, p) for t, p in partitions])

    def jump(self, topic: str, partition: int, offset: int) -> None:
        """Go on with one partition at another offset."""
        self.consumer.incremental_unassign([TopicPartition(topic, partition)])
        self.consumer.incremental_assign([TopicPartition(topic, partition, offset)])

    def poll(self, most: int, timeout_s: float) -> list[Message]:
        """Give up to `most` messages and events that have arrived by the timeout."""
        try:
            messages: list[Message] = self.consumer.consume(most, timeout_s)
        except KafkaException as error:
            raise self.translated(error.args[0], "") from error
        return messages

    def low(self, topic: str, partition: int) -> int:
        """Ask for the first offset that the broker still has."""
        one, until = [TopicPartition(topic, partition)], time.monotonic() + self.timeout_s
        while True:
            settle = topic in self._describe([topic], self.timeout_s) and time.monotonic() < until
            ends = self._list_offsets(one, OffsetSpec.earliest(), settle=settle)
            if ends is not None:
                return ends[topic, partition]
            time.sleep(SETTLE_S)

    def seen_high(self, topic: str, partition: int) -> int | None:
        """Give the end of a partition as the newest fetch told it, None where none did."""
        ends = self.consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
        return ends[1] if ends[1] >= 0 else None

    def translated(self, error: KafkaError, topic: str) -> EtlError:
        """Tell which kind of broken world a Kafka error stands for."""
        where = f"{self.bootstrap_servers}: {topic + ': ' if topic else ''}"
        self.admin.poll(0)  # hears what the connection was told, a refused password for one
        cause = self._denied or error
        if cause.code() in DENIED:
            return AccessDenied(
                f"{where}{cause.str()}; check the user, its password and its right to read"
            )
        if cause.code() == KafkaError.TOPIC_EXCEPTION:
            return WrongSettings(f"{where}{cause.str()}; check the topic's name")
        said = cause.str()
        if cause.code() in UNANSWERED:
            said = f"no answer within {self.timeout_s:g} s ({said})"
        return BrokerUnreachable(f"{where}{said}; nothing is lost, the next run tries again")


class Connection(Protocol):
    """The settings that a connection is made of; `etl.config.settings.Settings` has them."""

    @property
    def bootstrap_servers(self) -> str:
        """Hosts and ports, with commas."""

    @property
    def group_id(self) -> str:
        """The consumer group."""

    @property
    def connect_timeout(self) -> timedelta:
        """How long a question may stay unanswered."""

    @property
    def kafka(self) -> Mapping[str, Any]:
        """All other settings, by librdkafka's names."""


def connect(settings: Connection) -> Client:
    """Make the connection that the settings describe; nothing is sent yet."""
    return Client(
        settings.bootstrap_servers,
        settings.group_id,
        settings.connect_timeout.total_seconds(),
        settings.kafka,
    )
