-- Record the state and the figures of a run.
UPDATE etl.runs
SET state = $state, ended_at = $ended_at, exit_code = $exit_code, checkpoints = $checkpoints,
    alerts = $alerts, rejects = $rejects, tombstones = $tombstones, absent = $absent, lost = $lost,
    files = $files, bytes = $bytes, seconds = $seconds, lag = $lag, message = $message
WHERE run_id = $run_id;
