INSERT INTO etl.views (name, digest) VALUES ($name, $digest)
ON CONFLICT (name) DO UPDATE SET digest = excluded.digest;
