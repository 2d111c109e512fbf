-- Forget retired files that have been deleted.
DELETE FROM etl.files WHERE retired_at IS NOT NULL AND path IN (SELECT unnest($paths::VARCHAR[]));
