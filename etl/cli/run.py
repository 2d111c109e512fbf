"""The verbs that change a lake or its settings: init, drain, compact."""

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etl.cli import answers, console, options
from etl.cli.options import published_of
from etl.config.settings import CONFIG_NAME, Settings
from etl.text import tables, terminal

if TYPE_CHECKING:
    from etl.records import Figures


@click.command()
@click.option(
    "--user-id", type=int, metavar="N", help="Your user id in Lasair: the N of lasair_N..."
)
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="NAME",
    help="The name of one of your filters, as Lasair shows it; may be repeated.",
)
@click.option(
    "--topic",
    "topics",
    multiple=True,
    metavar="NAME",
    help="A topic by its own name; may be repeated.",
)
@click.option(
    "--group-id", metavar="NAME", help="Your consumer group.  [default: a new, unique one]"
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
    help="The file to write; an existing file is never overwritten.",
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
    from etl.config import first_settings
    from etl.config.topics import topics_of

    options.warn_of_sample(group_id or "")
    start = first_settings.Start(
        topics=topics_of(user_id, filters, topics),
        group_id=group_id or first_settings.made_up_group(),
        bootstrap_servers=bootstrap_servers
        or (first_settings.ZTF_BROKER if ztf else first_settings.LSST_BROKER),
        lake=lake,
        night_starts=first_settings.ZTF_NIGHT_STARTS if ztf else first_settings.LSST_NIGHT_STARTS,
    )
    first_settings.write_settings(config, start)
    for line in answers.start_lines(start, config, made_up=group_id is None):
        click.echo(line)


@click.command()
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
    help="Stop after this long without an alert; 0: at the end of the stream.  [default: 10]",
)
@options.connect_timeout
@click.option("--max-messages", type=int, metavar="N", help="Stop after this many messages.")
@click.option(
    "--max-seconds", type=float, metavar="SECONDS", help="Stop after this long.  [default: 3000]"
)
@click.option(
    "--cluster-changed",
    metavar="moved:ID|another:ID",
    help="Say once, where a drain asks: the stream has moved to this cluster, or it is another "
    "source.",
)
@options.as_json
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only show where each partition would start and how far behind it is; change nothing.",
)
@options.verbose
def drain(*, config: Path | None, as_json: bool, dry_run: bool, **flags: Any) -> int:
    """Carry all new alerts into the lake, then stop.

    Made for cron, every hour. The lake says where to resume, so nothing is lost or doubled after
    a run was killed, or with another group id. The last line sums up the run; with --json it is one
    object.
    """
    chosen = options.settings(config, flags)
    if dry_run:
        return _preview(chosen, as_json=as_json)
    from etl.jobs.drain import drain as drain_lake

    # A poll makes thousands of objects, none of them garbage: looking for it took 8 % of the run.
    gc.set_threshold(100_000, 50, 100)
    with console.stop_requests() as asked_to_stop, console.progress_bar() as advance:

        def progress(figures: "Figures", lag: int | None) -> None:
            advance(figures.alerts + figures.rejects, lag)

        outcome = drain_lake(chosen, progress, asked_to_stop)
    click.echo(tables.json_text(outcome) if as_json else answers.closing_line(outcome))
    return outcome.exit_code


@click.command()
@options.several(options.config, options.lake, options.as_json, options.verbose)
def compact(*, config: Path | None, lake: str | None, as_json: bool) -> int:
    """Merge many small files into few large ones.

    A drain does this too, for a minute at most; this goes on until all is done. It only touches
    nights that are over and changes no row, and readers notice nothing. A drain or a compaction
    deletes the small files some days later (keep_retired). With nothing to do it prints nothing.
    """
    from etl.jobs.compact import compact as compact_lake

    chosen = options.settings(config, {"lake": lake}, options.LAKE_ONLY)
    with console.stop_requests() as asked_to_stop:
        done = compact_lake(chosen, asked_to_stop)
    line = tables.json_text(done) if as_json else answers.compacted_line(done)
    if line:
        click.echo(line)
    return done.exit_code


def _preview(chosen: Settings, *, as_json: bool) -> int:
    from etl.audit import status
    from etl.lake.layout import Lake

    if Lake(chosen.lake).public.exists():
        with published_of(chosen) as published:
            found = status.preview(chosen, published)
    else:
        found = status.preview(chosen, None)
    if as_json:
        click.echo(tables.json_text(found))
        return 0
    for note in found.notes:
        click.echo(note)
    if found.partitions:
        terminal.show(*answers.preview_table(found))
    click.echo(answers.preview_line(found))
    return 0
