"""One connection to the broker, for reading.

The catalog says where to resume, so partitions are assigned with our own offsets: no group join,
which costs seconds, and no rebalance by others.
"""

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Protocol, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from etl.errors import AccessDenied, BrokerUnreachable, EtlError, WrongSettings
from etl.kafka.codes import DENIED, UNANSWERED
from etl.kafka.mirror import Mirror
from etl.kafka.topics import Topics
from etl.librdkafka import OWNED

log = logging.getLogger(__name__)

# Our choices; the user may change them.
TUNING: Mapping[str, Any] = {
    # The broker may hold an empty answer back so long, and an end of partition with it.
    "fetch.wait.max.ms": 20,
    # Large answers, and a queue that bounds memory; larger ones were not faster.
    "fetch.message.max.bytes": 4_000_000,
    "fetch.max.bytes": 12_000_000,
    "queued.max.messages.kbytes": 16_384,
    "queued.min.messages": 100_000,
    # Soon look again at a full queue: with the default of 1 s the drain ran dry.
    "fetch.queue.backoff.ms": 10,
    # Soon ask again a broker that is starting.
    "reconnect.backoff.max.ms": 2_000,
    "receive.message.max.bytes": 100_000_000,
}

# What OpenSSL says where a certificate is signed by nobody known, expired, or another host's.
UNPROVEN = "certificate verify failed"

# Finding the partitions' leaders may take so long before the reading starts.
LEADERS_S = 2.0


class Client:
    """A connection: `topics` has the questions about topics, `mirror` commits to the group."""

    def __init__(
        self, bootstrap_servers: str, group_id: str, timeout_s: float, extra: Mapping[str, Any]
    ) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.group_id = group_id
        self.timeout_s = timeout_s
        self.extra = extra
        self._denied: KafkaError | None = None
        self._unproven: KafkaError | None = None
        common: dict[str, Any] = {
            "bootstrap.servers": bootstrap_servers,
            "socket.connection.setup.timeout.ms": int(max(1.0, timeout_s) * 1000),
            "error_cb": self._note_error,
            "logger": logging.getLogger("librdkafka"),
        }
        tuned = common | dict(TUNING) | dict(extra)
        untuned = common | {key: value for key, value in extra.items() if key not in TUNING}
        owned = dict(OWNED) | {"group.id": group_id}
        try:
            self.consumer = Consumer(tuned | owned)
            self.admin = AdminClient(untuned)
        except KafkaException as error:
            raise WrongSettings(f"[kafka] settings: {error.args[0].str()}") from error
        except (ImportError, TypeError, ValueError) as error:  # confluent_kafka's own refusals
            raise WrongSettings(f"[kafka] settings: {error}") from error
        self.topics = Topics(self.admin, bootstrap_servers, timeout_s, self.translated)
        self.mirror = Mirror(untuned | owned, timeout_s)

    def twin(self) -> "Client":
        """Return a new connection like this one, without what this one knows of topics."""
        return Client(self.bootstrap_servers, self.group_id, self.timeout_s, self.extra)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.consumer.close()
        self.mirror.close()

    def _note_error(self, error: KafkaError) -> None:
        if error.code() in DENIED:
            self._denied = error
        if error.code() == KafkaError._SSL and UNPROVEN in error.str():
            self._unproven = error
        log.debug("broker: %s", error.str())

    def committed(self, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Return the group's committed offsets; partitions without one are left out."""
        asked = [TopicPartition(topic, partition) for topic, partition in partitions]
        if not asked:
            return {}
        try:
            answers = self.consumer.committed(asked, timeout=self.timeout_s)
        except KafkaException as error:
            raise self.translated(error.args[0], asked[0].topic) from error
        return {(a.topic, a.partition): a.offset for a in answers if a.offset >= 0}

    def start(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Start to fetch these partitions, each at its offset."""
        with suppress(KafkaException):  # the reading notices a silent broker
            # Without this, the library looks for leaders up to a second later.
            self.consumer.list_topics(timeout=min(self.timeout_s, LEADERS_S))
        self.consumer.assign([TopicPartition(t, p, offset) for (t, p), offset in offsets.items()])

    def leave(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Stop fetching these partitions."""
        self.consumer.incremental_unassign([TopicPartition(t, p) for t, p in partitions])

    def jump(self, topic: str, partition: int, offset: int) -> None:
        """Continue one partition at another offset."""
        self.consumer.incremental_unassign([TopicPartition(topic, partition)])
        self.consumer.incremental_assign([TopicPartition(topic, partition, offset)])

    def poll(self, most: int, timeout_s: float) -> list[Message]:
        """Return up to `most` messages and events that have arrived by the timeout."""
        try:
            messages: list[Message] = self.consumer.consume(most, timeout_s)
        except KafkaException as error:
            raise self.translated(error.args[0], "") from error
        return messages

    def seen_high(self, topic: str, partition: int) -> int | None:
        """Return the end of a partition as of the newest fetch, None where there was none."""
        ends = self.consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
        return ends[1] if ends[1] >= 0 else None

    def translated(self, error: KafkaError, topic: str) -> EtlError:
        """Return our exception for a Kafka error."""
        where = f"{self.bootstrap_servers}: {topic + ': ' if topic else ''}"
        self.admin.poll(0)  # lets `_note_error` hear of a refused password
        cause = self._denied or error
        said = cause.str()
        if cause.code() in DENIED:
            return AccessDenied(
                f"{where}{said}; check the user, its password and its right to read"
            )
        if cause.code() == KafkaError.TOPIC_EXCEPTION:
            return WrongSettings(f"{where}{said}; check the topic's name")
        if cause.code() in UNANSWERED and self._unproven:
            return WrongSettings(
                f"{where}the broker's certificate does not prove who it is "
                f"({self._unproven.str()}); in [kafka], name the file of the authority that signed "
                f"it as ssl.ca.location, and in bootstrap_servers the host that it is made for"
            )
        if cause.code() in UNANSWERED:
            said = f"no answer within {self.timeout_s:g} s ({said})"
        return BrokerUnreachable(f"{where}{said}; nothing is lost, the next run tries again")


class _Connection(Protocol):
    """The settings that a connection needs; `etl.config.settings.Settings` has them."""

    @property
    def bootstrap_servers(self) -> str: ...
    @property
    def group_id(self) -> str: ...
    @property
    def connect_timeout(self) -> timedelta: ...
    @property
    def kafka(self) -> Mapping[str, Any]: ...


def connect(settings: _Connection) -> Client:
    """Return the connection that the settings describe; nothing is sent yet."""
    timeout_s = settings.connect_timeout.total_seconds()
    return Client(settings.bootstrap_servers, settings.group_id, timeout_s, settings.kafka)
