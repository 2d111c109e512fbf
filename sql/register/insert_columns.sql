-- New or newly wide fields of one topic, as equally long lists: a statement for each takes 3 ms.
INSERT INTO etl.columns (topic, path, version, ordinal, type, wide)
SELECT $topic, unnest($path::VARCHAR[]), unnest($version::INTEGER[]), unnest($ordinal::INTEGER[]),
    unnest($type::VARCHAR[]), unnest($wide::BOOLEAN[])
ON CONFLICT (topic, path, version) DO UPDATE SET wide = excluded.wide;
