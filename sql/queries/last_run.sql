-- The run that began last, as far as it is published.
SELECT run_id, state, started_at, ended_at, group_id, exit_code, alerts, rejects, lost, files, bytes, seconds, lag, message
FROM etl.runs ORDER BY started_at DESC, run_id DESC LIMIT 1;
