-- The newest drains; with $wrong only the runs that went wrong, compactions (without a group) too.
SELECT started_at, state, exit_code, alerts, rejects, lost, lag, files, bytes, seconds, message
FROM etl.runs
WHERE CASE WHEN coalesce($wrong, false) THEN state = 'failed' OR exit_code <> 0 ELSE group_id IS NOT NULL END
ORDER BY number DESC
LIMIT $most;
