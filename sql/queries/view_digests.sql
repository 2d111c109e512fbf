-- The digest of each view's definition.
SELECT name, digest FROM etl.views;
