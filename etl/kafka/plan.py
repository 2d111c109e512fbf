"""Decide where to start, from what the catalog knows and what the broker has. Pure.

1. A topic's incarnation is recognised by its id; without one, by the last stored record.
2. The same incarnation continues at the catalog's offsets; a new one starts at its beginning.
3. When the lake sees a topic for the first time, it starts at the group's committed offset, or
   else at the earliest. A partition that is added later is read from its beginning.
4. What the broker has already dropped is a gap.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace

from etl.errors import EtlError
from etl.kafka.client import Client
from etl.kafka.fetch import read_record
from etl.kafka.topics import TopicState
from etl.records import Gap, KnownTopic, Position, Span, TopicPlan, digest

log = logging.getLogger(__name__)
BEYOND_END = "%s[%d]: the group's committed offset %d is beyond the end; reading from the start"


def plan_topics(
    client: Client, topics: tuple[str, ...], known: Mapping[str, KnownTopic]
) -> dict[str, TopicPlan]:
    """Step 3: decide for every topic that exists which incarnation it is and where to start."""
    states = client.topics.states(topics)
    committed = _committed(client, {t: s for t, s in states.items() if t not in known})
    plans = {}
    for topic, state in states.items():
        old = known.get(topic)
        is_same = old is not None and _is_same(client, old, state)
        planned = plan_topic(
            topic,
            state.topic_id,
            state.low,
            incarnation=1 if old is None else old.incarnation + (not is_same),
            next_offsets=old.next if old is not None and is_same else {},
            committed={p: offset for (t, p), offset in committed.items() if t == topic},
        )
        positions = tuple(replace(p, end=state.high[p.partition]) for p in planned.positions)
        plans[topic] = replace(planned, positions=positions)
    return plans


def _committed(client: Client, unknown: Mapping[str, TopicState]) -> dict[tuple[str, int], int]:
    """Return the group's offsets of topics that are new to the lake.

    An offset beyond the end belongs to an earlier incarnation and is left out.
    """
    offsets = client.committed((t, p) for t, state in unknown.items() for p in state.high)
    for (topic, partition), offset in list(offsets.items()):
        high = unknown[topic].high[partition]
        if offset > high and read_record(client, topic, partition, offset - 1, high) is None:
            log.warning(BEYOND_END, topic, partition, offset)
            del offsets[topic, partition]
    return offsets


def _is_same(client: Client, known: KnownTopic, state: TopicState) -> bool:
    """Return whether the topic is still the incarnation that the catalog knows.

    Without ids the last stored record of each partition is compared with the broker's: another
    record, or none, at its offset shows a new incarnation. A record that the broker has dropped
    since shows nothing.
    """
    same = same_incarnation(known.topic_id, state.topic_id)
    if same is not None:
        return same
    if not known.next.keys() <= state.high.keys():
        return False  # a topic's partitions never become fewer
    for partition, last in known.last.items():
        if last.offset < state.low[partition]:
            continue
        found = read_record(client, known.topic, partition, last.offset, state.high[partition])
        if found is None:
            return False
        offset, stamp, value = found
        if offset == last.offset:
            return (stamp, digest(value)) == (last.timestamp_ms, last.digest)
    return True


def group_offsets(
    client: Client, positions: list[Position]
) -> tuple[dict[tuple[str, int], int], list[str]]:
    """Compare the group's offsets with the catalog's, which are the ones to follow.

    Returns
    -------
    to_mirror : dict
        The catalog's offset of each partition where the group has another one, or none.
    moved : list of str
        The partitions where the group has another offset, in words.
    """
    ours = {(p.topic, p.partition): p.expected for p in positions if p.reason == "catalog"}
    try:
        theirs = client.committed(ours)
    except EtlError as error:  # no alert depends on it; the next commit says why
        log.debug("the group's offsets are not known: %s", error)
        return {}, []
    to_mirror = {key: offset for key, offset in ours.items() if theirs.get(key, 0) != offset}
    moved = [
        f"{topic}[{partition}] at {theirs[topic, partition]}, stored up to {offset}"
        for (topic, partition), offset in to_mirror.items()
        if (topic, partition) in theirs
    ]
    return to_mirror, moved


def plan_topic(
    topic: str,
    topic_id: str | None,
    low: Mapping[int, int],
    incarnation: int,
    next_offsets: Mapping[int, int],
    committed: Mapping[int, int],
) -> TopicPlan:
    """Plan one incarnation of a topic.

    Parameters
    ----------
    low : mapping
        The first offset that the broker still has, for each of its partitions.
    incarnation : int
        1 when the lake sees the topic for the first time.
    next_offsets : mapping
        The catalog's offsets of this incarnation; empty for a new one.
    committed : mapping
        The group's offsets, used only when the catalog does not know the topic.
    """
    is_first = incarnation == 1 and not next_offsets
    positions = []
    for partition, earliest in sorted(low.items()):
        if partition in next_offsets:
            expected, reason = next_offsets[partition], "catalog"
        elif is_first and partition in committed:
            expected, reason = committed[partition], "group"
        elif is_first:
            expected, reason = earliest, "earliest"
        else:
            expected, reason = 0, "added" if next_offsets else "recreated"
        start, is_new = max(expected, earliest), partition not in next_offsets
        positions.append(Position(topic, incarnation, partition, expected, start, reason, is_new))
    reason = "the broker had dropped it before this run"
    gaps = tuple(
        Gap(Span(topic, incarnation, p.partition, p.expected, p.start), reason)
        for p in positions
        if p.start > p.expected
    )
    return TopicPlan(topic, topic_id, incarnation, tuple(positions), gaps)


def same_incarnation(known_id: str | None, broker_id: str | None) -> bool | None:
    """Return whether two ids are of the same incarnation; None where one is missing."""
    return None if known_id is None or broker_id is None else known_id == broker_id
