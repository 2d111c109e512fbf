-- Record the path that the views name.
UPDATE etl.lake SET root = $root;
