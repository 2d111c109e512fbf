-- The newest migration that was applied, and the path that the views name.
SELECT migration, root FROM etl.lake;
