-- End a killed run, never before it began: the clock may have gone back since.
UPDATE etl.runs
SET state = 'failed', ended_at = coalesce(ended_at, greatest($ended_at, started_at)), message = coalesce(message, $message)
WHERE run_id = $run_id;
