-- Every run ends within a day, and is open, done or failed.
SELECT run_id, state, started_at, host, pid
FROM etl.runs
WHERE state NOT IN ('open', 'done', 'failed')
    OR (state = 'open' AND started_at < make_timestamp(epoch_us(now())) - INTERVAL 1 DAY)
    OR (state = 'done' AND (ended_at IS NULL OR exit_code IS NULL OR ended_at < started_at))
ORDER BY ALL;
