-- Lasair's rate limit, applied to stored alerts: those that pass where an object may pass only once in
-- so many days. All columns of etl.sightings, in order of time.
--
--   days  number of days, fractions too; 0 passes every alert
--
-- The rule, for each topic and object on its own, in order of kafka_timestamp (then incarnation,
-- partition, offset): the first alert passes; a later one passes if the last one that passed came
-- `days` or more before it. An alert that did not pass does not count. An alert without a
-- kafka_timestamp counts by etl_ingested_at; one that names no object is left out.
CREATE OR REPLACE MACRO not_again_within("days") AS TABLE
WITH RECURSIVE sighted AS MATERIALIZED (
    SELECT kafka_topic, object_id, diaObjectId,
        row(coalesce(kafka_timestamp, etl_ingested_at), etl_incarnation, kafka_partition, kafka_offset) AS place
    FROM etl.sightings WHERE object_id IS NOT NULL
), passed AS (
    SELECT kafka_topic, object_id, diaObjectId, min(place) AS place FROM sighted GROUP BY ALL
    UNION ALL
    SELECT p.kafka_topic, p.object_id, p.diaObjectId, min(s.place)
    FROM passed AS p JOIN sighted AS s
        ON s.kafka_topic = p.kafka_topic AND s.object_id = p.object_id
        AND s.diaObjectId IS NOT DISTINCT FROM p.diaObjectId AND s.place > p.place
        AND s.place[1] >= p.place[1] + to_microseconds(round("days" * 86400000000)::BIGINT)
    GROUP BY p.kafka_topic, p.object_id, p.diaObjectId
)
SELECT * FROM etl.sightings
SEMI JOIN (
    SELECT kafka_topic, place[2] AS etl_incarnation, place[3] AS kafka_partition, place[4] AS kafka_offset FROM passed
) USING (kafka_topic, etl_incarnation, kafka_partition, kafka_offset)
ORDER BY kafka_timestamp, kafka_topic, etl_incarnation, kafka_partition, kafka_offset;

COMMENT ON MACRO TABLE not_again_within IS 'The alerts that pass where an object may pass a topic only once in so many days (Lasair''s rate limit)';
