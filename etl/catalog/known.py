"""What the catalog knows of topics: where they resume, and their learnt schemas."""

from etl.records import KnownTopic, LastRecord
from etl.schema.columns import Column, from_columns
from etl.schema.types import TopicSchema
from etl.statements import Rows


def known_topics(catalog: Rows) -> dict[str, KnownTopic]:
    """Read where every topic resumes."""
    lives = {
        topic: (life, topic_id) for topic, life, topic_id in catalog.rows("queries/known_topics")
    }
    offsets: dict[str, dict[int, int]] = {topic: {} for topic in lives}
    last: dict[str, dict[int, LastRecord]] = {topic: {} for topic in lives}
    for topic, _, partition, _, next_, seen, stamp, digest in catalog.rows("queries/known_offsets"):
        offsets[topic][partition] = next_
        if seen is not None:
            last[topic][partition] = LastRecord(seen, stamp, bytes(digest))
    return {
        topic: KnownTopic(topic, life, topic_id, offsets[topic], last[topic])
        for topic, (life, topic_id) in lives.items()
    }


def known_schemas(catalog: Rows) -> dict[str, TopicSchema]:
    """Read the learnt schema of every topic that the lake has met."""
    columns: dict[str, list[Column]] = {
        topic: [] for topic, _, _ in catalog.rows("queries/known_topics")
    }
    for topic, path, version, ordinal, kind, wide in catalog.rows("queries/known_columns"):
        columns.setdefault(topic, []).append(Column(path, version, ordinal, kind, wide))
    return {topic: from_columns(rows) for topic, rows in columns.items()}
