"""Run as a script by a test: load the macros into a database of its own and ask it one thing.

`python ask.py MACROS INPUTS.parquet OUTPUT.parquet` reads the SQL from standard input; the rows of
INPUTS are the table `given`. With another DuckDB in PYTHONPATH, that one answers.
"""

import sys
from pathlib import Path

import duckdb


def load(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Make the macros, and what `cone` reads: scalar macros first, since others are made of them."""
    connection.execute("CREATE SCHEMA etl")
    connection.execute(
        "CREATE VIEW etl.sightings AS SELECT *, g.ra AS object_ra, g.decl AS object_decl FROM given g"
        if _columns(connection) >= {"ra", "decl"}
        else "CREATE VIEW etl.sightings AS SELECT NULL::DOUBLE object_ra, NULL::DOUBLE object_decl"
    )
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.sql"))]
    for text in sorted(texts, key=lambda text: ") AS TABLE\n" in text):
        connection.execute(text)


def _columns(connection: duckdb.DuckDBPyConnection) -> set[str]:
    return {row[0] for row in connection.execute("DESCRIBE given").fetchall()}


if __name__ == "__main__":
    macros, inputs, output = sys.argv[1:]
    with duckdb.connect(config={"threads": 1}) as mine:
        mine.execute(f"CREATE VIEW given AS FROM read_parquet('{inputs}')")
        load(mine, Path(macros))
        mine.execute(f"COPY ({sys.stdin.read()}) TO '{output}'")
