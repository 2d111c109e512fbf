-- End a killed run.
UPDATE etl.runs SET state = 'failed', ended_at = coalesce(ended_at, $ended_at), message = coalesce(message, $message)
WHERE run_id = $run_id;
