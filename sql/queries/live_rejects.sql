-- The files of the view of all rejects.
SELECT path FROM etl.files WHERE kind = 'rejects' AND retired_at IS NULL ORDER BY path;
