-- By which hour a run filed its alerts.
ALTER TABLE etl.runs ADD COLUMN night_starts DOUBLE;
COMMENT ON COLUMN etl.runs.night_starts IS 'Hours of UTC at which the nights of this run''s alerts begin; NULL for a compaction, and where the run was before this was noted';
