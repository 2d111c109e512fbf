"""What grows with the lake, and how: from a few files to those of three years, hour by hour.

    python -m tests.bench.growth --files 10,100,1000,10000 --plot growth.png

For each size it makes a lake with a run and a span an hour, times what a run does at its end and
what readers ask, compacts, and times again. Least of three, in milliseconds: the least is what the
work itself takes on a busy machine. A question's connection is open, and was asked once before.
"""

import json
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from unittest.mock import patch

import click
import duckdb
from rich.console import Console
from rich.table import Table

from etl.catalog import checkpoint
from etl.catalog.checkpoint import Checkpoint
from etl.catalog.database import Catalog
from etl.config.settings import Settings
from etl.demo.embedded_broker import EmbeddedBroker
from etl.demo.producer import create_topic, publish
from etl.jobs import compact
from etl.lake.layout import Lake
from etl.records import Figures, RunState
from tests.bench.compaction import END, RUN, TOPIC, build, ident
from tests.bench.measure import python

ROWS, OBJECTS, TIMES = 20, 5_000, 3
SPANS = """
    DELETE FROM etl.spans;
    INSERT INTO etl.spans
    SELECT '{run}', h, '{topic}', 1, 0, h * {rows}, (h + 1) * {rows}, {rows}, 0, 0, 0
    FROM range({files}) AS hours(h);
    INSERT INTO etl.runs (run_id, state, started_at, ended_at, group_id, exit_code)
    SELECT '{run}-' || h, 'done', began, began, 'bench', 0
    FROM (SELECT h, TIMESTAMP '2023-01-01' + h * INTERVAL 1 HOUR AS began
        FROM range({files}) AS hours(h))
"""
"""One checkpoint made the lake; this is what so many hourly runs would have left."""
QUESTIONS = {
    "count": f"SELECT count(*) FROM {TOPIC}",
    "one night": f"SELECT count(*), sum(ra) FROM {TOPIC} WHERE night = '2026-01-31'",
    "one object": f"SELECT * FROM {TOPIC} WHERE diaObjectId = $id",
    "cone": "FROM cone(150.0, -30.0, 600)",
}


def least(what: Callable[[], object]) -> float:
    """Return the least of some times, in milliseconds."""
    took = []
    for _ in range(TIMES):
        began = time.perf_counter()
        what()
        took.append(1000 * (time.perf_counter() - began))
    return min(took)


def end_of_a_run(root: Path) -> dict[str, float]:
    """Time a checkpoint that brings nothing, and publishing."""
    catalog = Catalog.open(Lake(root))
    step = Checkpoint(RUN, 2, END, {TOPIC: 1}, {TOPIC: None})
    try:
        return {
            "checkpoint": least(
                lambda: checkpoint.checkpoint(catalog, step, Figures(), RunState("done"), root)
            ),
            "publish": least(catalog.publish),
        }
    finally:
        catalog.close()


def nothing_new(root: Path, broker: str) -> dict[str, float]:
    """Time whole processes of a drain with nothing to do; the first meets the topic."""
    flags = ("--bootstrap-servers", broker, "--group-id", "growth", "--topic", TOPIC)

    def drain() -> float:
        cost, _ = python(
            *("-m", "etl", "drain", "--json", "--poll-timeout", "0", "--lake", str(root), *flags),
            environment={"LASAIR_ETL_COMPACT": "false"},
        )
        return 1000 * cost.wall_s

    drain()
    return {"no-op drain": min(drain() for _ in range(TIMES))}


def questions(root: Path) -> dict[str, float]:
    """Time what readers ask."""
    chance = random.Random(1)
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{root / 'alerts.duckdb'}' AS lake (READ_ONLY)")
        connection.execute("USE lake")
        connection.execute("SET enable_progress_bar = false")

        def ask(sql: str) -> None:
            parameters = {"id": ident(chance.randrange(OBJECTS))} if "$id" in sql else None
            connection.execute(sql, parameters).fetchall()

        found = {}
        for name, sql in QUESTIONS.items():
            ask(sql)
            found[name] = least(lambda sql=sql: ask(sql))  # type: ignore[misc]
        return found


@contextmanager
def a_lake(files: int) -> Iterator[Path]:
    """Make a lake of so many hourly files and runs."""
    root = Path(tempfile.mkdtemp(prefix="growth-")).resolve()
    try:
        with patch("os.fsync"):  # so many of them tell nothing here
            build(root, ROWS, OBJECTS, "plain", files)
        catalog = Catalog.open(Lake(root))
        for statement in SPANS.format(run=RUN, topic=TOPIC, rows=ROWS, files=files).split(";"):
            catalog.define(statement)
        catalog.publish()
        catalog.close()
        yield root
    finally:
        shutil.rmtree(root)


def measured(files: int) -> dict[str, dict[str, float]]:
    """Return all figures of one size, before and after compaction."""
    with a_lake(files) as root, EmbeddedBroker() as broker:
        create_topic(broker, TOPIC, 1)
        publish(broker, TOPIC, repeat(b"{}", files * ROWS))  # so that the lake is at their end
        found = {}
        for state in ("hourly files", "compacted"):
            found[state] = nothing_new(root, broker) | end_of_a_run(root) | questions(root)
            if state == "hourly files":
                compact.compact(Settings("", "", (), root))
        return found


def draw(everything: dict[int, dict[str, dict[str, float]]], path: Path) -> None:
    """Draw each figure over the number of files, before and after compaction."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, state in zip(panels, ("hourly files", "compacted"), strict=True):
        for name in next(iter(everything.values()))[state]:
            values = [each[state][name] for each in everything.values()]
            axes.plot(list(everything), values, marker="o", label=name)
        axes.set(xscale="log", yscale="log", xlabel="hourly files in the lake", title=state)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("milliseconds")
    panels[1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=110)


@click.command(help=__doc__)
@click.option("--files", default="10,100,1000,10000", show_default=True, help="Sizes, with commas.")
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), help="Also write the figures."
)
@click.option("--plot", type=click.Path(path_type=Path), help="Also draw them.")
def main(files: str, json_path: Path | None, plot: Path | None) -> None:  # noqa: D103
    everything = {int(size): measured(int(size)) for size in files.split(",")}
    table = Table(title="milliseconds, least of three: hourly files, and compacted")
    table.add_column("files")
    names = list(next(iter(everything.values()))["hourly files"])
    for name in names:
        table.add_column(name, justify="right")
    for size, states in everything.items():
        for state, found in states.items():
            table.add_row(f"{size:,} {state}", *(f"{found[name]:,.1f}" for name in names))
    Console(width=140).print(table)
    if json_path:
        json_path.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    if plot:
        draw(everything, plot)


if __name__ == "__main__":
    main()
