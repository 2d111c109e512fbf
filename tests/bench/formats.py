"""What the same alerts take on disk in other formats, each written with its defaults."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from etl.statements import literal


def sizes(lake: Path, folder: Path) -> dict[str, int]:
    """Write a drained lake's rows anew with pyarrow and with DuckDB; give the bytes of all three.

    Both take one file for all rows, with the columns that the drain added.
    """
    files = sorted((lake / "data").rglob("*.parquet"))
    ours = sum(path.stat().st_size for path in files)
    by_pyarrow, by_duckdb = folder / "pyarrow.parquet", folder / "duckdb.parquet"
    schema = pa.unify_schemas([pq.read_schema(path) for path in files])
    with pq.ParquetWriter(by_pyarrow, schema) as writer:
        for path in files:
            writer.write_table(pq.read_table(path, schema=schema, partitioning=None))
    names = ", ".join(literal(str(path)) for path in files)
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (FROM read_parquet([{names}], hive_partitioning = false, union_by_name = true)) "
            f"TO {literal(str(by_duckdb))} (FORMAT parquet)"
        )
    found = {
        "lasair-etl": ours,
        "pyarrow's defaults": by_pyarrow.stat().st_size,
        "DuckDB's defaults": by_duckdb.stat().st_size,
    }
    by_pyarrow.unlink()
    by_duckdb.unlink()
    return found
