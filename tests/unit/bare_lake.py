"""A lake without Kafka and catalog: decoded batches as files, read through the views by DuckDB."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from etl.catalog.topic_views import View, alerts_view, rejects_view, topic_view
from etl.decode.batch import decode_batch
from etl.lake.land import Stamp, land
from etl.records import ALERTS, LandedFile
from etl.schema.columns import Column, from_columns, to_columns
from etl.schema.types import EMPTY, TopicSchema
from tests.unit.json_reference import Stored, batch_of, stored

NOW = datetime(2026, 2, 14, 14, 0)
NOON = timedelta(hours=12)
OLD_DUCKDB = Path(__file__).resolve().parents[2] / ".compat" / "duckdb-1.5.6"


def stamp_of(topic: str, version: int = 1, first_file: int = 0, run_id: str = "run") -> Stamp:
    """Mark a batch of a topic's first incarnation."""
    return Stamp(run_id, 1, topic, "id", 1, version, NOW, NOON, first_file, ())


class BareLake:
    """Each `add` is a run: what it learns survives as rows of `etl.columns`, and nothing else."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.columns: dict[str, dict[tuple[str, int], Column]] = {}
        self.versions: dict[str, dict[int, list[str]]] = {}
        self.rejects: list[str] = []
        self.files = 0

    def schema(self, topic: str) -> TopicSchema:
        """Return what the next run knows of a topic."""
        return from_columns(self.columns.get(topic, {}).values())

    def add(self, topic: str, values: Sequence[bytes | None]) -> list[LandedFile]:
        """Decode and land a batch, and note its schema as `register` does."""
        known = self.columns.setdefault(topic, {})
        result, schema = decode_batch(batch_of(values), self.schema(topic))
        landed = land(result, stamp_of(topic, schema.version, self.files), self.root)
        self.files += len(landed)
        for column in to_columns(schema, known.values()):
            known[column.path, column.version] = column
        for file in landed:
            if file.kind == ALERTS:
                versions = self.versions.setdefault(topic, {})
                versions.setdefault(file.schema_version, []).append(file.path)
            else:
                self.rejects.append(file.path)
        return landed

    def views(self, topics: Iterable[str] = ()) -> list[View]:
        """Define all views; `topics` names those that have no file."""
        schemas = dict.fromkeys(topics, EMPTY)
        schemas |= {topic: self.schema(topic) for topic in self.columns}
        root = str(self.root)
        return [
            *(topic_view(t, s, self.versions.get(t, {}), root) for t, s in schemas.items()),
            alerts_view(dict(sorted(schemas.items())))[0],
            rejects_view(self.rejects, root),
        ]

    def statements(self, topics: Iterable[str] = ()) -> list[str]:
        """Return all the SQL that makes the views."""
        made = [statement for view in self.views(topics) for statement in view.statements()]
        return ["CREATE SCHEMA etl", *made]

    def open(self, topics: Iterable[str] = ()) -> duckdb.DuckDBPyConnection:
        """Make the views in a database in memory."""
        connection = duckdb.connect()
        for statement in self.statements(topics):
            connection.execute(statement)
        return connection


def rows_of(connection: duckdb.DuckDBPyConnection, sql: str) -> list[dict[str, Any]]:
    """Run a query and give its rows as Python values."""
    cursor = connection.execute(sql)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def read_back(connection: duckdb.DuckDBPyConnection, view: str) -> dict[tuple[int, str], Stored]:
    """Read all alerts of a view, by offset and file's run."""
    return {
        (row["kafka_offset"], row["etl_run_id"]): stored(row)
        for row in rows_of(connection, f"SELECT * FROM {view}")
    }


ANSWERS_QUERIES = """
import json, sys
import duckdb

statements, queries = json.loads(sys.stdin.read())
connection = duckdb.connect()
connection.execute("SET enable_progress_bar = false")
for statement in statements:
    connection.execute(statement)
answers = []
for query in queries:
    rows = connection.execute(query).fetchall()
    answers.append([[column[:2] for column in connection.description], rows])
print(json.dumps([duckdb.__version__, answers], default=str))
"""


def query_in_process(
    statements: Sequence[str], queries: Sequence[str], duckdb_folder: Path | None = None
) -> tuple[str, list[Any]]:
    """Run queries in a process of its own, on another DuckDB if told; give version and answers."""
    done = subprocess.run(
        [sys.executable, "-c", ANSWERS_QUERIES],
        input=json.dumps([list(statements), list(queries)]),
        env={**os.environ, "PYTHONPATH": str(duckdb_folder or "")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    version, answers = json.loads(done.stdout)
    return version, answers
