-- Rows by night and topic: alerts, those of them that are Lasair's examples, and rejects.
SELECT night, topic, sum(alerts)::BIGINT AS alerts, sum(examples)::BIGINT AS examples, sum(rejects)::BIGINT AS rejects
FROM (
    SELECT night, kafka_topic AS topic, count(*) AS alerts, count_if(etl_example) AS examples, 0 AS rejects
    FROM alerts GROUP BY ALL
    UNION ALL SELECT night, kafka_topic, 0, 0, count(*) FROM etl.rejects GROUP BY ALL
)
GROUP BY ALL ORDER BY ALL;
