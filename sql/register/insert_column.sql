INSERT INTO etl.columns (topic, path, version, ordinal, type, wide)
VALUES ($topic, $path, $version, $ordinal, $type, $wide)
ON CONFLICT (topic, path, version) DO UPDATE SET wide = excluded.wide;
