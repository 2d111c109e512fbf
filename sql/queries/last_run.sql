-- The drain that began last, as published; a compaction has no group.
-- A file that an older program published has no numbers; there the clock orders its runs.
SELECT run_id, state, started_at, ended_at, group_id, exit_code, alerts, rejects, lost, files, bytes, seconds, lag, message
FROM (FROM etl.runs UNION ALL BY NAME SELECT NULL::BIGINT AS number WHERE false) WHERE group_id IS NOT NULL ORDER BY coalesce(number, epoch_us(started_at)) DESC LIMIT 1;
