-- What each view was made of.
SELECT name, digest FROM etl.views;
