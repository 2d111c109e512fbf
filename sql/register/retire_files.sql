-- Newer files stand for these from now on; gives as many as were live.
UPDATE etl.files SET retired_at = $now
WHERE retired_at IS NULL AND path IN (SELECT unnest($paths::VARCHAR[]))
RETURNING path;
