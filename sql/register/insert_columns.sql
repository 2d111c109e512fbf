-- Add the new or newly wide fields of one topic, as lists of equal length: a statement for each field takes 3 ms.
INSERT INTO etl.columns (topic, path, version, ordinal, type, wide)
SELECT $topic, unnest($path::VARCHAR[]), unnest($version::INTEGER[]), unnest($ordinal::INTEGER[]),
    unnest($type::VARCHAR[]), unnest($wide::BOOLEAN[])
ON CONFLICT (topic, path, version) DO UPDATE SET wide = excluded.wide;
