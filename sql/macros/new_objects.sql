-- The objects whose first alert in a topic came at or after a time: all columns of objects, newest first.
--
--   since  TIMESTAMP or DATE in UTC, or text that is one; compared with first_seen (kafka_timestamp)
CREATE OR REPLACE MACRO new_objects(since) AS TABLE
SELECT * FROM objects WHERE first_seen >= since::TIMESTAMP ORDER BY first_seen DESC, kafka_topic, object_id;

COMMENT ON MACRO TABLE new_objects IS 'Objects whose first alert in a topic came at or after a time (UTC), newest first';
