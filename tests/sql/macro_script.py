"""Run as a script by a test: load the macros into databases of their own and ask them.

`python macro_script.py MACROS INPUTS.parquet OUTPUT.parquet` reads one query a line from standard
input, as JSON; the rows of INPUTS are the table `given`. It writes a line for each answer, empty
unless DuckDB refused. With another DuckDB in PYTHONPATH, that one answers.
"""

import json
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


def answer(query: str, macros: Path, inputs: str, output: str) -> str:
    """Write the answer to a query into a file; return what was wrong."""
    try:
        with duckdb.connect(config={"threads": 1}) as mine:
            mine.execute(f"CREATE VIEW given AS FROM read_parquet('{inputs}')")
            load(mine, macros)
            mine.execute(f"COPY ({query}) TO '{output}'")
    except duckdb.Error as error:
        return str(error)
    return ""


if __name__ == "__main__":
    folder, *files = sys.argv[1:]
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), Path(folder), *files)), flush=True)  # noqa: T201 - its answer
