"""The account of each night: how many offsets it had, and what became of them. Pure.

A row has a night. An offset without a row (lost, or without a message) has none: it counts for a
night where the rows before and after it in its partition are both of that night. Elsewhere it is
undated, and counted apart for every night that it may belong to.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from etl.records import night_of
from etl.text.words import count, moment

DAY = timedelta(days=1)

# An undated loss over more nights makes no account of a night that has no row.
NAMED_NIGHTS = 400

# A night's account names so many topics that are not read to its end.
NAMED_TOPICS = 3


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a topic in one night."""

    night: date
    topic: str
    alerts: int
    examples: int
    rejects: int


@dataclass(frozen=True, slots=True)
class Hole:
    """Offsets [start, end) without a row, between rows of two nights.

    `first_night` is None where no row stands before them.
    """

    topic: str
    incarnation: int
    partition: int
    start: int
    end: int
    empty: int
    lost: int
    first_night: date | None
    last_night: date

    @property
    def is_dated(self) -> bool:
        """Whether they can be of one night only."""
        return self.first_night == self.last_night


@dataclass(frozen=True, slots=True)
class Recreated:
    """A topic's new incarnation: when the old one was read last, and when a run saw it (UTC)."""

    topic: str
    incarnation: int
    last_read: datetime
    first_seen: datetime


@dataclass(frozen=True, slots=True)
class Beginning:
    """A topic that had messages of nights up to this one before the lake began to read it."""

    topic: str
    last_night: date


@dataclass(frozen=True, slots=True)
class Reading:
    """Up to when (UTC) a topic is certainly read, and when a run last asked for it."""

    topic: str
    read_until: datetime | None
    last_seen: datetime


@dataclass(slots=True)
class Night:
    """The account of one night, over all topics."""

    night: date
    alerts: int = 0
    examples: int = 0
    rejects: int = 0
    empty: int = 0
    lost: int = 0
    undated: int = 0
    undated_lost: int = 0
    topics: set[str] = field(default_factory=set)
    remarks: list[str] = field(default_factory=list)
    is_open: bool = False

    @property
    def offsets(self) -> int:
        """The number of offsets that are certainly of this night."""
        return self.alerts + self.rejects + self.empty + self.lost

    @property
    def state(self) -> str:
        """The gravest state that applies, in a word or two."""
        if self.lost:
            return "loss"
        if self.undated_lost:
            return "possible loss"
        if self.is_open:
            return "open"
        return "uncertain" if self.remarks else "complete"

    @property
    def sentence(self) -> str:
        """The account as text that a paper can cite."""
        examples = f" ({self.examples:,} of them Lasair's examples)" if self.examples else ""
        hold = "holds a stored alert" if self.alerts == 1 else "hold stored alerts"
        were = "was" if self.lost == 1 else "were"
        first = (
            f"Observing night {self.night}: of {count(self.offsets, 'Kafka offset')} dated to this "
            f"night in {count(len(self.topics), 'topic')}, {self.alerts:,} {hold}{examples}, "
            f"{count(self.rejects, 'undecodable message')}, {self.empty:,} no message, and "
            f"{self.lost:,} {were} lost before they were read."
        )
        sentences = [first]
        if self.undated:
            sentences.append(
                f"{count(self.undated, 'further offset')} without a row, {self.undated_lost:,} of "
                f"them lost, may belong to this night or to a neighbouring one."
            )
        sentences += self.remarks
        if not self.is_open:
            sentences.append("Every partition was read past the end of the night.")
        return " ".join(sentences)


def nights(
    rows: Iterable[Rows],
    holes: Sequence[Hole],
    recreated: Iterable[Recreated],
    beginnings: Sequence[Beginning],
    readings: Sequence[Reading],
    night_starts: timedelta,
) -> list[Night]:
    """Return the account of every night that has a row, or may have lost one; newest first."""
    found: dict[date, Night] = {}
    for row in rows:
        night = found.setdefault(row.night, Night(row.night))
        night.alerts += row.alerts
        night.examples += row.examples
        night.rejects += row.rejects
        night.topics.add(row.topic)
    for hole in holes:
        _fill(found, hole)
    for each in recreated:
        first = night_of(each.last_read, night_starts)
        last = night_of(each.first_seen, night_starts)
        for night in found.values():
            if first <= night.night <= last:
                night.remarks.append(
                    f"{each.topic} was recreated, or read in another cluster, between "
                    f"{moment(each.last_read)} and {moment(each.first_seen)} UTC: the messages of "
                    f"its old incarnation in between are not known."
                )
    for night in found.values():
        begun = [each.topic for each in beginnings if night.night <= each.last_night]
        if begun:
            named = begun[0] if len(begun) == 1 else count(len(begun), "topic")
            night.remarks.append(
                f"{named} had earlier messages, perhaps of this night, when the lake began to read."
            )
        _close(night, readings, night_starts)
    return sorted(found.values(), key=lambda night: night.night, reverse=True)


def _fill(found: dict[date, Night], hole: Hole) -> None:
    """Count a hole for its night, or as undated for each night that it may belong to."""
    if hole.is_dated:
        night = found.setdefault(hole.last_night, Night(hole.last_night))
        night.empty += hole.empty
        night.lost += hole.lost
        night.topics.add(hole.topic)
        return
    first = hole.first_night
    if first is not None and hole.lost and (hole.last_night - first).days <= NAMED_NIGHTS:
        for n in range((hole.last_night - first).days + 1):
            found.setdefault(first + n * DAY, Night(first + n * DAY))
    for night in found.values():
        if (first is None or first <= night.night) and night.night <= hole.last_night:
            night.undated += hole.empty + hole.lost
            night.undated_lost += hole.lost


def _close(night: Night, readings: Iterable[Reading], night_starts: timedelta) -> None:
    """Mark a night as open until each topic asked for since it began is read past its end."""
    begin = datetime.combine(night.night, datetime.min.time()) + night_starts
    behind = [
        each
        for each in readings
        if each.last_seen >= begin and (each.read_until is None or each.read_until - DAY < begin)
    ]
    night.is_open = bool(behind) or all(each.last_seen < begin for each in readings)
    for each in behind[:NAMED_TOPICS]:
        until = f"to {moment(each.read_until)} UTC" if each.read_until else "to no known time"
        night.remarks.append(f"{each.topic} is read only {until}, so the night may still grow.")
    if len(behind) > NAMED_TOPICS:
        night.remarks.append(f"{count(len(behind) - NAMED_TOPICS, 'more topic')} may still grow.")
