-- The ranges of offsets without a row: lost, or without a message (tombstones and absent ones). They have no
-- time of their own, so each has the nights of the rows before and after it in its partition. The first is
-- NULL where no row is before it. Where none is after it, the last is the UTC date on which the hole was
-- found: no night is later.
WITH holed AS (
    SELECT topic, incarnation, partition FROM etl.spans WHERE tombstones + absent > 0
    UNION SELECT topic, incarnation, partition FROM etl.gaps
), steps AS (
    SELECT kafka_topic AS topic, etl_incarnation AS incarnation, kafka_partition AS partition, kafka_offset AS "offset", night FROM alerts
    UNION ALL SELECT kafka_topic, etl_incarnation, kafka_partition, kafka_offset, night FROM etl.rejects
    UNION ALL SELECT topic, incarnation, partition, first - 1, NULL FROM etl.offsets
    UNION ALL SELECT topic, incarnation, partition, next, NULL FROM etl.offsets
), holes AS (
    SELECT topic, incarnation, partition, "offset" + 1 AS start, lead("offset") OVER own AS "end",
        night AS night_before, lead(night) OVER own AS night_after
    FROM steps SEMI JOIN holed USING (topic, incarnation, partition)
    WINDOW own AS (PARTITION BY topic, incarnation, partition ORDER BY "offset")
    QUALIFY "end" > start
), known AS (
    SELECT topic, incarnation, partition, start, "end", "end" - start AS lost, found_at FROM etl.gaps
    UNION ALL SELECT topic, incarnation, partition, start, "end", 0, coalesce(ended_at, started_at)
    FROM etl.spans JOIN etl.runs USING (run_id)
)
SELECT h.topic, h.incarnation, h.partition, h.start, h."end", h."end" - h.start - sum(k.lost)::BIGINT AS empty,
    sum(k.lost)::BIGINT AS lost,
    CASE WHEN night_before IS NOT NULL THEN least(night_before, coalesce(night_after, max(k.found_at)::DATE)) END AS first_night,
    greatest(night_before, coalesce(night_after, max(k.found_at)::DATE)) AS last_night
FROM holes AS h JOIN known AS k
    ON h.topic = k.topic AND h.incarnation = k.incarnation AND h.partition = k.partition
    AND h.start < k."end" AND k.start < h."end"
GROUP BY h.topic, h.incarnation, h.partition, h.start, h."end", night_before, night_after
ORDER BY h.topic, h.incarnation, h.partition, h.start;
