"""The values that the stages hand on: frozen, plain, without behaviour that does I/O."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b

import pyarrow as pa

ALERTS = "alerts"

# The two kinds of files.
REJECTS = "rejects"
Partition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets `[start, end)` of one partition in one life of a topic."""

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


@dataclass(frozen=True, slots=True)
class LastRecord:
    """How to recognise the newest stored message of a partition when the broker is asked again."""

    offset: int
    timestamp_ms: int | None
    digest: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages of one topic in arrival order, as equally long columns.

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

    `timestamp` is UTC, None where Kafka has none that is a time.
    """

    partition: int
    offset: int
    timestamp: datetime | None
    reason: str
    value: bytes


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
class Position:
    """Where one partition of one life of a topic starts in this run.

    `expected` is where it should start, `start` where reading begins: the difference is a gap.
    `reason` says who knew: catalog, group, recreated, added or earliest. `is_new`: the lake meets
    the partition for the first time in this life. `end` is the broker's end when the run began.
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
class Decoded:
    """A batch after decoding; `table` holds one row per alert, in arrival order."""

    table: pa.Table
    rejects: list[Reject]
    counts: tuple[SpanCount, ...]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as the catalog has it; `last_night` differs from `night` where it holds several."""

    path: str
    topic: str
    kind: str
    night: date
    last_night: date
    rows: int
    size_bytes: int


def night_of(moment: datetime, night_starts: timedelta) -> date:
    """Give the observing night of a moment in UTC.

    >>> night_of(datetime(2026, 2, 14, 11, 59), timedelta(hours=12))
    datetime.date(2026, 2, 13)
    """
    return (moment - night_starts).date()


def digest(value: bytes | None) -> bytes:
    """Give the 16 bytes by which a message is recognised."""
    return blake2b(value or b"", digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """Where each partition of one topic starts, in which life of it."""

    topic: str
    topic_id: str | None
    incarnation: int
    positions: tuple[Position, ...]
    gaps: tuple[Gap, ...]


@dataclass(frozen=True, slots=True)
class KnownTopic:
    """What the catalog knows of a topic's newest life."""

    topic: str
    incarnation: int
    topic_id: str | None
    next: Mapping[int, int]
    last: Mapping[int, LastRecord]


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


@dataclass(frozen=True, slots=True)
class RunState:
    """How a run stands: open, done or failed."""

    state: str
    ended_at: datetime | None = None
    exit_code: int | None = None
    message: str | None = None


def join_spans(spans: set[Span]) -> list[Span]:
    """Make one span of those of a partition that touch or overlap.

    >>> join_spans({Span("t", 1, 0, 0, 5), Span("t", 1, 0, 5, 9), Span("t", 1, 0, 10, 11)})[0].end
    9
    """
    found: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.topic, s.incarnation, s.partition, s.start)):
        last = found[-1] if found else None
        if last and _place(last) == _place(span) and span.start <= last.end:
            found[-1] = Span(*_place(last), last.start, max(last.end, span.end))
        else:
            found.append(span)
    return found


def _place(span: Span) -> tuple[str, int, int]:
    return span.topic, span.incarnation, span.partition


def utc_now() -> datetime:
    """Give the time in UTC as the lake stores it: without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


def new_run_id(now: datetime) -> str:
    """Name a run: when it began, and what no other run has."""
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
