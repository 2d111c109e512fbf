-- Begin a run.
INSERT INTO etl.runs (run_id, state, started_at, group_id, host, pid)
VALUES ($run_id, 'open', $started_at, $group_id, $host, $pid);
