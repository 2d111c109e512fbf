-- Whether the catalog has its tables: a new file has none.
SELECT count(*) > 0 AS has_tables FROM duckdb_tables() WHERE schema_name = 'etl' AND table_name = 'lake';
