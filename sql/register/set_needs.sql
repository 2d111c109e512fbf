-- Note the oldest version of lasair-etl that can write this catalog.
UPDATE etl.lake SET needs = $version;
