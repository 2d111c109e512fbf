"""Decide where to start, from what the catalog knows and what the broker has. Pure.

1. A topic's life is recognised by its id; without one, by its last stored record.
2. The same life goes on at the catalog's offsets; a later life starts at its beginning.
3. Where the lake meets a topic for the first time, the group's committed offset counts, else
   the earliest. A partition that is added later is read from its beginning.
4. What the broker has already dropped is a gap.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from etl.records import Gap, Position, Span


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """Where each partition of one topic starts, in which life of it."""

    topic: str
    topic_id: str | None
    incarnation: int
    positions: tuple[Position, ...]
    gaps: tuple[Gap, ...]


def plan_topic(
    topic: str,
    topic_id: str | None,
    low: Mapping[int, int],
    incarnation: int,
    next_offsets: Mapping[int, int],
    committed: Mapping[int, int],
) -> TopicPlan:
    """Plan one life of a topic.

    Parameters
    ----------
    low : mapping
        The first offset that the broker still has, for each of its partitions.
    incarnation : int
        1 where the lake meets the topic for the first time.
    next_offsets : mapping
        The catalog's offsets of this life; empty for a new one.
    committed : mapping
        The group's offsets, used only where the catalog knows nothing of the topic at all.
    """
    first_meeting = incarnation == 1 and not next_offsets
    positions = []
    for partition, earliest in sorted(low.items()):
        if partition in next_offsets:
            expected, reason = next_offsets[partition], "catalog"
        elif first_meeting and partition in committed:
            expected, reason = committed[partition], "group"
        elif first_meeting:
            expected, reason = earliest, "earliest"
        else:
            expected, reason = 0, "added" if next_offsets else "recreated"
        start = max(expected, earliest)
        positions.append(
            Position(
                topic,
                incarnation,
                partition,
                expected,
                start,
                reason,
                is_new=partition not in next_offsets,
            )
        )
    gaps = tuple(
        Gap(
            Span(topic, incarnation, p.partition, p.expected, p.start),
            "the broker had dropped it before this run",
        )
        for p in positions
        if p.start > p.expected
    )
    return TopicPlan(topic, topic_id, incarnation, tuple(positions), gaps)


def same_life(known_id: str | None, broker_id: str | None) -> bool | None:
    """Say whether a topic lives the life that the catalog knows; None: ids can't tell."""
    if known_id is None or broker_id is None:
        return None
    return known_id == broker_id
