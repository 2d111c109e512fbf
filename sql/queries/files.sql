-- Every registered file, with what its catalog says of it.
SELECT path, topic, night, kind, rows, bytes, run_id, schema_version, retired_at FROM etl.files ORDER BY path;
