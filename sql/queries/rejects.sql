-- The newest messages that could not be decoded, with their lengths.
-- A file that an older program published has no numbers; there the clock orders its runs.
SELECT kafka_topic, kafka_partition, kafka_offset, etl_incarnation, kafka_timestamp, reason, octet_length(value) AS bytes
FROM etl.rejects LEFT JOIN (FROM etl.runs UNION ALL BY NAME SELECT NULL::BIGINT AS number WHERE false) ON run_id = etl_run_id
WHERE $topic IS NULL OR kafka_topic = $topic
ORDER BY coalesce(number, epoch_us(started_at)) DESC NULLS LAST, etl_ingested_at DESC, kafka_topic, kafka_partition, kafka_offset DESC
LIMIT $most;
