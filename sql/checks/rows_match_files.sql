-- Per topic and night, `alerts` shows as many rows as the live files have, and so does `etl.rejects`; per month where a file has several nights.
WITH live AS (
    SELECT topic, kind, night, last_night, rows FROM etl.files WHERE retired_at IS NULL
), joint AS (
    SELECT DISTINCT topic, kind, date_trunc('month', night) AS month FROM live WHERE last_night IS NOT NULL
), found AS (
    SELECT kafka_topic AS topic, 'alerts' AS kind, night, count(*) AS shown, 0 AS in_files FROM alerts GROUP BY ALL
    UNION ALL SELECT kafka_topic, 'rejects', night, count(*), 0 FROM etl.rejects GROUP BY ALL
    UNION ALL SELECT topic, kind, night, 0, rows FROM live
)
SELECT found.topic, coalesce(month, night)::DATE AS night, found.kind, sum(shown)::BIGINT AS shown, sum(in_files)::BIGINT AS in_files
FROM found LEFT JOIN joint
    ON found.topic = joint.topic AND found.kind = joint.kind AND date_trunc('month', night) = month
GROUP BY found.topic, found.kind, coalesce(month, night)::DATE
HAVING sum(shown) <> sum(in_files)
ORDER BY ALL;
