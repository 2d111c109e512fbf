"""The verbs that change a lake or its settings: init, drain, compact."""

import gc
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etl.cli import answers, console, options
from etl.cli.options import flag, published_of, value
from etl.config.settings import CONFIG_NAME, Settings, parse
from etl.text import terminal

if TYPE_CHECKING:
    from etl.records import Figures


class _Hidden:
    """Makes Arrow start without these two packages; where they are installed, it imports both.

    They are for values that a lake never gets from them, and took a quarter of the processor time
    of a short run. This can go when Arrow imports them on first use
    (https://github.com/apache/arrow/issues/34994).
    """

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> None:
        """Refuse them, as an importer of Python's does; let all others be found elsewhere."""
        if name in {"numpy", "pandas"}:
            raise ModuleNotFoundError(name, name=name)


@click.command()
@value("--user-id", "N", "Your user id in Lasair: the N of lasair_N...", int)
@value(
    "--filter filters",
    "NAME",
    "The name of one of your filters, as Lasair shows it; may be repeated.",
    multiple=True,
)
@value("--topic topics", "NAME", "A topic by its own name; may be repeated.", multiple=True)
@value("--group-id", "NAME", "Your consumer group.  [default: a new, unique one]")
@flag("--ztf", "Lasair's broker and nights for ZTF instead of Rubin's.")
@options.about_broker("Another broker.  [default: lasair-lsst-kafka.lsst.ac.uk:9092]")
@options.about_lake("The folder that will hold everything, relative to the file.", default="lake")
@options.about_config(
    "The file to write; an existing file is never overwritten.", default=CONFIG_NAME
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

    given = {"bootstrap_servers": bootstrap_servers, "group_id": group_id, "lake": lake}
    for key, each in given.items():
        if each is not None:
            parse("command line", key, each)
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
    console.tell(start, answers.start_lines(start, config, made_up=group_id is None))


@click.command()
@options.several(options.config, options.broker)
@value("--group-id", "NAME", "Your consumer group: unique to you, and always the same.")
@value("--topic topics", "NAME", "A topic to drain; may be repeated.", multiple=True)
@options.lake
@value(
    "--poll-timeout",
    "SECONDS",
    "Stop after this long without an alert; 0: at the end of the stream.  [default: 10]",
    float,
)
@options.connect_timeout
@value("--max-messages", "N", "Stop after this many messages.", int)
@value("--max-seconds", "SECONDS", "Stop after this long.  [default: 3000]", float)
@value(
    "--cluster-changed",
    "moved:ID|another:ID",
    "Say once, where a drain asks: the stream has moved to this cluster, or it is another source.",
)
@options.as_json
@flag(
    "--dry-run",
    "Only show where each partition would start and how far behind it is; change nothing.",
)
@options.verbose
def drain(*, as_json: bool, dry_run: bool, **flags: Any) -> int:
    """Carry all new alerts into the lake, then stop.

    Made for cron, every hour. The lake says where to resume, so nothing is lost or doubled after
    a run was killed, or with another group id. The last line sums up the run; with --json it is one
    object.
    """
    chosen = options.settings(**flags)
    if dry_run:
        return _preview(chosen, as_json=as_json)
    sys.meta_path.insert(0, _Hidden)
    from etl.jobs.drain import drain as drain_lake

    # A poll makes thousands of objects, none of them garbage: looking for it took 8 % of the run.
    gc.set_threshold(100_000, 50, 100)
    with console.stop_requests() as asked_to_stop, console.progress_bar() as advance:

        def progress(figures: "Figures", lag: int | None) -> None:
            advance(figures.alerts + figures.rejects, lag)

        outcome = drain_lake(chosen, progress, asked_to_stop)
    console.tell(outcome, [answers.closing_line(outcome)], as_json=as_json)
    return outcome.exit_code


@click.command()
@options.several(options.config, options.lake, options.as_json, options.verbose)
def compact(*, as_json: bool, **flags: Any) -> int:
    """Merge many small files into few large ones.

    A drain does this too, for a minute at most; this goes on until all is done. It only touches
    nights that are over and changes no row, and readers notice nothing. A drain or a compaction
    deletes the small files some days later (keep_retired). With nothing to do it prints nothing.
    """
    sys.meta_path.insert(0, _Hidden)
    from etl.jobs.compact import compact as compact_lake

    chosen = options.settings(options.LAKE_ONLY, **flags)
    with console.stop_requests() as asked_to_stop:
        done = compact_lake(chosen, asked_to_stop)
    console.tell(done, filter(None, [answers.compacted_line(done)]), as_json=as_json)
    return done.exit_code


def _preview(chosen: Settings, *, as_json: bool) -> int:
    from etl.audit import status
    from etl.lake.layout import lake_at

    exists = lake_at(chosen.lake).public.exists()
    with published_of(chosen) if exists else nullcontext() as published:
        found = status.preview(chosen, published)
    console.show(found, found.notes, as_json=as_json)
    if not as_json:
        if found.partitions:
            terminal.show(*answers.preview_table(found))
        click.echo(answers.preview_line(found))
    return 0
