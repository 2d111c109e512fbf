-- Per topic and night, `alerts` shows as many rows as the live files hold, and likewise `etl.rejects`.
WITH shown AS (
    SELECT kafka_topic AS topic, night, 'alerts' AS kind, count(*) AS rows FROM alerts GROUP BY ALL
    UNION ALL SELECT kafka_topic, night, 'rejects', count(*) FROM etl.rejects GROUP BY ALL
), stored AS (
    SELECT topic, night, kind, sum(rows)::BIGINT AS rows FROM etl.files WHERE retired_at IS NULL GROUP BY ALL
)
SELECT topic, night, kind, coalesce(shown.rows, 0) AS shown, coalesce(stored.rows, 0) AS in_files
FROM shown FULL JOIN stored USING (topic, night, kind)
WHERE coalesce(shown.rows, 0) <> coalesce(stored.rows, 0)
ORDER BY ALL;
