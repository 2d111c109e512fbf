-- Record the newest migration.
UPDATE etl.lake SET migration = $migration;
