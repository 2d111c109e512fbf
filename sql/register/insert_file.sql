INSERT INTO etl.files (path, topic, night, last_night, kind, rows, bytes, run_id, checkpoint, schema_version)
VALUES ($path, $topic, $night, $last_night, $kind, $rows, $size_bytes, $run_id, $checkpoint, $schema_version);
