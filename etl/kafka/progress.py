"""How far a drain has read: one record for each partition, one for each topic."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from etl.errors import EtlError
from etl.kafka.buffers import Buffer
from etl.records import Batch, Gap, Partition, Position, Span


@dataclass(frozen=True, slots=True)
class Clock:
    """How time passes; a simulated broker has its own."""

    now: Callable[[], float] = time.monotonic
    wait: Callable[[float], None] = time.sleep


SYSTEM_CLOCK = Clock()


@dataclass(slots=True)
class PartitionProgress:
    """How far one partition is read.

    Offsets below `flushed` are handed on, those below `proven` belong to the planned incarnation
    for certain, those below `position` are read. `seen_high` is the farthest end that the planned
    incarnation is known to have had. `heard` is when the broker last reported anything,
    `is_pending` until it has reported an end. `refused` has the error that stops the reading, in
    words and as a code. `restarted` is where reading began after all, when the group's offset was
    beyond the end; `is_truncated`, when the catalog's offset is.
    """

    origin: Position
    heard: float
    position: int = field(init=False)
    flushed: int = field(init=False)
    proven: int = field(init=False)
    seen_high: int = field(init=False)
    is_pending: bool = True
    refused: tuple[str, int] | None = None
    restarted: int | None = None
    is_truncated: bool = False

    def __post_init__(self) -> None:
        self.move(self.origin.start)
        self.seen_high = self.origin.end

    @property
    def key(self) -> Partition:
        """Topic and number."""
        return self.origin.topic, self.origin.partition

    def move(self, offset: int) -> None:
        """Continue at another offset."""
        self.position = self.flushed = self.proven = offset


@dataclass(slots=True)
class TopicProgress:
    """How far one topic is read, and its messages that are not handed on yet.

    `is_ended` when the planned incarnation was deleted, `is_gone` when no other one was there,
    `is_closed` when its last batch has been handed on.
    """

    topic: str
    incarnation: int
    topic_id: str | None
    partitions: dict[int, PartitionProgress]
    buffer: Buffer = field(default_factory=Buffer)
    is_ended: bool = False
    is_gone: bool = False
    is_closed: bool = False

    @property
    def has_moved(self) -> bool:
        """Whether anything was read that is not handed on."""
        return any(each.position > each.flushed for each in self.partitions.values())

    @property
    def proven(self) -> dict[int, int]:
        """The end of what belongs to the planned incarnation for certain, by partition."""
        return {number: each.proven for number, each in self.partitions.items()}

    def prove(self, highs: Mapping[Partition, int]) -> None:
        """Note that all that was read, and these ends, belong to the planned incarnation."""
        for each in self.partitions.values():
            each.proven = each.position
            each.seen_high = max(each.position, highs[each.key], each.seen_high)

    def hand_on(self, ends: Mapping[int, int], gaps: tuple[Gap, ...] = ()) -> Batch:
        """Return what was read below these offsets, and forget what was read beyond them."""
        spans = tuple(
            self.span(number, each.flushed, ends[number])
            for number, each in self.partitions.items()
            if ends[number] > each.flushed
        )
        cut = any(ends[number] < each.position for number, each in self.partitions.items())
        buffer = self.buffer.below(ends) if cut else self.buffer
        if sum(span.end - span.start for span in spans) < len(buffer.values):
            raise EtlError(
                f"{self.topic}: more messages than offsets were read; please report this"
            )
        self.buffer = Buffer()
        for number, each in self.partitions.items():
            each.flushed = ends[number]
        return buffer.batch(self.topic, self.incarnation, spans, gaps)

    def span(self, partition: int, start: int, end: int) -> Span:
        """Return a span of the planned incarnation."""
        return Span(self.topic, self.incarnation, partition, start, end)


def topics_of(
    positions: Iterable[Position], topic_ids: Mapping[str, str | None], now: float
) -> dict[str, TopicProgress]:
    """Return the progress of each topic before anything is read."""
    topics: dict[str, TopicProgress] = {}
    for position in positions:
        name = position.topic
        if name not in topics:
            topics[name] = TopicProgress(name, position.incarnation, topic_ids.get(name), {})
        topics[name].partitions[position.partition] = PartitionProgress(position, now)
    return topics
