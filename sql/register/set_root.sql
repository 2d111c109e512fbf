-- Note the path that the views are made for.
UPDATE etl.lake SET root = $root;
