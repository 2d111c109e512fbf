-- The files that the view of all rejects is made of.
SELECT path FROM etl.files WHERE kind = 'rejects' AND retired_at IS NULL ORDER BY path;
