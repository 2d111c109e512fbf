-- Record that a run met a topic, in a new incarnation or a known one.
INSERT INTO etl.topics (topic, incarnation, topic_id, first_seen, last_seen)
VALUES ($topic, $incarnation, $topic_id, $now, $now)
ON CONFLICT (topic, incarnation) DO UPDATE
SET topic_id = coalesce(excluded.topic_id, topic_id), last_seen = excluded.last_seen;
