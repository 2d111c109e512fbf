-- Record the state and the figures of a run, which never ends before it began: the clock may have gone back.
UPDATE etl.runs
SET state = $state, ended_at = CASE WHEN $ended_at IS NOT NULL THEN greatest($ended_at, started_at) END, exit_code = $exit_code, checkpoints = $checkpoints,
    alerts = $alerts, rejects = $rejects, tombstones = $tombstones, absent = $absent, lost = $lost,
    files = $files, bytes = $bytes, seconds = $seconds, lag = $lag, message = $message
WHERE run_id = $run_id;
