-- The drain that began last, as published; a compaction has no group.
SELECT run_id, state, started_at, ended_at, group_id, exit_code, alerts, rejects, lost, files, bytes, seconds, lag, message
FROM etl.runs WHERE group_id IS NOT NULL ORDER BY number DESC LIMIT 1;
