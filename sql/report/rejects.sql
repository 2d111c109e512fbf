-- Why messages could not be decoded, by topic: how many, and the newest of them.
SELECT kafka_topic AS topic, reason, count(*) AS rejects, max(kafka_timestamp) AS newest,
    arg_max(kafka_partition, etl_ingested_at) AS partition, arg_max(kafka_offset, etl_ingested_at) AS "offset"
FROM etl.rejects GROUP BY ALL
ORDER BY max(etl_ingested_at) DESC, rejects DESC, topic, reason
LIMIT $most;
