-- Every registered file, with its row in the catalog.
SELECT path, topic, night, kind, rows, bytes, run_id, schema_version, retired_at FROM etl.files ORDER BY path;
