-- Begin a run.
INSERT INTO etl.runs (run_id, state, started_at, group_id, host, pid, night_starts, number)
SELECT $run_id, 'open', $started_at, $group_id, $host, $pid, $night_starts, coalesce(max(number), 0) + 1 FROM etl.runs;
