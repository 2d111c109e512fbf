-- A column's type never changes, except from BIGINT to DOUBLE where no wide value was seen.
SELECT topic, path, version, type, type_before FROM (
    SELECT *, lag(type) OVER earlier AS type_before, lag(wide) OVER earlier AS wide_before
    FROM etl.columns WINDOW earlier AS (PARTITION BY topic, path ORDER BY version)
)
WHERE (type_before IS NOT NULL AND type <> type_before AND NOT (type_before = 'BIGINT' AND type = 'DOUBLE' AND NOT wide_before))
    OR type NOT IN ('BIGINT', 'DOUBLE', 'BOOLEAN', 'VARCHAR', 'TIMESTAMP', 'STRUCT', 'LIST') OR (wide AND type NOT IN ('BIGINT', 'VARCHAR', 'STRUCT'))
ORDER BY ALL;
