-- Which lake this is, and which of two copies of its catalog is the newer one.
ALTER TABLE etl.lake ADD COLUMN lake_id VARCHAR;
ALTER TABLE etl.lake ADD COLUMN generation BIGINT DEFAULT 0;
ALTER TABLE etl.lake ADD COLUMN needs VARCHAR DEFAULT '';
UPDATE etl.lake SET lake_id = uuid()::VARCHAR;
COMMENT ON TABLE etl.lake IS 'One row: the newest migration, the absolute path that the views were made for, and which copy of which lake this is';
COMMENT ON COLUMN etl.lake.lake_id IS 'Made up when the lake was made; stands in the footer of every file too';
COMMENT ON COLUMN etl.lake.generation IS 'How many transactions have been committed: of two copies the one with more is the newer';
COMMENT ON COLUMN etl.lake.needs IS 'The oldest version of lasair-etl that can write this catalog';
