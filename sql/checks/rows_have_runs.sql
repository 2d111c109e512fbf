-- Every row names a run that read its offset.
SELECT DISTINCT f.topic, f.incarnation, f.run_id
FROM (
    SELECT DISTINCT kafka_topic AS topic, etl_incarnation AS incarnation, kafka_partition AS partition, etl_run_id AS run_id FROM alerts
    UNION SELECT DISTINCT kafka_topic, etl_incarnation, kafka_partition, etl_run_id FROM etl.rejects
) AS f ANTI JOIN etl.spans USING (topic, incarnation, partition, run_id)
ORDER BY ALL;
