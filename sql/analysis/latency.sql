-- How long does it take from the newest observation in an alert until Lasair sends it (UTC), the broker
-- has it (kafka_timestamp), and it is stored here? Medians in seconds, and the 95th percentile of the
-- whole way, per topic and night. Needs `lastDiaSourceMjdTai` in the filter; without it, NULL.
WITH timed AS (
    SELECT NULL::DOUBLE AS lastDiaSourceMjdTai, NULL::TIMESTAMP AS UTC WHERE false
    UNION ALL BY NAME SELECT * FROM etl.sightings
), steps AS (
    SELECT kafka_topic, night, UTC AS sent, kafka_timestamp, etl_ingested_at,
        mjd_to_utc(TRY_CAST(lastDiaSourceMjdTai::VARCHAR AS DOUBLE)) AS observed
    FROM timed
)
SELECT night, kafka_topic, count(*) AS alerts,
    median(epoch(sent) - epoch(observed)) AS observed_to_sent_s,
    median(epoch(kafka_timestamp) - epoch(sent)) AS sent_to_broker_s,
    median(epoch(etl_ingested_at) - epoch(kafka_timestamp)) AS broker_to_stored_s,
    median(epoch(etl_ingested_at) - epoch(observed)) AS observed_to_stored_s,
    quantile_cont(epoch(etl_ingested_at) - epoch(observed), 0.95) AS observed_to_stored_s_95
FROM steps
GROUP BY night, kafka_topic
ORDER BY night DESC, kafka_topic;
