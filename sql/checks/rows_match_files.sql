-- Per topic and night, `alerts` shows as many rows as the live files have, and so does `etl.rejects`; per stretch of nights that share files where a file has several.
WITH live AS (
    SELECT topic, kind, night, max(coalesce(last_night, night)) AS last_night, sum(rows) AS rows
    FROM etl.files WHERE retired_at IS NULL GROUP BY topic, kind, night
), reaching AS (
    SELECT *, max(last_night) OVER (PARTITION BY topic, kind ORDER BY night
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reached FROM live
), numbered AS (
    SELECT *, count_if(reached IS NULL OR night > reached) OVER (PARTITION BY topic, kind ORDER BY night
        ROWS UNBOUNDED PRECEDING) AS block FROM reaching
), blocks AS (
    SELECT topic, kind, min(night) AS first_night, max(last_night) AS last_night, sum(rows) AS rows
    FROM numbered GROUP BY topic, kind, block
), found AS (
    SELECT kafka_topic AS topic, 'alerts' AS kind, night, count(*) AS shown FROM alerts GROUP BY ALL
    UNION ALL SELECT kafka_topic, 'rejects', night, count(*) FROM etl.rejects GROUP BY ALL
), both_sides AS (
    SELECT f.topic, f.kind, coalesce(first_night, f.night) AS night, shown, 0 AS in_files
    FROM found AS f LEFT JOIN blocks AS b
        ON f.topic = b.topic AND f.kind = b.kind AND f.night BETWEEN b.first_night AND b.last_night
    UNION ALL SELECT topic, kind, first_night, 0, rows FROM blocks
)
SELECT topic, night, kind, sum(shown)::BIGINT AS shown, sum(in_files)::BIGINT AS in_files
FROM both_sides GROUP BY topic, night, kind
HAVING sum(shown) <> sum(in_files)
ORDER BY ALL;
