-- No file has a schema version that its topic has not reached.
SELECT path, f.topic, schema_version, coalesce(newest, 0) AS newest
FROM etl.files AS f LEFT JOIN (SELECT topic, max(version) AS newest FROM etl.columns GROUP BY topic) AS c USING (topic)
WHERE schema_version > coalesce(newest, 0)
ORDER BY ALL;
