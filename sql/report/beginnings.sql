-- The topics that had messages before the offset at which the lake began to read them, and the last night
-- that those may be of. That is the night of the partition's first row, the latest over all partitions. A
-- partition without a row counts with the UTC date on which the topic was met: no night is later.
WITH later AS (
    SELECT topic, incarnation, partition FROM etl.offsets WHERE first > 0
), rows AS (
    SELECT kafka_topic AS topic, etl_incarnation AS incarnation, kafka_partition AS partition, kafka_offset AS "offset", night FROM alerts
    UNION ALL SELECT kafka_topic, etl_incarnation, kafka_partition, kafka_offset, night FROM etl.rejects
), firsts AS (
    SELECT topic, incarnation, partition, arg_min(night, "offset") AS night
    FROM rows SEMI JOIN later USING (topic, incarnation, partition)
    GROUP BY ALL
)
SELECT topic, max(coalesce(night, first_seen::DATE)) AS last_night
FROM later LEFT JOIN firsts USING (topic, incarnation, partition) JOIN etl.topics USING (topic, incarnation)
GROUP BY topic ORDER BY topic;
