-- The oldest version of lasair-etl that can write this catalog.
SELECT needs FROM etl.lake;
