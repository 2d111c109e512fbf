-- The tables of the catalog.
SELECT table_name FROM duckdb_tables() WHERE schema_name = 'etl' AND database_name = current_database() ORDER BY table_name;
