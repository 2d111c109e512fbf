-- Every file is registered once, under a path that says its kind, topic and night.
SELECT path, topic, night, kind, count(*) AS times
FROM etl.files
GROUP BY ALL
HAVING count(*) > 1 OR kind NOT IN ('alerts', 'rejects') OR min(rows) < 1
    OR NOT starts_with(path, CASE kind WHEN 'alerts' THEN 'data' ELSE 'rejects' END || '/kafka_topic=' || topic || '/night=' || night || '/')
ORDER BY ALL;
