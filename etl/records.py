"""The values that the stages exchange: frozen, plain, without I/O."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b

import pyarrow as pa

from etl.arrival import Arrival

# A topic and the number of a partition of it.
Partition = tuple[str, int]

# The two kinds of files.
ALERTS = "alerts"
REJECTS = "rejects"


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets `[start, end)` of one partition in one incarnation of a topic."""

    topic: str
    incarnation: int
    partition: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SpanCount:
    """What became of a span: the four counts add up to `end - start`."""

    span: Span
    alerts: int
    rejects: int
    tombstones: int
    absent: int


@dataclass(frozen=True, slots=True)
class Gap:
    """A span that the broker dropped before it was read."""

    span: Span
    reason: str


def join_spans(spans: set[Span]) -> list[Span]:
    """Join spans of a partition that touch or overlap.

    >>> join_spans({Span("t", 1, 0, 0, 5), Span("t", 1, 0, 5, 9), Span("t", 1, 0, 10, 11)})[0].end
    9
    """
    found: list[Span] = []
    for span in sorted(spans, key=lambda s: (*_place(s), s.start)):
        last = found[-1] if found else None
        if last and _place(last) == _place(span) and span.start <= last.end:
            found[-1] = replace(last, end=max(last.end, span.end))
        else:
            found.append(span)
    return found


def _place(span: Span) -> tuple[str, int, int]:
    return span.topic, span.incarnation, span.partition


@dataclass(frozen=True, slots=True)
class LastRecord:
    """The newest stored message of a partition, to recognise it on the broker."""

    offset: int
    timestamp_ms: int | None
    digest: bytes


def digest(value: bytes | None) -> bytes:
    """Return 16 bytes that identify a message."""
    return blake2b(value or b"", digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class KnownTopic:
    """What the catalog knows about one incarnation of a topic.

    `cluster_id` and `bootstrap_servers` say where it was read last. `is_current`: the topic's last
    drain read this incarnation.
    """

    topic: str
    incarnation: int
    topic_id: str | None
    cluster_id: str | None
    bootstrap_servers: str | None
    is_current: bool
    next: Mapping[int, int]
    last: Mapping[int, LastRecord]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run starts in one partition of one incarnation of a topic.

    `expected` is where it should start, `start` where reading begins: the difference is a gap.
    `reason` is the source of `expected`: catalog, group, recreated, added or earliest. `is_new`:
    the lake meets this partition of this incarnation for the first time. `end` is the broker's
    end when the run began.
    """

    topic: str
    incarnation: int
    partition: int
    expected: int
    start: int
    reason: str
    is_new: bool
    end: int = 0


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """Which incarnation of a topic a run reads, and where each partition starts."""

    topic: str
    topic_id: str | None
    incarnation: int
    positions: tuple[Position, ...]
    gaps: tuple[Gap, ...]
    arrival: Arrival = Arrival.SAME
    cluster_id: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages of one topic in arrival order, as columns of equal length.

    `spans` covers exactly the offsets that reading this batch passed over, absent ones included;
    `gaps` those that the broker dropped while it was read; `last` has the newest message of each
    partition.
    """

    topic: str
    incarnation: int
    partitions: list[int]
    offsets: list[int]
    timestamps_ms: list[int | None]
    values: list[bytes | None]
    spans: tuple[Span, ...]
    gaps: tuple[Gap, ...] = ()
    last: Mapping[int, LastRecord] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reject:
    """A message that can't be decoded, with its coordinates, its bytes and the reason.

    `timestamp` is in UTC, None where Kafka has no valid one.
    """

    partition: int
    offset: int
    timestamp: datetime | None
    reason: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Decoded:
    """A batch after decoding; `table` holds one row per alert, in arrival order."""

    table: pa.Table
    rejects: list[Reject]
    counts: tuple[SpanCount, ...]


@dataclass(frozen=True, slots=True)
class LandedFile:
    """A complete Parquet file in the lake that no reader sees yet.

    `path` is relative to the lake. `last_night` is None where all rows are of one night.
    """

    path: str
    topic: str
    night: date
    kind: str
    rows: int
    size_bytes: int
    schema_version: int
    last_night: date | None = None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in the catalog; `last_night` differs from `night` where it holds several nights."""

    path: str
    topic: str
    kind: str
    night: date
    last_night: date
    rows: int
    size_bytes: int


def night_of(moment: datetime, night_starts: timedelta) -> date:
    """Return the observing night of a moment in UTC.

    >>> night_of(datetime(2026, 2, 14, 11, 59), timedelta(hours=12))
    datetime.date(2026, 2, 13)
    """
    return (moment - night_starts).date()


@dataclass(frozen=True, slots=True)
class Figures:
    """A run in numbers, as `etl.runs` keeps it."""

    checkpoints: int = 0
    alerts: int = 0
    rejects: int = 0
    tombstones: int = 0
    absent: int = 0
    lost: int = 0
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0
    lag: int | None = None

    def with_landed(self, files: Sequence[LandedFile], counts: Sequence[SpanCount]) -> "Figures":
        """Add files and the counts of their spans."""
        return replace(
            self,
            alerts=self.alerts + sum(count.alerts for count in counts),
            rejects=self.rejects + sum(count.rejects for count in counts),
            tombstones=self.tombstones + sum(count.tombstones for count in counts),
            absent=self.absent + sum(count.absent for count in counts),
            files=self.files + len(files),
            bytes=self.bytes + sum(file.size_bytes for file in files),
        )


@dataclass(frozen=True, slots=True)
class RunState:
    """The state of a run: open, done or failed."""

    state: str
    ended_at: datetime | None = None
    exit_code: int | None = None
    message: str | None = None


def utc_now() -> datetime:
    """Return the time in UTC as the lake stores it: without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


def new_run_id(now: datetime) -> str:
    """Return the time of the start with a random part, which no other run has."""
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
