-- The newest drains; with $wrong only the runs that went wrong, compactions (without a group) too.
-- A file that an older program published has no numbers; there the clock orders its runs.
SELECT started_at, state, exit_code, alerts, rejects, lost, lag, files, bytes, seconds, message
FROM (FROM etl.runs UNION ALL BY NAME SELECT NULL::BIGINT AS number WHERE false)
WHERE CASE WHEN coalesce($wrong, false) THEN state = 'failed' OR exit_code <> 0 ELSE group_id IS NOT NULL END
ORDER BY coalesce(number, epoch_us(started_at)) DESC
LIMIT $most;
