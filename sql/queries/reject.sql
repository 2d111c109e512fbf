-- One message that could not be decoded; of several incarnations of its topic, the newest first.
SELECT kafka_topic, kafka_partition, kafka_offset, etl_incarnation, kafka_timestamp, night, etl_run_id, reason, value
FROM etl.rejects
WHERE kafka_topic = $topic AND kafka_partition = $partition AND kafka_offset = $offset
    AND ($incarnation IS NULL OR etl_incarnation = $incarnation)
ORDER BY etl_incarnation DESC;
