-- Record that a run met a topic, in a new incarnation or a known one.
INSERT INTO etl.topics (topic, incarnation, topic_id, cluster_id, bootstrap_servers, first_seen, last_seen)
VALUES ($topic, $incarnation, $topic_id, $cluster_id, $bootstrap_servers, $now, $now)
ON CONFLICT (topic, incarnation) DO UPDATE
SET topic_id = coalesce(excluded.topic_id, topic_id), cluster_id = coalesce(excluded.cluster_id, cluster_id),
    bootstrap_servers = coalesce(excluded.bootstrap_servers, bootstrap_servers), last_seen = excluded.last_seen;
