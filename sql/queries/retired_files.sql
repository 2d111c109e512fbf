-- The files that were retired before $before, or then.
SELECT path FROM etl.files WHERE retired_at <= $before ORDER BY path;
