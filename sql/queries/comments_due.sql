-- The columns of views whose comment is not the meaning of a field of that name in etl.dictionary. A field
-- counts where its name has one meaning and its type fits; BIGINT fits DOUBLE: no fraction came yet.
-- detections and forced show Rubin's lists, all other views the columns that filters select from Lasair's
-- tables.
WITH fields AS (
    SELECT
        CASE source_table WHEN 'diaSource' THEN 'detections' WHEN 'diaForcedSource' THEN 'forced' END AS view,
        field,
        any_value(type) AS type,
        any_value(meaning || coalesce(' [' || unit || ']', '')) AS comment
    FROM etl.dictionary
    WHERE source_table <> 'diaObject'
    GROUP BY ALL
    HAVING count(DISTINCT (meaning, unit, type)) = 1
)

SELECT schema_name, table_name, column_name, fields.comment
FROM duckdb_columns() AS shown
JOIN fields
    ON fields.field = column_name
    AND fields.view IS NOT DISTINCT FROM CASE WHEN table_name IN ('detections', 'forced') THEN table_name END
    AND (fields.type = data_type OR (fields.type = 'DOUBLE' AND data_type = 'BIGINT'))
WHERE database_name = current_database()
    AND (schema_name = 'main' OR (schema_name = 'etl' AND table_name = 'sightings'))
    AND shown.comment IS DISTINCT FROM fields.comment
ORDER BY ALL;
