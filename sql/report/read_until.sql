-- Up to when (UTC) each topic is certainly read. A partition of the incarnation that was read last is read up to its
-- newest message, or, where the run that saw the topic last reached all ends, up to when that run began.
-- NULL where a partition had no message yet and the ends were not reached. A file that an older program published
-- does not say which incarnation was read last; there it is the newest.
WITH current AS (
    SELECT topic, incarnation, last_seen FROM (FROM etl.topics UNION ALL BY NAME SELECT NULL::BOOLEAN AS is_current WHERE false)
    QUALIFY coalesce(is_current, incarnation = max(incarnation) OVER (PARTITION BY topic))
), ends AS (
    SELECT topic, max(started_at) AS at_end
    FROM current JOIN etl.runs ON last_seen BETWEEN started_at AND ended_at
    WHERE state = 'done' AND lag = 0 AND exit_code <> 75
    GROUP BY topic
), partitions AS (
    SELECT topic, greatest(
        at_end,
        CASE WHEN last_timestamp_ms <= epoch_ms(last_seen) THEN make_timestamp(last_timestamp_ms * 1000) END
    ) AS read_until
    FROM current LEFT JOIN ends USING (topic) LEFT JOIN etl.offsets USING (topic, incarnation)
)
SELECT topic, CASE WHEN bool_and(read_until IS NOT NULL) THEN min(read_until) END AS read_until
FROM partitions GROUP BY topic ORDER BY topic;
