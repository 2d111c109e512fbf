"""What a run tells its user: each finding is one value, an exit code with its sentence."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from etl.arrival import Arrival
from etl.errors import DATA_AT_RISK, OK, TRY_LATER, DataAtRisk, EtlError, LakeNotWritable, gravest
from etl.kafka.codes import DAMAGED
from etl.kafka.fetch import absence
from etl.kafka.reader import Reader, StopReason
from etl.kafka.recognition import sentence
from etl.records import Figures, Gap, TopicPlan
from etl.schema.keyed import keyed_names
from etl.schema.types import TopicSchema
from etl.text.words import moment

log = logging.getLogger(__name__)
HOUR = timedelta(hours=1)

# librdkafka's settings, and their values, that leave out a part of what TLS is for.
UNVERIFIED = {
    "enable.ssl.certificate.verification": ("false", "f", "0"),
    "ssl.endpoint.identification.algorithm": ("none",),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence for the user, and the exit code that it asks for: 0 where it only informs."""

    code: int
    sentence: str


# What it means that reading stopped for one of these reasons.
EARLY_STOPS = {
    StopReason.ASKED: "stopped on request; what did arrive is stored, run again for the rest",
    StopReason.UNPROVEN: "the broker fell silent before it could confirm that the topics are still "
    "the same; what was confirmed is stored, run again for the rest",
}


@dataclass(slots=True)
class Findings:
    """What a run has found so far; each finding is logged when it is added."""

    found: list[Finding] = field(default_factory=list)

    def add(self, *findings: Finding) -> None:
        """Add and log findings."""
        for finding in findings:
            self.found.append(finding)
            log.warning("%s", finding.sentence)

    @property
    def exit_code(self) -> int:
        """The gravest of their exit codes."""
        return gravest(finding.code for finding in self.found)

    @property
    def sentences(self) -> tuple[str, ...]:
        """Their sentences, in the order in which they were found."""
        return tuple(finding.sentence for finding in self.found)

    @property
    def message(self) -> str | None:
        """Their sentences as one text, for the catalog."""
        return "; ".join(self.sentences) or None


def keys_that_are_data(topic: str, before: TopicSchema, schema: TopicSchema) -> Iterator[Finding]:
    """Find the objects that were newly found to be keyed by data."""
    for name, is_text in keyed_names(schema, before.wide):
        kept = (
            "it is JSON text in one column"
            if is_text
            else "it gets no more columns; values without one are in etl_rescued"
        )
        yield Finding(OK, f"{topic}: the keys of {name} are data, so {kept}")


def clock_went_back(before: datetime, now: datetime) -> Iterator[Finding]:
    """The last run began later than this one, by the clocks of then and now."""
    if now < before:
        yield Finding(
            OK,
            f"the clock went back: it is {moment(now)} UTC, and the last run began at "
            f"{moment(before)}; runs are told apart by their numbers, so nothing is lost",
        )


def changed_nights(before: timedelta, now: timedelta) -> Iterator[Finding]:
    """The last run filed its alerts by another hour than this one."""
    if now != before:
        was, is_now = before / HOUR, now / HOUR
        yield Finding(
            OK,
            f"night_starts is {is_now:g} and was {was:g}: new alerts are filed by the new hour, "
            f"those in the lake keep their nights, and so one night may have two dates",
        )


def unverified_broker(kafka: Mapping[str, Any]) -> Iterator[Finding]:
    """Find settings by which anybody can take the broker's place."""
    for key, off in UNVERIFIED.items():
        if str(kafka.get(key, "")).lower() in off:
            yield Finding(
                OK,
                f"{key} is {kafka[key]}: the broker's identity is not verified, so whoever is "
                f"in between can read passwords and change alerts",
            )


def missing_topics(topics: Iterable[str], names: Sequence[str]) -> Iterator[Finding]:
    """Find topics that do not exist; `names` are those that do."""
    for topic in topics:
        yield Finding(OK, absence(topic, names))


def new_starts(plans: Mapping[str, TopicPlan]) -> Iterator[Finding]:
    """Find topics that are not where the last run left them, or start at the group's offsets."""
    for topic, plan in plans.items():
        told = sentence(plan)
        if told is not None:
            yield Finding(
                DATA_AT_RISK if plan.arrival is Arrival.REBUILT else OK, f"{topic}: {told}"
            )
        starts = [f"[{p.partition}] at {p.start}" for p in plan.positions if p.reason == "group"]
        if starts:
            yield Finding(
                OK,
                f"{topic}: first drain into this lake; starting where the group has committed: "
                f"{', '.join(starts)}",
            )


