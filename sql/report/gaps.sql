-- The newest gaps: offsets [start, end) that the broker dropped before they were read.
-- A file that an older program published has no numbers; there the clock orders its runs.
SELECT topic, incarnation, partition, start, "end", "end" - start AS lost, found_at, reason
FROM etl.gaps LEFT JOIN (FROM etl.runs UNION ALL BY NAME SELECT NULL::BIGINT AS number WHERE false) USING (run_id)
ORDER BY coalesce(number, epoch_us(started_at)) DESC NULLS LAST, topic, incarnation, partition, start
LIMIT $most;
