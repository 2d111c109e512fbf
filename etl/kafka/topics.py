"""The topics as the broker has them: ids, partitions, and where these begin and end."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from etl.errors import BrokerUnreachable, EtlError
from etl.kafka.codes import SETTLING, UNKNOWN_TOPIC

SETTLE_S = 0.1

# The library keeps its own timeouts; an answer later than this is its bug, not a silent broker.
GRACE_S = 5.0

# Base64 of the all-zero id: what a broker without topic ids answers.
NO_TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAAA"
Translation = Callable[[KafkaError, str], EtlError]


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as the broker has it: its ids, and the offsets `[low, high)` of each partition."""

    topic: str
    topic_id: str | None
    cluster_id: str | None
    low: Mapping[int, int]
    high: Mapping[int, int]


class Topics:
    """Questions about topics; each raises the error that `translated` makes of Kafka's."""

    def __init__(
        self, admin: AdminClient, bootstrap_servers: str, timeout_s: float, translated: Translation
    ) -> None:
        self.admin = admin
        self.bootstrap_servers = bootstrap_servers
        self.timeout_s = timeout_s
        self.translated = translated

    def names(self) -> list[str]:
        """Return the names of all topics that this user may see."""
        return list(self._listed().topics)

    def ids(self, topics: Sequence[str], timeout_s: float) -> dict[str, str | None]:
        """Return the id of each topic that exists; None where the broker gives none."""
        return {topic: found[0] for topic, found in self._describe(topics, timeout_s).items()}

    def low(self, topic: str, partition: int) -> int:
        """Return the first offset that the broker still has."""
        one, until = [TopicPartition(topic, partition)], time.monotonic() + self.timeout_s
        while True:
            settle = topic in self._describe([topic], self.timeout_s) and time.monotonic() < until
            ends = self._list_offsets(one, OffsetSpec.earliest(), settle=settle)
            if ends is not None:
                return ends[topic, partition]
            time.sleep(SETTLE_S)

    def states(self, topics: Sequence[str]) -> dict[str, TopicState]:
        """Return the state of each topic that exists.

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
            cluster_id = self._cluster_id()
            described = self._describe(topics, self.timeout_s)
            if described != before:
                continue  # deleted or recreated between the questions
            if low is not None and high is not None:
                break
            time.sleep(SETTLE_S)
        states = {}
        for topic, (topic_id, parts) in described.items():
            lows, highs = ({p: ends[topic, p] for p in parts} for ends in (low, high))
            states[topic] = TopicState(topic, topic_id, cluster_id, lows, highs)
        return states

    def _describe(
        self, topics: Sequence[str], timeout_s: float
    ) -> dict[str, tuple[str | None, list[int]]]:
        if not topics:
            return {}
        asked = TopicCollection(list(topics))
        futures = self.admin.describe_topics(asked, request_timeout=timeout_s)
        found: dict[str, tuple[str | None, list[int]]] = {}
        for topic, future in futures.items():
            try:
                described = future.result(timeout=timeout_s + GRACE_S)
            except KafkaException as error:
                if error.args[0].code() not in UNKNOWN_TOPIC:
                    raise self.translated(error.args[0], topic) from error
                continue
            topic_id = None if described.topic_id is None else str(described.topic_id)
            partitions = sorted(partition.id for partition in described.partitions)
            found[topic] = (None if topic_id == NO_TOPIC_ID else topic_id, partitions)
        return found

    def _listed(self) -> Any:  # by confluent_kafka's own types there is never a cluster id
        try:
            return self.admin.list_topics(timeout=self.timeout_s)
        except KafkaException as error:
            raise self.translated(error.args[0], "") from error

    def _cluster_id(self) -> str | None:
        """Return the id of the broker's cluster; None where it gives none.

        Notes
        -----
        The id comes with the list of topics. `describe_cluster` would need no list, but librdkafka
        2.16.0 ends the process where a broker gives no id, and reads beyond the id's end
        (https://github.com/DataDog/integrations-core/pull/24437). This can go when both are mended.
        """
        return self._listed().cluster_id or None

    def _list_offsets(
        self, partitions: list[TopicPartition], spec: OffsetSpec, *, settle: bool
    ) -> dict[tuple[str, int], int] | None:
        """Return where partitions begin or end; None where the broker needs time to settle.

        Notes
        -----
        The caller describes the topics again before it repeats the question. Without that,
        librdkafka 2.16.0 keeps the leader epoch that it knows and is refused for minutes, as in
        https://github.com/confluentinc/librdkafka/issues/4620, which was mended for consumers
        only. This can go when its admin client refreshes the epoch too.
        """
        if not partitions:
            return {}
        ends = {}
        asked = dict.fromkeys(partitions, spec)
        futures = self.admin.list_offsets(asked, request_timeout=self.timeout_s)
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
