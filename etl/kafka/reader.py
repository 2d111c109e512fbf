"""Read batches until the stream falls silent, and account for every offset passed over.

Silence is not an answer: a run is complete only when every partition has reported its end at
least once. One that reports nothing within `connect_timeout` is called silent. And messages are
handed on only when `etl.kafka.identity` has proven that they are of the planned incarnation.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from etl.errors import AccessDenied
from etl.kafka.client import Client
from etl.kafka.codes import DENIED, END, OUT_OF_RANGE, UNKNOWN_TOPIC
from etl.kafka.identity import PROOF_S, Identity
from etl.kafka.progress import SYSTEM_CLOCK, Clock, PartitionProgress, TopicProgress, topics_of
from etl.records import Batch, Gap, Partition, Position

log = logging.getLogger(__name__)
BATCH_BYTES = 16_000_000
BATCH_MESSAGES = 100_000
POLL_MESSAGES = 1000
POLL_BYTES = 8_000_000
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop reading; `max_messages` None: no limit."""

    poll_timeout_s: float
    connect_timeout_s: float
    max_messages: int | None
    max_seconds: float
    flush_s: float


class StopReason(StrEnum):
    """Why reading stopped.

    `UNPROVEN`: the broker fell silent before it could be asked for a topic's id.
    """

    DRAINED = "drained"
    SILENT = "silent"
    MAX_MESSAGES = "max_messages"
    MAX_SECONDS = "max_seconds"
    ASKED = "asked"
    UNPROVEN = "unproven"


