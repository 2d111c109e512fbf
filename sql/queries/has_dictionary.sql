-- Whether the dictionary is there: a lake that an older version published has none.
SELECT count(*) > 0 AS has_dictionary FROM duckdb_tables() WHERE schema_name = 'etl' AND table_name = 'dictionary';
