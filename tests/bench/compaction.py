"""What compaction does to a year of one topic: files, bytes, and how long questions take.

    python -m tests.bench.compaction --rows 300

It makes a lake of 365 nights with 24 files each, asks it, compacts it, asks again. A cold question
starts a DuckDB and opens the published file first, where the start alone is said beside them; a
warm one is the second and later ones of an open connection.
Medians, in milliseconds; CPU time beside them, since a busy machine stretches the other.
"""

import random
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import click
import duckdb
import pyarrow as pa

from etl.catalog import checkpoint, runs
from etl.catalog.checkpoint import Checkpoint
from etl.catalog.database import Catalog
from etl.config.settings import Settings
from etl.decode.batch import decode_batch
from etl.demo.alerts import alerts
from etl.jobs import compact
from etl.lake import land, layout
from etl.records import Batch, Decoded, Figures, Position, RunState, Span, SpanCount
from etl.schema.types import EMPTY

TOPIC = "lasair_year"
END = datetime(2026, 2, 1, 12)
"""Where the newest night ends: it is over, so that all of a lake can be compacted."""
HOURS = 365 * 24
RUN = "20250201T120000Z-00000000"
ASKED = 5
QUESTIONS = {
    "object": f"SELECT * FROM {TOPIC} WHERE diaObjectId = $id",
    "absent": f"SELECT * FROM {TOPIC} WHERE diaObjectId = $id - 1",
    "magnitudes": f"SELECT UTC, ra, decl, g_psfFlux FROM {TOPIC} WHERE diaObjectId = $id",
    "night": f"SELECT count(*), sum(ra) FROM {TOPIC} WHERE night = '2026-01-31'",
    "count": f"SELECT count(*) FROM {TOPIC}",
}


def build(root: Path, rows: int, objects: int, kind: str, hours: int = HOURS) -> None:
    """Make hourly files, a year of them; every alert is of one of so many objects."""
    catalog = Catalog.open(layout.Lake(root))
    chance = random.Random(1)
    now = datetime.now(UTC)
    values = list(alerts(kind, max(rows, 2000 if kind == "plain" else 100), 1, now=now))
    spans = (Span(TOPIC, 1, 0, 0, len(values)),)
    offsets = list(range(len(values)))
    none: list[int | None] = [None] * len(values)
    first = END - timedelta(hours=hours)
    batch = Batch(TOPIC, 1, [0] * len(values), offsets, none, list(values), spans)
    decoded, schema = decode_batch(batch, EMPTY)
    files = []
    for hour in range(hours):
        moment = first + timedelta(hours=hour)
        start = hour * rows
        table = decoded.table.take([chance.randrange(len(values)) for _ in range(rows)])
        for name, new in {
            "diaObjectId": [ident(chance.randrange(objects)) for _ in range(rows)],
            "kafka_offset": range(start, start + rows),
            "kafka_timestamp": [moment] * rows,
        }.items():
            at = table.schema.get_field_index(name)
            table = table.set_column(at, table.field(at), pa.array(new, table.field(at).type))
        stamp = land.Stamp(
            RUN, 1, TOPIC, None, 1, schema.version, moment, timedelta(hours=12), hour + 1,
            (Span(TOPIC, 1, 0, start, start + rows),),
        )  # fmt: skip
        files += land.land(Decoded(table, [], ()), stamp, root)
    whole = Span(TOPIC, 1, 0, 0, hours * rows)
    step = Checkpoint(
        run_id=RUN,
        number=1,
        now=first,
        incarnations={TOPIC: 1},
        topic_ids={TOPIC: None},
        new=[Position(TOPIC, 1, 0, 0, 0, "earliest", is_new=True)],
        files=files,
        counts=[SpanCount(whole, whole.end, 0, 0, 0)],
        schemas={TOPIC: schema},
    )
    runs.open_run(catalog, RUN, first, "bench", "here", 1)
    done = RunState("done", first, 0)
    checkpoint.checkpoint(catalog, step, Figures(1, whole.end), done, root)
    catalog.write("register/set_root", [{"root": str(root)}])
    catalog.publish()
    catalog.close()


def ident(number: int) -> int:
    """Return the id of an object."""
    return 313637935709683761 + 977 * number


def asked(root: Path, objects: int) -> None:
    """Ask all questions, cold and warm, and print how long it took."""

    def connect() -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect()
        connection.execute(f"ATTACH '{root / 'alerts.duckdb'}' AS lake (READ_ONLY)")
        connection.execute("USE lake")
        connection.execute("SET enable_progress_bar = false")
        return connection

    def ask(connection: duckdb.DuckDBPyConnection, sql: str, number: int) -> int:
        parameters = {"id": ident(number)} if "$id" in sql else None
        return len(connection.execute(sql, parameters).fetchall())

    def start(_: int) -> int:
        duckdb.connect().close()
        return 0

    click.echo(f"  DuckDB's own start {timed(start, [0] * ASKED)}")
    for name, sql in QUESTIONS.items():
        chance = random.Random(name)
        numbers = [chance.randrange(objects) for _ in range(ASKED)]

        def cold(number: int, sql: str = sql) -> int:
            with connect() as connection:
                return ask(connection, sql, number)

        with connect() as open_one:
            ask(open_one, sql, numbers[0])

            def warm(
                number: int, sql: str = sql, held: duckdb.DuckDBPyConnection = open_one
            ) -> int:
                return ask(held, sql, number)

            click.echo(f"  {name:12} warm {timed(warm, numbers)}   cold {timed(cold, numbers)}")


def timed(question: Callable[[int], int], numbers: list[int]) -> str:
    """Time one question about several objects."""
    took, worked, rows = [], [], []
    for number in numbers:
        wall, cpu = time.perf_counter(), time.process_time()
        rows.append(question(number))
        took.append(1000 * (time.perf_counter() - wall))
        worked.append(1000 * (time.process_time() - cpu))
    return (
        f"{median(took):7.1f} ms (least {min(took):6.1f}, CPU {median(worked):6.1f}), "
        f"{median(rows):g} rows"
    )


def told(root: Path, done: Any = None) -> None:
    """Print what the lake is made of."""
    with duckdb.connect(str(root / "alerts.duckdb"), read_only=True) as public:
        files, size, rows = public.execute(
            "SELECT count(*), sum(bytes), sum(rows) FROM etl.files WHERE retired_at IS NULL"
        ).fetchall()[0]
    took = f", written in {done.seconds:.1f} s" if done else ""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    click.echo(f"{files} files, {size / 1e6:.1f} MB, {rows:,} rows{took}; peak RSS {peak:.0f} MB")


@click.command(help=__doc__)
@click.option("--rows", default=300, show_default=True, help="Alerts an hour.")
@click.option("--objects", default=20_000, show_default=True, help="Objects they are of.")
@click.option("--kind", default="plain", type=click.Choice(["plain", "lite"]), show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Where; kept.")
def main(rows: int, objects: int, kind: str, folder: Path | None) -> None:  # noqa: D103
    root = Path(folder or tempfile.mkdtemp(prefix="year-")).resolve()
    root.mkdir(exist_ok=True)
    try:
        if not (root / "alerts.duckdb").exists():
            with patch("os.fsync"):  # a year of them tells nothing here
                build(root, rows, objects, kind)
        told(root)
        asked(root, objects)
        told(root, compact.compact(Settings("", "", (), root)))
        asked(root, objects)
    finally:
        if folder is None:
            shutil.rmtree(root)


if __name__ == "__main__":
    main()
