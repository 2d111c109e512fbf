-- Keep the digests of definitions; the lists have one entry for each, in the same order.
INSERT INTO etl.views (name, digest) SELECT unnest($names), unnest($digests)
ON CONFLICT (name) DO UPDATE SET digest = excluded.digest;
