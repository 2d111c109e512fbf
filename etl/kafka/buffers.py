"""The messages of a topic that have not been handed on yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from etl.records import Batch, Gap, LastRecord, Span, digest


@dataclass(slots=True)
class Buffer:
    """Messages of one topic in arrival order, as equally long columns."""

    partitions: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    timestamps_ms: list[int | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    size_bytes: int = 0

    def append(self, messages: Sequence[Any]) -> dict[int, int]:
        """Add messages; return the offset of the newest of each partition."""
        partitions = [message.partition() for message in messages]
        offsets = [message.offset() for message in messages]
        values = [message.value() for message in messages]
        stamps = [message.timestamp() for message in messages]
        self.partitions += partitions
        self.offsets += offsets
        self.timestamps_ms += [stamp if kind else None for kind, stamp in stamps]
        self.values += values
        self.size_bytes += sum(map(len, filter(None, values)))
        return dict(zip(partitions, offsets, strict=True))

    def below(self, ends: Mapping[int, int]) -> "Buffer":
        """Return the messages below the end of their partition."""
        places = enumerate(zip(self.partitions, self.offsets, strict=True))
        rows = [row for row, (partition, offset) in places if offset < ends[partition]]
        return Buffer(
            [self.partitions[row] for row in rows],
            [self.offsets[row] for row in rows],
            [self.timestamps_ms[row] for row in rows],
            [self.values[row] for row in rows],
        )

    def batch(
        self, topic: str, incarnation: int, spans: tuple[Span, ...], gaps: tuple[Gap, ...]
    ) -> Batch:
        """Return the messages as a batch."""
        newest = dict(zip(self.partitions, range(len(self.values)), strict=True))
        stamps = self.timestamps_ms
        last = {
            partition: LastRecord(self.offsets[row], stamps[row], digest(self.values[row]))
            for partition, row in newest.items()
        }
        columns = (self.partitions, self.offsets, self.timestamps_ms, self.values)
        return Batch(topic, incarnation, *columns, spans, gaps, last)
