-- Files that newer ones have stood for since before some moment.
SELECT path FROM etl.files WHERE retired_at <= $before ORDER BY path;
