-- The files that a run registered.
SELECT path FROM etl.files WHERE run_id = $run_id;
