-- The newest gaps: offsets [start, end) that the broker dropped before they were read.
SELECT topic, incarnation, partition, start, "end", "end" - start AS lost, found_at, reason
FROM etl.gaps LEFT JOIN etl.runs USING (run_id)
ORDER BY number DESC NULLS LAST, topic, incarnation, partition, start
LIMIT $most;
