-- The live files of the alerts of one topic, or of all. A topic's newest schema comes first: it has every column.
SELECT path FROM etl.files
WHERE kind = 'alerts' AND retired_at IS NULL AND topic = coalesce($topic, topic)
ORDER BY topic, schema_version DESC, last_night IS NULL, night, path;
