-- The newest messages that could not be decoded, with their lengths.
SELECT kafka_topic, kafka_partition, kafka_offset, etl_incarnation, kafka_timestamp, reason, octet_length(value) AS bytes
FROM etl.rejects
WHERE $topic IS NULL OR kafka_topic = $topic
ORDER BY etl_ingested_at DESC, kafka_topic, kafka_partition, kafka_offset DESC
LIMIT $most;