def moved_group(group_id: str, moved: Sequence[str]) -> Iterator[Finding]:
    """Find a group whose offsets differ from the lake's."""
    if moved:
        yield Finding(
            OK,
            f"the group {group_id} is not where the lake is, so another program uses it or a run "
            f"was killed; the lake's offsets count ({_listed(moved)})",
        )


def lost_offsets(gaps: Iterable[Gap]) -> Iterator[Finding]:
    """Find what the broker dropped before it was read."""
    for gap in gaps:
        span = gap.span
        yield Finding(
            DATA_AT_RISK,
            f"{span.topic}[{span.partition}]: offsets {span.start} to {span.end} are lost: "
            f"{gap.reason}; drain more often",
        )


def missing_files(paths: Sequence[str]) -> Finding:
    """Return the finding that files of the lake are missing."""
    return Finding(
        DATA_AT_RISK,
        f"{_listed(paths, 1)}: not in the lake any more, so the views leave it out; put it back "
        f"(lasair-etl verify lists all missing files)",
    )


def damaged_partitions(reader: Reader) -> Iterator[Finding]:
    """Find partitions that can't be read to their end."""
    for (topic, partition), (error, code) in reader.refused.items():
        if code in DAMAGED:
            yield Finding(
                DATA_AT_RISK,
                f"{topic}[{partition}]: can't be read from offset "
                f"{reader.position[topic, partition]} on ({error}), and what comes later waits "
                f"behind it; ask the broker's operators",
            )


def silent_partitions(reader: Reader, patience_s: float) -> Iterator[Finding]:
    """Find partitions that gave no answer, but for damaged ones."""
    refused = reader.refused
    silent = [key for key in reader.silent if key not in refused or refused[key][1] not in DAMAGED]
    if silent and reader.stopped in {StopReason.SILENT, StopReason.MAX_SECONDS}:
        errors = sorted({f" ({refused[key][0]})" for key in silent if key in refused})
        yield Finding(
            TRY_LATER,
            f"{_listed([f'{topic}[{p}]' for topic, p in silent])}: no answer within "
            f"{patience_s:g} s{''.join(errors)}; what did arrive is stored",
        )


def end_of_reading(reader: Reader, patience_s: float) -> Iterator[Finding]:
    """Find why reading stopped early, and what is wrong with the topics that were read."""
    yield from damaged_partitions(reader)
    yield from silent_partitions(reader, patience_s)
    if reader.stopped in EARLY_STOPS:
        yield Finding(TRY_LATER, EARLY_STOPS[reader.stopped])
    for topic in sorted(reader.recreated):
        sentence = f"{topic}: deleted while it was read; the next run reads its new incarnation"
        yield Finding(OK, sentence)
    for topic, partition in sorted(reader.truncated):
        yield Finding(
            DATA_AT_RISK,
            f"{topic}[{partition}]: the broker's log ends before what is already stored, so it "
            f"has lost alerts; ask its operators what happened",
        )


def too_many_rejects(figures: Figures, max_percent: float) -> Iterator[Finding]:
    """Find a share of rejects above the limit."""
    total = figures.alerts + figures.rejects
    if figures.rejects * 100 > max_percent * total:
        yield Finding(
            DATA_AT_RISK,
            f"{figures.rejects} of {total} messages could not be decoded; lasair-etl rejects "
            f"shows them",
        )


def damaged_files(error: Exception) -> Finding:
    """Return the finding that some files can't be merged."""
    return Finding(DATA_AT_RISK, f"not compacted: {error}; lasair-etl verify says what is wrong")


def failed_compaction(error: EtlError) -> Finding:
    """Return what a failed compaction means to the drain before it.

    Only a full lake and a damaged file change its exit code: the alerts are stored.
    """
    grave = isinstance(error, LakeNotWritable | DataAtRisk)
    return Finding(error.exit_code if grave else OK, f"not compacted: {error}")


def _listed(names: Sequence[str], most: int = 5) -> str:
    """Write the first names, and how many more there are."""
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left} more" if left > 0 else "")
