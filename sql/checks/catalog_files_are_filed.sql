-- Every file is registered once, under a path with its kind, its topic, and its night, or its month where it has several nights.
SELECT path, topic, night, last_night, kind, count(*) AS times
FROM etl.files
GROUP BY ALL
HAVING count(*) > 1 OR kind NOT IN ('alerts', 'rejects') OR min(rows) < 1 OR last_night <= night
    OR NOT starts_with(path, CASE kind WHEN 'alerts' THEN 'data' ELSE 'rejects' END || '/kafka_topic=' || topic
        || CASE WHEN last_night IS NULL THEN '/night=' || night ELSE strftime(night, '/%Y-%m') END || '/')
ORDER BY ALL;
