-- No offset of a partition in one incarnation is stored twice, as alert or as reject.
SELECT topic, incarnation, partition, "offset", count(*) AS times FROM (
    SELECT kafka_topic AS topic, etl_incarnation AS incarnation, kafka_partition AS partition, kafka_offset AS "offset" FROM alerts
    UNION ALL SELECT kafka_topic, etl_incarnation, kafka_partition, kafka_offset FROM etl.rejects
)
GROUP BY ALL HAVING count(*) > 1
ORDER BY ALL;
