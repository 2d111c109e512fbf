-- The newest messages that could not be decoded, with their lengths.
SELECT kafka_topic, kafka_partition, kafka_offset, etl_incarnation, kafka_timestamp, reason, octet_length(value) AS bytes
FROM etl.rejects LEFT JOIN etl.runs ON run_id = etl_run_id
WHERE $topic IS NULL OR kafka_topic = $topic
ORDER BY number DESC NULLS LAST, etl_ingested_at DESC, kafka_topic, kafka_partition, kafka_offset DESC
LIMIT $most;
