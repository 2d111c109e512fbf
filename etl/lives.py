"""Which life each topic lives, and where to start in it: asked of the broker and the catalog.

Lasair deletes and recreates a topic when its filter is saved. The broker's topic id tells, and
where it gives none, the last stored record does.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace

from etl import consume, plan
from etl.errors import EtlError
from etl.kafka import Client, TopicState, read_record
from etl.records import Position
from etl.register import KnownTopic

log = logging.getLogger(__name__)


def plan_topics(
    client: Client, topics: tuple[str, ...], known: Mapping[str, KnownTopic]
) -> dict[str, plan.TopicPlan]:
    """Step 3: decide for every topic that exists which life it lives and where to start."""
    states = client.topic_states(topics)
    committed = _committed(client, {t: s for t, s in states.items() if t not in known})
    plans = {}
    for topic, state in states.items():
        old = known.get(topic)
        goes_on = old is not None and _goes_on(client, old, state)
        planned = plan.plan_topic(
            topic,
            state.topic_id,
            state.low,
            incarnation=1 if old is None else old.incarnation + (not goes_on),
            next_offsets=old.next if old is not None and goes_on else {},
            committed={p: offset for (t, p), offset in committed.items() if t == topic},
        )
        positions = tuple(replace(p, end=state.high[p.partition]) for p in planned.positions)
        plans[topic] = replace(planned, positions=positions)
    return plans


def _committed(client: Client, unmet: Mapping[str, TopicState]) -> dict[tuple[str, int], int]:
    """Ask for the group's offsets of topics that the lake meets for the first time.

    One beyond the end is of an earlier life, which the lake has not seen: it does not count.
    """
    offsets = client.committed((t, p) for t, state in unmet.items() for p in state.high)
    for (topic, partition), offset in list(offsets.items()):
        high = unmet[topic].high[partition]
        if offset > high and read_record(client, topic, partition, offset - 1, high) is None:
            log.warning(
                "%s[%d]: the group's committed offset %d is beyond the end; reading from the start",
                topic,
                partition,
                offset,
            )
            del offsets[topic, partition]
    return offsets


def _goes_on(client: Client, known: KnownTopic, state: TopicState) -> bool:
    """Say whether the topic lives the life that the catalog knows.

    Without ids the last stored record of each partition is compared with the broker's: another
    record, or none, at its offset shows a new life; one that was dropped since shows nothing.
    """
    same = plan.same_life(known.topic_id, state.topic_id)
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
            return (stamp, consume.digest(value)) == (last.timestamp_ms, last.digest)
    return True


def group_offsets(
    client: Client, positions: list[Position]
) -> tuple[dict[tuple[str, int], int], list[str]]:
    """Compare the group's offsets with the catalog's, which count.

    Returns
    -------
    to_mirror : dict
        The catalog's offset of each partition where the group has another one, or none.
    moved : list of str
        Those where the group has another one, in words.
    """
    ours = {(p.topic, p.partition): p.expected for p in positions if p.reason == "catalog"}
    try:
        theirs = client.committed(ours)
    except EtlError as error:  # a mirror is no reason to stop; the next commit to it says why
        log.debug("the group's offsets are not known: %s", error)
        return {}, []
    to_mirror = {key: offset for key, offset in ours.items() if theirs.get(key, 0) != offset}
    moved = [
        f"{topic}[{partition}] at {theirs[topic, partition]}, stored up to {offset}"
        for (topic, partition), offset in to_mirror.items()
        if (topic, partition) in theirs
    ]
    return to_mirror, moved
