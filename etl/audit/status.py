"""What is in the lake, and how far behind the broker it is.

The published file and the broker say so; nothing here touches the private catalog or the consumer
group.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from etl.catalog.known import known_topics
from etl.config.settings import Settings
from etl.errors import AccessDenied, TryLater, UnknownCluster
from etl.kafka import fetch
from etl.kafka.client import connect
from etl.kafka.plan import plan_topics
from etl.kafka.recognition import sentence
from etl.read.published import Published
from etl.records import KnownTopic, Position


@dataclass(frozen=True, slots=True)
class Outlook:
    """Where the next drain would start in one partition, and how far behind it is.

    `reason` is the source of the start: catalog, group, recreated or earliest; `lost` counts
    offsets that the broker has dropped already. `end` and `behind` are None where the partition
    did not answer.
    """

    topic: str
    incarnation: int
    partition: int
    start: int
    reason: str
    lost: int
    end: int | None
    behind: int | None


@dataclass(frozen=True, slots=True)
class Preview:
    """What the next drain would do; `notes` are what it would say of topics."""

    partitions: tuple[Outlook, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One partition in the incarnation of its topic that was read last."""

    partition: int
    incarnation: int
    next: int
    end: int | None
    lag: int | None
    alerts: int
    rejects: int
    lost: int
    last_run: str | None


@dataclass(frozen=True, slots=True)
class TopicStatus:
    """One topic: figures of all its incarnations, partitions of the one read last.

    `note` says what the next drain will find: another incarnation, or no such topic.
    """

    topic: str
    incarnation: int = 0
    alerts: int = 0
    rejects: int = 0
    lost: int = 0
    files: int = 0
    bytes: int = 0
    last_night: date | None = None
    last_seen: datetime | None = None
    lag: int | None = None
    note: str | None = None
    partitions: tuple[PartitionStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """The whole lake; `broker_error` says why the broker's part is missing."""

    lake: str
    broker: str | None
    broker_error: str | None
    last_run: Mapping[str, Any] | None
    topics: tuple[TopicStatus, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """Messages of a topic in the order of their times; `note` says if there is no such topic."""

    messages: tuple[fetch.Peeked, ...]
    note: str | None


def preview(settings: Settings, published: Published | None) -> Preview:
    """Plan the next drain without running it; `published` is None where there is no lake yet."""
    known = known_topics(published) if published else {}
    return _ask_broker(settings, settings.topics, known)[0]


def status(settings: Settings, published: Published) -> Status:
    """Return the state of every topic of the lake and of the settings.

    A broker that can't be asked is no error here: its part is left out, and `broker_error` says
    why.
    """
    known = known_topics(published)
    found, changed, broker_error = Preview((), ()), dict[str, str](), None
    if settings.bootstrap_servers:
        try:
            every = (*dict.fromkeys((*known, *settings.topics)),)
            found, changed = _ask_broker(settings, every, known)
        except (TryLater, AccessDenied, UnknownCluster) as error:
            broker_error = str(error)
    asked = bool(settings.bootstrap_servers) and broker_error is None
    partitions = _partitions(published, found)
    stored = {figures["topic"]: figures for figures in published.records("queries/status_topics")}
    topics = []
    for name in dict.fromkeys((*stored, *settings.topics)):
        own = [each for each in found.partitions if each.topic == name]
        topic = TopicStatus(
            **stored.get(name, {"topic": name}),
            lag=_sum(own) if own else None,
            partitions=tuple(partitions.get(name, ())),
        )
        topics.append(replace(topic, note=_note(topic, own, changed.get(name), asked=asked)))
    lake, servers = str(published.lake.root), settings.bootstrap_servers or None
    last_run = next(iter(published.records("queries/last_run")), None)
    return Status(lake, servers, broker_error, last_run, tuple(topics))


def _partitions(published: Published, found: Preview) -> dict[str, list[PartitionStatus]]:
    """Join the catalog's figures of each partition with the broker's end."""
    joined: dict[str, list[PartitionStatus]] = {}
    outlooks = {(each.topic, each.incarnation, each.partition): each for each in found.partitions}
    for figures in published.records("queries/status_partitions"):
        topic = figures.pop("topic")
        ahead = outlooks.get((topic, figures["incarnation"], figures["partition"]))
        end, lag = (ahead.end, ahead.behind) if ahead else (None, None)
        joined.setdefault(topic, []).append(PartitionStatus(**figures, end=end, lag=lag))
    return joined


def _note(topic: TopicStatus, own: list[Outlook], change: str | None, *, asked: bool) -> str | None:
    if not topic.incarnation:
        return "not in the lake yet" if own or not asked else "no such topic yet"
    if asked and not own:
        return "the broker has no such topic now"
    return f"next drain: {change}" if change else None


def _sum(outlooks: Iterable[Outlook]) -> int | None:
    """Add up how far behind partitions are; None where one did not answer."""
    behind = [each.behind for each in outlooks]
    return None if None in behind else sum(each for each in behind if each is not None)


def _ask_broker(
    settings: Settings, topics: tuple[str, ...], known: Mapping[str, Sequence[KnownTopic]]
) -> tuple[Preview, dict[str, str]]:
    """Return what the next drain would do, and what it would say of topics that have changed."""
    with connect(anonymous(settings)) as client:
        plans = plan_topics(client, topics, known, settings.cluster_changed)
        ends = fetch.ends(client, client.topics.states(list(plans)).values())
        missing = [topic for topic in settings.topics if topic not in plans]
        names = client.topics.names() if missing else []
    told = {topic: sentence(plan) for topic, plan in plans.items()}
    changed = {topic: words for topic, words in told.items() if words}
    notes = (
        *(fetch.absence(topic, names) for topic in missing),
        *(f"{topic}: {words}" for topic, words in changed.items()),
    )
    positions = [position for plan in plans.values() for position in plan.positions]
    outlooks = (_outlook(each, ends.get((each.topic, each.partition))) for each in positions)
    return Preview(tuple(outlooks), notes), changed


def _outlook(at: Position, end: int | None) -> Outlook:
    lost, behind = at.start - at.expected, None if end is None else max(0, end - at.start)
    return Outlook(at.topic, at.incarnation, at.partition, at.start, at.reason, lost, end, behind)


def anonymous(settings: Settings) -> Settings:
    """Return settings with a group that nobody uses, where none is set: librdkafka wants one."""
    made_up = f"lasair-etl-look-{secrets.token_hex(4)}"
    return settings if settings.group_id else replace(settings, group_id=made_up)


def look(settings: Settings, topic: str, number: int, *, first: bool) -> Look:
    """Return the newest or the first messages of a topic, leaving no trace."""
    with connect(anonymous(replace(settings, group_id=""))) as client:
        state = client.topics.states([topic]).get(topic)
        if state is None:
            return Look((), fetch.absence(topic, client.topics.names()))
        read = fetch.first if first else fetch.newest
        return Look(tuple(read(client, state, number)), None)
