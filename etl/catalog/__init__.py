"""The DuckDB file that says what is in the lake, written."""
