-- Retire files that newer ones replace; returns those that were live.
UPDATE etl.files SET retired_at = $now, retired_in = (SELECT max(number) FROM etl.runs)
WHERE retired_at IS NULL AND path IN (SELECT unnest($paths::VARCHAR[]))
RETURNING path;
