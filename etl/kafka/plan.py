"""Decide where to start, from what the catalog knows and what the broker has. Pure.

1. A topic's incarnation is recognised (`etl.kafka.recognition`).
2. A known incarnation continues at the catalog's offsets; a new one starts at its beginning.
3. When the lake sees a topic for the first time, it starts at the group's committed offset, or
   else at the earliest. Another source under its name starts at the earliest. A partition that is
   added later is read from its beginning.
4. What the broker has already dropped is a gap.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from etl.arrival import Arrival, ClusterDecision
from etl.errors import EtlError
from etl.kafka.client import Client
from etl.kafka.fetch import read_record
from etl.kafka.recognition import recognise
from etl.kafka.topics import TopicState
from etl.records import Gap, KnownTopic, Position, Span, TopicPlan

log = logging.getLogger(__name__)
BEYOND_END = "%s[%d]: the group's committed offset %d is beyond the end; reading from the start"


def plan_topics(
    client: Client,
    topics: tuple[str, ...],
    known: Mapping[str, Sequence[KnownTopic]],
    decision: ClusterDecision | None = None,
) -> dict[str, TopicPlan]:
    """Step 3: decide for every topic that exists which incarnation it is and where to start.

    Raises
    ------
    UnknownCluster
        The lake does not know the broker's cluster, and the user has to decide; see `recognise`.
    """
    states = client.topics.states(topics)
    committed = _committed(client, {t: s for t, s in states.items() if t not in known})
    plans = {}
    for topic, state in states.items():
        before = known.get(topic, ())
        arrival, goes_on = recognise(client, before, state, decision)
        planned = plan_topic(
            topic,
            state.topic_id,
            state.low,
            incarnation=goes_on.incarnation if goes_on else len(before) + 1,
            next_offsets=goes_on.next if goes_on else {},
            committed={p: offset for (t, p), offset in committed.items() if t == topic},
            is_source=arrival in {Arrival.FIRST, Arrival.ANOTHER, Arrival.MOVED} and not goes_on,
        )
        positions = tuple(replace(p, end=state.high[p.partition]) for p in planned.positions)
        plans[topic] = replace(
            planned, positions=positions, arrival=arrival, cluster_id=state.cluster_id
        )
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
    *,
    is_source: bool = False,
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
    is_source : bool
        A new source, of which what was dropped before was never ours to read.
    """
    is_first = is_source or (incarnation == 1 and not next_offsets)
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
