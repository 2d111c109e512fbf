-- Files of several nights, and runs that only compact.
ALTER TABLE etl.files ADD COLUMN last_night DATE;
COMMENT ON COLUMN etl.files.night IS 'The night of its rows, or the first of several';
COMMENT ON COLUMN etl.files.last_night IS 'The last night of a file that holds several, and then has the column night itself; else NULL';
COMMENT ON TABLE etl.runs IS 'One row per drain, and per compaction that had something to do: that has no group_id, and read nothing';
