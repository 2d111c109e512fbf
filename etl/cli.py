"""The verbs of `lasair-etl`: each reads its options, calls the library, prints what it answers.

What a verb needs is imported inside it, so that `--help` and a typo cost nothing.
"""

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etl import __version__, console, looks, options, render, tables
from etl.looks import published_of
from etl.settings import CONFIG_NAME, Settings

if TYPE_CHECKING:
    from etl.register import Figures

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def main() -> None:
    """Be the command `lasair-etl`."""
    # Arrow's own allocators keep 50 to 80 MB more in a drain, and are no quicker there.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    sys.exit(console.run(root))


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, prog_name=console.PROGRAM)
def root() -> None:
    """Carry Lasair's alert streams from Kafka into a lake of Parquet files that DuckDB can query.

    \b
    A first time:  lasair-etl demo
    For real:      lasair-etl init --user-id 2 --filter "SN-like candidates"
                   lasair-etl drain

    Settings come from a flag, else from the environment (LASAIR_ETL_LAKE and so on), else from the
    file lasair-etl.toml, else from a default.

    \b
    Exit codes:   0 done           77 access denied
                 75 try later      78 wrong settings
                 65 data at risk   74 the lake can't be written
                 64 wrong usage    70 a bug
    """


@root.command()
@click.option(
    "--user-id", type=int, metavar="N", help="Your user id in Lasair: the N of lasair_N..."
)
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="NAME",
    help="The name of a filter of yours, as Lasair shows it; may be repeated.",
)
@click.option(
    "--topic", "topics", multiple=True, metavar="NAME", help="A topic by its own name; repeatable."
)
@click.option(
    "--group-id", metavar="NAME", help="Your consumer group.  [default: a unique one is made up]"
)
@click.option("--ztf", is_flag=True, help="Lasair's broker and nights for ZTF instead of Rubin's.")
@click.option(
    "--bootstrap-servers",
    metavar="HOST:PORT",
    help="Another broker.  [default: lasair-lsst-kafka.lsst.ac.uk:9092]",
)
@click.option(
    "--lake",
    default="lake",
    show_default=True,
    metavar="FOLDER",
    help="The folder that will hold everything, relative to the file.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=CONFIG_NAME,
    show_default=True,
    metavar="FILE",
    help="The file to write; one that is there already is never overwritten.",
)
@options.verbose
def init(
    *,
    user_id: int | None,
    filters: tuple[str, ...],
    topics: tuple[str, ...],
    group_id: str | None,
    ztf: bool,
    bootstrap_servers: str | None,
    lake: str,
    config: Path,
) -> None:
    """Write a commented settings file.

    \b
    lasair-etl init --user-id 2 --filter "SN-like candidates" --filter "nuclear transients"
    """
    from etl import starter

    options.warn_of_sample(group_id or "")
    start = starter.Start(
        topics=starter.topics_of(user_id, filters, topics),
        group_id=group_id or starter.made_up_group(),
        bootstrap_servers=bootstrap_servers or (starter.ZTF_BROKER if ztf else starter.LSST_BROKER),
        lake=lake,
        night_starts=starter.ZTF_NIGHT_STARTS if ztf else starter.LSST_NIGHT_STARTS,
    )
    starter.write_settings(config, start)
    for line in render.start_lines(start, config, made_up=group_id is None):
        click.echo(line)


@root.command()
@options.several(options.config, options.broker)
@click.option(
    "--group-id", metavar="NAME", help="Your consumer group: unique to you, and always the same."
)
@click.option(
    "--topic", "topics", multiple=True, metavar="NAME", help="A topic to drain; may be repeated."
)
@options.lake
@click.option(
    "--poll-timeout",
    type=float,
    metavar="SECONDS",
    help="Stop when no alert has arrived for so long; 0: at the end of the stream.  [default: 10]",
)
@options.connect_timeout
@click.option("--max-messages", type=int, metavar="N", help="Stop after so many messages.")
@click.option(
    "--max-seconds", type=float, metavar="SECONDS", help="Stop after so long.  [default: 3000]"
)
@options.as_json
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only say where each partition would start and how far behind it is; change nothing.",
)
@options.verbose
def drain(*, config: Path | None, as_json: bool, dry_run: bool, **flags: Any) -> int:
    """Carry all new alerts into the lake, then stop.

    Made to be run by cron every hour. The lake says where to resume, so that a run that was killed,
    or another group id, loses nothing and doubles nothing. The last line says what came; with
    --json it is one object.
    """
    chosen = options.settings(config, flags)
    if dry_run:
        return _preview(chosen, as_json=as_json)
    from etl.drain import drain as drain_lake

    # A poll makes thousands of objects, none of them garbage: looking for some took 8 % of the run.
    gc.set_threshold(100_000, 50, 100)
    with console.stop_requests() as asked_to_stop, console.progress_bar() as advance:

        def progress(figures: "Figures", lag: int | None) -> None:
            advance(figures.alerts + figures.rejects, lag)

        outcome = drain_lake(chosen, progress, asked_to_stop)
    click.echo(tables.json_text(outcome) if as_json else render.closing_line(outcome))
    return outcome.exit_code


