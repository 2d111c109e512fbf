"""The messages of one topic that the reader has not handed on yet."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Buffer:
    """The messages of one topic that are not handed on yet."""

    partitions: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    timestamps_ms: list[int | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    size_bytes: int = 0
