-- The newest alert of each object in one topic, with all of that topic's own columns.
--
--   topic  the topic's name, as text
--
-- The view latest chooses the newest alert.
CREATE OR REPLACE MACRO latest_of(topic) AS TABLE
SELECT * FROM query_table('"' || topic || '"')
SEMI JOIN (
    SELECT etl_incarnation, kafka_partition, kafka_offset FROM latest WHERE kafka_topic = topic
) USING (etl_incarnation, kafka_partition, kafka_offset);

COMMENT ON MACRO TABLE latest_of IS 'The newest alert of each object in one topic (its name as text), with all of its own columns';