class Reader:
    """One drain's view of the stream: how far it is read, and why reading stopped.

    Attributes
    ----------
    stopped : StopReason | None
        None until `batches` has ended.
    messages : int
        How many have arrived.
    """

    def __init__(
        self,
        client: Client,
        positions: Sequence[Position],
        limits: Limits,
        topic_ids: Mapping[str, str | None],
        asked_to_stop: Callable[[], bool] = lambda: False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.client = client
        self.limits = limits
        self.asked_to_stop = asked_to_stop
        self.clock = clock
        self.stopped: StopReason | None = None
        self.messages = 0
        self._started = self._arrived = self._handed_on = clock.now()
        self._topics = topics_of(positions, topic_ids, self._started)
        self._partitions = {
            each.key: each for topic in self._topics.values() for each in topic.partitions.values()
        }
        self._identity = Identity(client, limits.connect_timeout_s, clock)
        self._is_unproven = False
        self._message_bytes = 1000.0

    @property
    def position(self) -> dict[Partition, int]:
        """The next offset to read, by partition."""
        return {key: each.position for key, each in self._partitions.items()}

    @property
    def recreated(self) -> set[str]:
        """The topics that were deleted while they were read."""
        return {name for name, topic in self._topics.items() if topic.is_ended}

    @property
    def restarted(self) -> dict[Partition, int]:
        """Where reading began in partitions whose group offset was beyond the end."""
        return {k: p.restarted for k, p in self._partitions.items() if p.restarted is not None}

    @property
    def refused(self) -> dict[Partition, tuple[str, int]]:
        """The error that stops the reading of a partition, in words and as a code."""
        return {k: p.refused for k, p in self._partitions.items() if p.refused is not None}

    @property
    def truncated(self) -> set[Partition]:
        """The partitions whose log ends before what is already stored."""
        return {key for key, each in self._partitions.items() if each.is_truncated}

    @property
    def silent(self) -> list[Partition]:
        """The partitions that have not reported their end, nor anything for `connect_timeout`.

        If no partition has reported anything, all are silent, even when the run ended sooner.
        """
        pending = self._pending()
        is_anything_heard = self.messages or len(pending) < len(self._partitions)
        patience = self.limits.connect_timeout_s if is_anything_heard else 0.0
        now = self.clock.now()
        return sorted(each.key for each in pending if now - each.heard >= patience)

    def lag(self) -> int | None:
        """Return how many messages are still on the broker, None where it did not say."""
        lag = 0
        for topic in self._topics.values():
            for each in [] if topic.is_ended else topic.partitions.values():
                high = self.client.seen_high(*each.key)
                if high is None:
                    return None
                lag += max(0, high - each.position)
        return lag

    def batches(self) -> Iterator[Batch | None]:
        """Go through the stream in batches of one topic each, until there is a reason to stop.

        After `flush_s` without a batch come all messages that have arrived, and then None. The
        time that other stages take between batches does not count as the broker's silence.
        """
        for batch in self._stream():
            before = self.clock.now()
            yield batch
            self._handed_on = self.clock.now()
            away = self._handed_on - before
            self._arrived += away
            for each in self._partitions.values():
                each.heard += away

    def _stream(self) -> Iterator[Batch | None]:
        if not self._partitions:
            self.stopped = StopReason.DRAINED
            return
        self.client.start(self.position)
        while self.stopped is None:
            heard = self.client.poll(self._poll_size(), POLL_S)
            yield from self._take(heard)
            if self.clock.now() - self._identity.asked >= PROOF_S:
                self._prove([topic for topic in self._topics.values() if topic.buffer.values])
            is_overdue = self.clock.now() - self._handed_on >= self.limits.flush_s
            yield from self._full_buffers(is_overdue=is_overdue)
            if is_overdue:
                yield None
            self.stopped = self._reason_to_stop(is_quiet=not heard)
        for topic in self._topics.values():
            yield from self._flush(topic)
        if self._is_unproven:
            self.stopped = StopReason.UNPROVEN

    def _poll_size(self) -> int:
        pending = self._pending()
        if not self.messages and pending:
            return len(pending)  # where nothing is new, the poll returns with the last end
        return max(1, min(POLL_MESSAGES, int(POLL_BYTES / self._message_bytes)))

    def _pending(self) -> list[PartitionProgress]:
        return [each for each in self._partitions.values() if each.is_pending]

    def _take(self, heard: Sequence[Any]) -> Iterator[Batch]:
        """Buffer the messages that a poll returned, and react to the events."""
        events = [each for each in heard if each.error() is not None]
        messages = [each for each in heard if each.error() is None] if events else heard
        if messages:
            self._arrived = self.clock.now()
            most = self.limits.max_messages
            if most is not None and self.messages + len(messages) >= most:
                messages, events = messages[: most - self.messages], []
            self.messages += len(messages)
            for topic, own in self._by_topic(messages):
                self._append(topic, own)
        for event in events:
            yield from self._event(event)

    def _by_topic(self, messages: Sequence[Any]) -> Iterator[tuple[TopicProgress, Sequence[Any]]]:
        if len(self._topics) == 1:
            yield next(iter(self._topics.values())), messages
            return
        by_name: dict[str, list[Any]] = {}
        for message in messages:
            by_name.setdefault(message.topic(), []).append(message)
        for name, own in by_name.items():
            yield self._topics[name], own

    def _append(self, topic: TopicProgress, messages: Sequence[Any]) -> None:
        if topic.is_closed:
            return
        size_before = topic.buffer.size_bytes
        newest = topic.buffer.append(messages)
        added = topic.buffer.size_bytes - size_before
        self._message_bytes = max(1.0, added / len(messages))
        for partition, offset in newest.items():
            each = topic.partitions[partition]
            each.position, each.heard, each.refused = offset + 1, self._arrived, None

    def _event(self, event: Any) -> Iterator[Batch]:
        """React to what the broker says of a partition: its end, or an error."""
        error, key = event.error(), (event.topic(), event.partition())
        if error.code() in DENIED:
            raise AccessDenied(self.client.translated(error, event.topic() or "").args[0])
        if key not in self._partitions:
            log.debug("broker: %s", error.str())
            return
        topic, each = self._topics[key[0]], self._partitions[key]
        if error.code() == END:
            each.heard, each.is_pending, each.refused = self.clock.now(), False, None
            each.position = max(each.position, event.offset())
        elif error.code() in OUT_OF_RANGE:
            each.heard = self.clock.now()
            yield from self._out_of_range(topic, each)
        elif error.code() in UNKNOWN_TOPIC:
            if topic.topic_id is None and not topic.is_ended:
                self._identity.end(topic, is_gone=True)
            self._prove([topic])
            yield from self._flush(topic)
        elif each.refused is None or each.refused[0] != error.str():  # the library repeats it
            each.refused = (error.str(), error.code())
            log.warning("%s[%d]: %s", *key, error.str())

    def _out_of_range(self, topic: TopicProgress, each: PartitionProgress) -> Iterator[Batch]:
        """The broker has no such offset: it dropped alerts, or its log has become shorter."""
        yield from self._flush(topic)
        if not self._must_prove(topic):
            return
        low, position, origin = self.client.topics.low(*each.key), each.position, each.origin
        if not self._must_prove(topic):  # or else the answer may be of another incarnation
            return
        if low > position:
            reason = "the broker dropped it while this run was reading"
            self._restart(each, low)
            gap = Gap(topic.span(origin.partition, position, low), reason)
            yield Batch(topic.topic, topic.incarnation, [], [], [], [], (), (gap,))
        elif origin.reason == "group" and position == origin.start:
            beyond = "%s[%d]: the group's committed offset %d is beyond the end; starting at %d"
            log.warning(beyond, *each.key, position, low)
            each.restarted, each.seen_high = low, origin.end
            self._restart(each, low)
        else:
            each.is_truncated, each.is_pending = True, False

    def _restart(self, each: PartitionProgress, offset: int) -> None:
        each.move(offset)
        self.client.jump(*each.key, offset)

    def _full_buffers(self, *, is_overdue: bool) -> Iterator[Batch]:
        topics = self._topics.values()
        for topic in topics:
            buffer = topic.buffer
            is_full = buffer.size_bytes >= BATCH_BYTES or len(buffer.values) >= BATCH_MESSAGES
            if is_full or is_overdue or topic.is_ended:
                yield from self._flush(topic)
        if sum(topic.buffer.size_bytes for topic in topics) >= BATCH_BYTES:
            yield from self._flush(max(topics, key=lambda topic: topic.buffer.size_bytes))

    def _flush(self, topic: TopicProgress) -> Iterator[Batch]:
        """Hand on what was read of a topic, as far as it is proven to be as planned."""
        if topic.is_closed or not (topic.has_moved or topic.is_ended):
            return
        self._must_prove(topic)
        if topic.is_ended:
            topic.is_closed = True
            batch = topic.hand_on(*self._identity.end_of(topic))
        else:
            batch = topic.hand_on(topic.proven)
        if batch.spans or batch.gaps:
            yield batch

    def _prove(self, topics: Sequence[TopicProgress]) -> bool:
        """Ask for the topics' ids, unless the broker has already left that question open."""
        return not self._is_unproven and self._identity.prove(topics)

    def _must_prove(self, topic: TopicProgress) -> bool:
        """Prove a topic, or stop reading; return whether it is still as planned."""
        if not self._prove([topic]):
            self._is_unproven = True
        return not (topic.is_ended or self._is_unproven)

    def _reason_to_stop(self, *, is_quiet: bool) -> StopReason | None:
        now, limits, pending = self.clock.now(), self.limits, self._pending()
        if self._is_unproven:
            return StopReason.UNPROVEN
        if limits.max_messages is not None and self.messages >= limits.max_messages:
            return StopReason.MAX_MESSAGES
        if self.asked_to_stop():
            return StopReason.ASKED
        if now - self._started >= limits.max_seconds:
            return StopReason.MAX_SECONDS
        if not pending:
            is_over = now - self._arrived >= limits.poll_timeout_s
            return StopReason.DRAINED if is_over else None
        longest = now - min(each.heard for each in pending)
        is_silent = is_quiet and longest >= limits.connect_timeout_s
        return StopReason.SILENT if is_silent else None
