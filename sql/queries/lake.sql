-- The newest migration that was applied, and the path that the views were made for.
SELECT migration, root FROM etl.lake;
