"""Run as a script by a test: load the macros into a database of its own and ask it one thing.

`python macro_script.py MACROS INPUTS.parquet OUTPUT.parquet` reads the SQL from standard input;
the rows of INPUTS are the table `given`. With another DuckDB in PYTHONPATH, that one answers.
"""

import sys
from pathlib import Path

import duckdb


def load(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Make the scalar macros, then `cone` and what it reads."""
    ra, decl = ("g.ra", "g.decl") if _columns(connection) >= {"ra", "decl"} else ("NULL", "NULL")
    connection.execute("CREATE SCHEMA etl")
    connection.execute(
        f"CREATE VIEW etl.sightings AS SELECT g.*, {ra} AS object_ra, {decl} AS object_decl "
        "FROM given AS g"
    )
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.sql"))]
    for text in texts:
        if ") AS TABLE\n" not in text:
            connection.execute(text)
    connection.execute((folder / "cone.sql").read_text(encoding="utf-8"))


def _columns(connection: duckdb.DuckDBPyConnection) -> set[str]:
    return {row[0] for row in connection.execute("DESCRIBE given").fetchall()}


if __name__ == "__main__":
    macros, inputs, output = sys.argv[1:]
    with duckdb.connect(config={"threads": 1}) as mine:
        mine.execute(f"CREATE VIEW given AS FROM read_parquet('{inputs}')")
        load(mine, Path(macros))
        mine.execute(f"COPY ({sys.stdin.read()}) TO '{output}'")
