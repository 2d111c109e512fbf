-- Count a transaction: of two copies of a catalog the one with more is the newer.
UPDATE etl.lake SET generation = generation + 1;
