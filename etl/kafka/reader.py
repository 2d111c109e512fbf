"""Read batches until the stream falls silent, and account for every offset passed over.

Silence is not an answer: a run is complete only when every partition has reported its end at
least once, and one that reports nothing within `connect_timeout` is said to be silent.

Nor is a message proof of the life that it belongs to: a topic may be deleted and created again
while it is read, and the broker's answers go on at the old offset. So the topic's id is asked
for after messages were read and before they are handed on; while it is the same, all of them
are of the life that was planned.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from etl.errors import AccessDenied, BrokerUnreachable, EtlError
from etl.kafka.buffers import Buffer
from etl.kafka.client import Client
from etl.kafka.codes import DENIED, END, OUT_OF_RANGE, UNKNOWN_TOPIC
from etl.kafka.fetch import read_records
from etl.kafka.identity import PATIENCE_S, PROOF_S, PROOF_TIMEOUT_S
from etl.records import Batch, Gap, LastRecord, Partition, Position, Span, digest

log = logging.getLogger(__name__)
BATCH_BYTES = 16_000_000
BATCH_MESSAGES = 100_000
POLL_MESSAGES = 1000
POLL_BYTES = 8_000_000
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop reading; `max_messages` None: no bound."""

    poll_timeout_s: float
    connect_timeout_s: float
    max_messages: int | None
    max_seconds: float
    flush_s: float


