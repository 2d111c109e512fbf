-- The newest runs, first those that are known to have gone wrong where $wrong says so.
SELECT started_at, state, exit_code, alerts, rejects, lost, lag, files, bytes, seconds, message
FROM etl.runs
WHERE NOT coalesce($wrong, false) OR state = 'failed' OR exit_code <> 0
ORDER BY started_at DESC, run_id DESC
LIMIT $most;
