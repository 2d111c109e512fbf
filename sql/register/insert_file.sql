INSERT INTO etl.files (path, topic, night, kind, rows, bytes, run_id, checkpoint, schema_version)
VALUES ($path, $topic, $night, $kind, $rows, $bytes, $run_id, $checkpoint, $schema_version);
