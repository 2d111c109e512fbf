"""What the catalog knows of topics: where they resume, and their learnt schemas."""

from collections import defaultdict

from etl.records import KnownTopic, LastRecord
from etl.schema.columns import Column, from_columns
from etl.schema.types import TopicSchema
from etl.statements import Rows


def known_topics(catalog: Rows) -> dict[str, list[KnownTopic]]:
    """Read where every incarnation of every topic resumes; the newest is the last."""
    next_: dict[tuple[str, int], dict[int, int]] = defaultdict(dict)
    last: dict[tuple[str, int], dict[int, LastRecord]] = defaultdict(dict)
    for row in catalog.rows("queries/known_offsets"):
        topic, number, partition, offset, seen, stamp, digest = row
        next_[topic, number][partition] = offset
        if seen is not None:
            last[topic, number][partition] = LastRecord(seen, stamp, bytes(digest))
    topics: dict[str, list[KnownTopic]] = defaultdict(list)
    for row in catalog.rows("queries/known_topics"):
        topic, number, topic_id, cluster_id, servers, is_current = row
        offsets = next_[topic, number], last[topic, number]
        known = KnownTopic(topic, number, topic_id, cluster_id, servers, is_current, *offsets)
        topics[topic].append(known)
    return dict(topics)


def known_schemas(catalog: Rows) -> dict[str, TopicSchema]:
    """Read the learnt schema of every topic that the lake has met."""
    columns = known_columns(catalog)
    topics = [topic for topic, *_ in catalog.rows("queries/known_topics")]
    return {topic: from_columns(columns[topic]) for topic in dict.fromkeys([*topics, *columns])}


def known_columns(catalog: Rows) -> defaultdict[str, list[Column]]:
    """Read the learnt columns of every topic, with their history."""
    columns: defaultdict[str, list[Column]] = defaultdict(list)
    for topic, *column in catalog.rows("queries/known_columns"):
        columns[topic].append(Column(*column))
    return columns
