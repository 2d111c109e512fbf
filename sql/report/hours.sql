-- The runs of each hour between two times (UTC), placed in a grid: x the hour of the day, y the days
-- since the first; how many began, and how the worst of them ended: 0 well, 1 try later or not ended
-- yet, 2 wrong.
SELECT date_trunc('hour', started_at) AS moment, hour(moment) AS x, date_diff('day', $since::TIMESTAMP, moment) AS y, count(*) AS runs,
    max(CASE WHEN state = 'open' OR (state = 'done' AND exit_code = 75) THEN 1 WHEN state = 'done' AND exit_code = 0 THEN 0 ELSE 2 END) AS worst
FROM etl.runs WHERE started_at >= $since::TIMESTAMP AND started_at < $until::TIMESTAMP
GROUP BY moment ORDER BY moment;
