-- The files that were retired at least $keep ago. Time is counted from run to run: never backwards, and at
-- most a day, or half of $keep, at a step. A clock that jumps makes no file old at once.
WITH beginnings AS (
    SELECT number, started_at FROM etl.runs
    UNION ALL SELECT coalesce(max(number), 0) + 1, $now FROM etl.runs
), steps AS (
    SELECT number, epoch_us(started_at) - lag(epoch_us(started_at)) OVER (ORDER BY number) AS us FROM beginnings
), passed AS (
    SELECT number, greatest(0, least(us, 86400000000, epoch_us($keep::INTERVAL) // 2)) AS us FROM steps
)
SELECT path FROM etl.files JOIN passed ON number > retired_in
GROUP BY path HAVING sum(us) >= epoch_us($keep::INTERVAL) ORDER BY path;
