-- Per topic, the live files have as many rows as the spans count, of alerts and of rejects.
WITH read AS (
    SELECT topic, 'alerts' AS kind, sum(alerts)::BIGINT AS in_spans FROM etl.spans GROUP BY topic
    UNION ALL SELECT topic, 'rejects', sum(rejects)::BIGINT FROM etl.spans GROUP BY topic
), stored AS (
    SELECT topic, kind, sum(rows)::BIGINT AS in_files FROM etl.files WHERE retired_at IS NULL GROUP BY topic, kind
)
SELECT topic, kind, coalesce(in_files, 0) AS in_files, coalesce(in_spans, 0) AS in_spans
FROM read FULL JOIN stored USING (topic, kind)
WHERE coalesce(in_files, 0) <> coalesce(in_spans, 0)
ORDER BY ALL;
