-- When the newest run began, by the clock of then.
SELECT started_at FROM etl.runs ORDER BY number DESC LIMIT 1;
