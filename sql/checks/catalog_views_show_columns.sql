-- Every topic has a view with all learnt columns, and `alerts` has exactly those that are marked as part of it.
WITH shown AS (
    SELECT table_name AS view, column_name AS name FROM duckdb_columns()
    WHERE database_name = current_database() AND schema_name = 'main'
), learnt AS (
    SELECT topic, path, CASE WHEN path[1] = '"' THEN from_json(path, '"VARCHAR"') ELSE path END AS name, arg_max(in_alerts, version) AS in_alerts
    FROM etl.columns
    WHERE regexp_full_match(path, '[A-Za-z_][A-Za-z0-9_]*|"([^"\\]|\\.)*"')
    GROUP BY topic, path
)
SELECT topic AS view, NULL AS path, 'no such view' AS complaint FROM (SELECT DISTINCT topic FROM etl.topics)
WHERE topic NOT IN (SELECT view FROM shown)
UNION ALL
SELECT topic, path, 'the view does not have it' FROM learnt ANTI JOIN shown ON topic = view AND learnt.name = shown.name
WHERE topic IN (SELECT view FROM shown)
UNION ALL
SELECT 'alerts', path, 'marked as part of the view, which does not have it' FROM learnt ANTI JOIN shown ON view = 'alerts' AND learnt.name = shown.name
WHERE in_alerts
UNION ALL
SELECT 'alerts', path, 'not marked as part of the view, which has it' FROM learnt SEMI JOIN shown ON view = 'alerts' AND learnt.name = shown.name
WHERE NOT in_alerts
ORDER BY ALL;
