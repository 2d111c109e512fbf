"""What the catalog knows of topics: where they resume, and their learnt schemas."""

from collections import defaultdict

from etl.records import KnownTopic, LastRecord
from etl.schema.columns import Column, from_columns
from etl.schema.types import TopicSchema
from etl.statements import Rows


def known_topics(catalog: Rows) -> dict[str, KnownTopic]:
    """Read where every topic resumes."""
    newest = {topic: rest for topic, *rest in catalog.rows("queries/known_topics")}
    offsets: dict[str, dict[int, int]] = defaultdict(dict)
    last: dict[str, dict[int, LastRecord]] = defaultdict(dict)
    for topic, _, partition, _, next_, seen, stamp, digest in catalog.rows("queries/known_offsets"):
        offsets[topic][partition] = next_
        if seen is not None:
            last[topic][partition] = LastRecord(seen, stamp, bytes(digest))
    return {
        topic: KnownTopic(topic, incarnation, topic_id, offsets[topic], last[topic])
        for topic, (incarnation, topic_id) in newest.items()
    }


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