@root.command()
@options.several(options.config, options.lake, options.as_json, options.verbose)
def compact(*, config: Path | None, lake: str | None, as_json: bool) -> int:
    """Make few large files of the many small ones.

    A drain does it by itself, for a minute at most; this goes on until all is done. Only nights
    that are over are touched, no row changes, and readers notice nothing. The small files are
    deleted some days later (keep_retired), by this or by a drain. With nothing to do it is silent.
    """
    from etl.compact import compact as compact_lake

    chosen = options.settings(config, {"lake": lake}, options.LAKE_ONLY)
    with console.stop_requests() as asked_to_stop:
        done = compact_lake(chosen, asked_to_stop)
    line = tables.json_text(done) if as_json else render.compacted_line(done)
    if line:
        click.echo(line)
    return done.exit_code


def _preview(chosen: Settings, *, as_json: bool) -> int:
    from etl import audit
    from etl.lake import Lake

    if Lake(chosen.lake).public.exists():
        with published_of(chosen) as published:
            found = audit.preview(chosen, published)
    else:
        found = audit.preview(chosen, None)
    if as_json:
        click.echo(tables.json_text(found))
        return 0
    for note in found.notes:
        click.echo(note)
    if found.partitions:
        tables.show(*render.preview_table(found))
    click.echo(render.preview_line(found))
    return 0


@root.command()
@click.option(
    "--kind",
    type=click.Choice(["plain", "lite", "full"]),
    default="plain",
    show_default=True,
    help="Attributes only (300 B), with a lite light curve (26 kB), or the full alert (320 kB).",
)
@click.option("--topic", required=True, metavar="NAME", help="Made where it is missing.")
@click.option(
    "--count",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    metavar="N",
    help="How many alerts.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    metavar="N",
    help="Alerts a second.  [default: all at once]",
)
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    metavar="N",
    help="Another seed gives other objects.",
)
@click.option(
    "--partitions",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    metavar="N",
    help="Of a topic that has to be made.",
)
@click.option(
    "--bootstrap-servers",
    metavar="HOST:PORT",
    default="localhost:9092",
    show_default=True,
    help="A broker of your own; the settings file is not asked.",
)
@options.verbose
def simulate(
    *,
    kind: str,
    topic: str,
    count: int,
    rate: float | None,
    seed: int,
    partitions: int,
    bootstrap_servers: str,
) -> None:
    """Publish made-up alerts to a broker of your own.

    To try a notebook, or for a load test. Objects, light curves and errors are plausible, and the
    first 10 alerts lack UTC as Lasair's examples do. The same seed gives the same alerts on the
    same day.
    """
    from etl.demo import publish_simulated

    sent = publish_simulated(
        bootstrap_servers, topic, kind, count, seed=seed, rate_per_s=rate, partitions=partitions
    )
    click.echo(f"{render.count(sent, f'{kind} alert')} published to {topic}")


@root.command()
@click.option(
    "--lake",
    default="demo-lake",
    show_default=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where to leave the lake; an earlier demonstration's is made anew.",
)
@options.verbose
def demo(*, lake: Path) -> None:
    """Show all of it in ten seconds, on this computer alone.

    It starts a broker, publishes simulated alerts, drains, publishes more, drains again, asks the
    lake in SQL, and leaves the lake for you to try the other verbs on.
    """
    from etl.demo import demonstrate

    demonstrate(lake, click.echo)


for verb in (
    looks.status,
    looks.sql,
    looks.query,
    looks.report,
    looks.peek,
    looks.rejects,
    looks.verify,
):
    root.add_command(verb)
