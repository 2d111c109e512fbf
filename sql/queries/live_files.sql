-- The files of the view of one topic and kind, oldest first.
SELECT schema_version, path FROM etl.files
WHERE topic = $topic AND kind = $kind AND retired_at IS NULL
ORDER BY schema_version, night, path;
