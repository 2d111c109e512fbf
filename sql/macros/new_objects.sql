-- The objects whose first alert in a topic came at or after a time: all columns of objects, newest first.
--
--   since  TIMESTAMP or DATE in UTC, or text that is one; a TIMESTAMPTZ, such as now() - INTERVAL 1 DAY, is
--          taken as the instant that it is, in whatever zone the reader works; compared with first_seen
--          (kafka_timestamp)
CREATE OR REPLACE MACRO new_objects(since) AS TABLE
SELECT * FROM objects
WHERE first_seen >= CASE
    WHEN typeof(since) = 'TIMESTAMP WITH TIME ZONE'
        -- an infinite time has no microseconds
        THEN coalesce(make_timestamp(epoch_us(since::TIMESTAMPTZ)), since::TIMESTAMP)
    ELSE since::TIMESTAMP
END
ORDER BY first_seen DESC, kafka_topic, object_id;

COMMENT ON MACRO TABLE new_objects IS 'Objects whose first alert in a topic came at or after a time (UTC), newest first';