class Reader:
    """One drain's view of the stream: where each partition stands, and why reading stopped.

    After `batches` has ended, `stopped` says why: `drained`, `silent`, `max_messages`,
    `max_seconds`, `asked`, or `unproven` where the broker fell silent before it could be asked
    for a topic's id. `recreated` has the topics whose life ended while they were read, `refused`
    the error, in words and as a code, of a partition that can't be read further.
    """

    def __init__(
        self,
        client: Client,
        positions: Sequence[Position],
        limits: Limits,
        topic_ids: Mapping[str, str | None],
        asked_to_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.client = client
        self.topic_ids = topic_ids
        self.limits = limits
        self.asked_to_stop = asked_to_stop
        self.origin: dict[Partition, Position] = {(p.topic, p.partition): p for p in positions}
        self.position = {key: p.start for key, p in self.origin.items()}
        self.stopped = ""
        self.restarted: dict[Partition, int] = {}
        self.truncated: set[Partition] = set()
        self.recreated: set[str] = set()
        self.refused: dict[Partition, tuple[str, int]] = {}
        self.messages = 0
        self._flushed = dict(self.position)
        self._proven = dict(self.position)
        self._closed: set[str] = set()
        self._vanished: set[str] = set()
        self._seen_high = {key: p.end for key, p in self.origin.items()}
        self._pending = set(self.origin)
        self._buffers = {p.topic: Buffer() for p in positions}
        self._message_bytes = 1000.0
        self._started = self._arrived = self._handed_on = self._asked = time.monotonic()
        self._heard = dict.fromkeys(self.origin, self._started)

    @property
    def silent(self) -> list[Partition]:
        """The partitions that have not reported their end, nor anything for `connect_timeout`.

        Where nothing came from anywhere, a run that ended sooner says so too.
        """
        heard = self.messages or len(self._pending) < len(self.origin)
        patience = self.limits.connect_timeout_s if heard else 0.0
        until = time.monotonic() - patience
        return sorted(key for key in self._pending if self._heard[key] <= until)

    def batches(self) -> Iterator[Batch | None]:
        """Go through the stream in batches of one topic each, until a reason to stop.

        After `flush_s` without one all that has come is given, and then None.
        """
        if not self.origin:
            self.stopped = "drained"
            return
        self.client.start(self.position)
        while not self.stopped:
            heard = self.client.poll(self._poll_size(), POLL_S)
            yield from self._handing_on(self._take(heard))
            if time.monotonic() - self._asked >= PROOF_S:
                self._prove([topic for topic, buffer in self._buffers.items() if buffer.values])
            overdue = time.monotonic() - self._handed_on >= self.limits.flush_s
            yield from self._handing_on(self._full_buffers(overdue=overdue))
            if overdue:
                self._handed_on = time.monotonic()
                yield None
            reason = self._reason_to_stop(quiet=not heard)
            self.stopped = self.stopped or reason  # type: ignore[redundant-expr]  # _take sets it
        yield from self._handing_on(self._flush(topic) for topic in list(self._buffers))

    def lag(self) -> int | None:
        """Count the messages still on the broker, None where it did not say."""
        lag = 0
        for (topic, partition), position in self.position.items():
            if topic in self.recreated:
                continue
            high = self.client.seen_high(topic, partition)
            if high is None:
                return None
            lag += max(0, high - position)
        return lag

    def _poll_size(self) -> int:
        if not self.messages and self._pending:
            return len(self._pending)  # as many ends where nothing is new: not waited for longer
        return max(1, min(POLL_MESSAGES, int(POLL_BYTES / self._message_bytes)))

    def _handing_on(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Hand batches on; the time that the other stages take is not the broker's silence."""
        for batch in batches:
            if not (batch.spans or batch.gaps):
                continue
            before = time.monotonic()
            yield batch
            away = time.monotonic() - before
            self._arrived += away
            self._handed_on = time.monotonic()
            self._heard = {key: heard + away for key, heard in self._heard.items()}

    def _take(self, heard: Sequence[Any]) -> Iterator[Batch]:
        """Sort what was polled into messages and events."""
        events = [message for message in heard if message.error() is not None]
        messages = [m for m in heard if m.error() is None] if events else heard
        if messages:
            self._arrived = time.monotonic()
            most = self.limits.max_messages
            if most is not None and self.messages + len(messages) >= most:
                messages = messages[: most - self.messages]
                events = []
                self.stopped = "max_messages"
            self.messages += len(messages)
            for topic, own in self._by_topic(messages):
                self._append(topic, own)
        for event in events:
            yield from self._event(event)

    def _by_topic(self, messages: Sequence[Any]) -> Iterator[tuple[str, Sequence[Any]]]:
        if len(self._buffers) == 1:
            yield next(iter(self._buffers)), messages
            return
        sorted_out: dict[str, list[Any]] = {}
        for message in messages:
            sorted_out.setdefault(message.topic(), []).append(message)
        yield from sorted_out.items()

    def _append(self, topic: str, messages: Sequence[Any]) -> None:
        if topic in self._closed:
            return
        buffer = self._buffers[topic]
        partitions = [message.partition() for message in messages]
        offsets = [message.offset() for message in messages]
        values = [message.value() for message in messages]
        size = sum(map(len, filter(None, values)))
        buffer.partitions += partitions
        buffer.offsets += offsets
        stamps = [message.timestamp() for message in messages]
        buffer.timestamps_ms += [stamp if kind else None for kind, stamp in stamps]
        buffer.values += values
        buffer.size_bytes += size
        self._message_bytes = max(1.0, size / len(messages))
        for partition, offset in dict(zip(partitions, offsets, strict=True)).items():
            self.position[topic, partition] = offset + 1
            self._heard[topic, partition] = self._arrived
            self.refused.pop((topic, partition), None)

    def _event(self, event: Any) -> Iterator[Batch]:
        """Take note of what the broker says of a partition: its end, or an error."""
        error, key = event.error(), (event.topic(), event.partition())
        if error.code() in DENIED:
            raise AccessDenied(self.client.translated(error, event.topic() or "").args[0])
        if key not in self.position:
            log.debug("broker: %s", error.str())
            return
        if error.code() == END:
            self._heard[key] = time.monotonic()
            self.position[key] = max(self.position[key], event.offset())
            self._pending.discard(key)
            self.refused.pop(key, None)
        elif error.code() in OUT_OF_RANGE:
            self._heard[key] = time.monotonic()
            yield from self._out_of_range(key)
        elif error.code() in UNKNOWN_TOPIC:
            if self.topic_ids.get(key[0]) is None and key[0] not in self.recreated:
                self._vanished.add(key[0])
                self._leave(key[0])
            self._prove([key[0]])
            yield self._flush(key[0])
        elif self.refused.get(key, ("", 0))[0] != error.str():  # it is said again and again
            self.refused[key] = (error.str(), error.code())
            log.warning("%s[%d]: %s", *key, error.str())

    def _out_of_range(self, key: Partition) -> Iterator[Batch]:
        """The broker has no such offset: it dropped alerts, or its log has become shorter."""
        topic, partition = key
        self._prove([topic])
        yield self._flush(topic)
        if topic in self.recreated or self.stopped:
            return
        low, position, origin = (
            self.client.low(topic, partition),
            self.position[key],
            self.origin[key],
        )
        if low > position:
            reason = "the broker dropped it while this run was reading"
            span = Span(topic, origin.incarnation, partition, position, low)
            self._restart(key, low)
            yield replace(self._empty(topic), gaps=(Gap(span, reason),))
        elif origin.reason == "group" and position == origin.start:
            log.warning(
                "%s[%d]: the group's committed offset %d is beyond the end; starting at %d",
                topic,
                partition,
                position,
                low,
            )
            self.restarted[key] = low
            self._restart(key, low)
        else:
            self.truncated.add(key)
            self._pending.discard(key)

    def _restart(self, key: Partition, offset: int) -> None:
        self.position[key] = self._flushed[key] = self._proven[key] = offset
        self.client.jump(*key, offset)

    def _full_buffers(self, *, overdue: bool) -> Iterator[Batch]:
        for topic, buffer in list(self._buffers.items()):
            full = buffer.size_bytes >= BATCH_BYTES or len(buffer.values) >= BATCH_MESSAGES
            if full or overdue or topic in self.recreated:
                yield self._flush(topic)
        if sum(buffer.size_bytes for buffer in self._buffers.values()) >= BATCH_BYTES:
            yield self._flush(max(self._buffers, key=lambda t: self._buffers[t].size_bytes))

    def _flush(self, topic: str) -> Batch:
        """Take a topic's messages out, with the spans that reading them passed over.

        Only what is proven to be of the planned life; if there is more, its reading ends here.
        """
        keys = [key for key in self.position if key[0] == topic]
        moved = any(self.position[key] > self._flushed[key] for key in keys)
        if topic in self._closed or not (moved or topic in self.recreated):
            return self._empty(topic)
        if topic not in self.recreated and not self._prove([topic]):
            self.stopped = "unproven"
        ends = {key[1]: self._proven[key] for key in keys}
        gaps: tuple[Gap, ...] = ()
        if topic in self.recreated:
            self._closed.add(topic)
            ends, gaps = self._end_of_old_life(topic, keys)
        batch = replace(self._batch(topic, keys, ends), gaps=gaps)
        self._buffers[topic] = Buffer()
        self._flushed.update({key: ends[key[1]] for key in keys})
        return batch

    def _empty(self, topic: str) -> Batch:
        incarnation = next(p.incarnation for p in self.origin.values() if p.topic == topic)
        return Batch(topic, incarnation, [], [], [], [], ())

    def _batch(self, topic: str, keys: Sequence[Partition], ends: Mapping[int, int]) -> Batch:
        """Make a batch of the buffered messages below these offsets."""
        buffer = self._buffers[topic]
        rows = range(len(buffer.values))
        if any(ends[key[1]] < self.position[key] for key in keys):
            kept = [r for r in rows if buffer.offsets[r] < ends[buffer.partitions[r]]]
            buffer = Buffer(
                [buffer.partitions[r] for r in kept],
                [buffer.offsets[r] for r in kept],
                [buffer.timestamps_ms[r] for r in kept],
                [buffer.values[r] for r in kept],
            )
        spans = tuple(
            Span(topic, self.origin[key].incarnation, key[1], self._flushed[key], ends[key[1]])
            for key in keys
            if ends[key[1]] > self._flushed[key]
        )
        if sum(span.end - span.start for span in spans) < len(buffer.values):
            raise EtlError(f"{topic}: more messages than offsets were read; please report this")
        newest = dict(zip(buffer.partitions, range(len(buffer.values)), strict=True))
        return replace(
            self._empty(topic),
            partitions=buffer.partitions,
            offsets=buffer.offsets,
            timestamps_ms=buffer.timestamps_ms,
            values=buffer.values,
            spans=spans,
            last={
                partition: LastRecord(
                    buffer.offsets[row], buffer.timestamps_ms[row], digest(buffer.values[row])
                )
                for partition, row in newest.items()
            },
        )

    def _prove(self, topics: Sequence[str]) -> bool:
        """Ask for the topics' ids; while one is the same, all that was read of it is proven."""
        if self.stopped == "unproven":
            return False
        asked = [
            topic
            for topic in topics
            if self.topic_ids.get(topic) is not None and topic not in self.recreated
        ]
        self._asked = time.monotonic()
        try:
            ids = self._ids(asked)
        except BrokerUnreachable:
            return False
        for key, position in self.position.items():
            if key[0] not in topics or key[0] in self.recreated:
                continue
            if key[0] in asked and ids.get(key[0]) != self.topic_ids[key[0]]:
                continue
            self._proven[key] = position
            high = self.client.seen_high(*key) or 0
            self._seen_high[key] = max(position, high, self._seen_high[key])
        for topic in asked:
            if ids.get(topic) != self.topic_ids[topic]:
                if topic not in ids:
                    self._vanished.add(topic)
                self._leave(topic)
        return True

    def _ids(self, topics: Sequence[str]) -> dict[str, str | None]:
        """Ask for the topics' ids; a broker that was just started may not know of a topic yet."""
        patience = min(PROOF_TIMEOUT_S, self.limits.connect_timeout_s)
        until = time.monotonic() + patience
        while True:
            ids = self.client.topic_ids(topics, patience)
            if len(ids) == len(topics) or time.monotonic() >= until:
                return ids
            time.sleep(PATIENCE_S)

    def _leave(self, topic: str) -> None:
        """Read no further in a topic whose life has ended."""
        self.recreated.add(topic)
        keys = [key for key in self.position if key[0] == topic]
        self._pending.difference_update(keys)
        self.client.leave(keys)

    def _end_of_old_life(
        self, topic: str, keys: Sequence[Partition]
    ) -> tuple[dict[int, int], tuple[Gap, ...]]:
        """Find where the old life's messages end, and what it took with it unread.

        What the new life has at the same offset, with the same time and content, will be read
        again in the next run; everything before the first such message is of the old life. Where
        the new life can't be asked, only what is proven is kept, and the rest said to be lost.
        """
        buffer = self._buffers[topic]
        ends = {key[1]: self._proven[key] for key in keys}
        doubtful = {
            key: self._proven[key]
            for key in keys
            if self._proven[key] < self.position[key] and topic not in self._vanished
        }
        new_life, unanswered = read_records(self.client, doubtful, self.position)
        not_old = {key[1] for key in unanswered}
        for row, (partition, offset) in enumerate(
            zip(buffer.partitions, buffer.offsets, strict=True)
        ):
            mine = (buffer.timestamps_ms[row], buffer.values[row])
            if offset >= self._proven[topic, partition] and partition not in not_old:
                if new_life.get((topic, partition, offset)) == mine:
                    not_old.add(partition)
                else:
                    ends[partition] = offset + 1
        highs = {key: self._seen_high[key] for key in keys}
        highs |= {key: max(highs[key], self.position[key]) for key in unanswered}
        gaps = tuple(
            Gap(
                Span(topic, self.origin[key].incarnation, key[1], ends[key[1]], high),
                "the topic was deleted before it was read to its end",
            )
            for key, high in highs.items()
            if high > ends[key[1]]
        )
        return ends, gaps

    def _reason_to_stop(self, *, quiet: bool) -> str:
        now = time.monotonic()
        if self.asked_to_stop():
            return "asked"
        if now - self._started >= self.limits.max_seconds:
            return "max_seconds"
        if not self._pending:
            return "drained" if now - self._arrived >= self.limits.poll_timeout_s else ""
        longest = now - min(self._heard[key] for key in self._pending)
        return "silent" if quiet and longest >= self.limits.connect_timeout_s else ""
