"""The verbs that look and change nothing: status, peek, rejects, verify.

Each verb imports what it needs when it runs, so that `--help` and a typo cost nothing.
"""

import sys
from pathlib import Path
from typing import Any

import click

from etl.cli import answers, console, options
from etl.text import tables, terminal

# Someone is waiting, so status gives up sooner than a drain.
LOOK_TIMEOUT_S = 10.0


@click.command()
@options.several(options.config, options.lake, options.broker)
@click.option(
    "--topic", "topics", multiple=True, metavar="NAME", help="Show this topic too; repeatable."
)
@click.option(
    "--connect-timeout",
    type=float,
    default=LOOK_TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for an answer from the broker.",
)
@options.several(options.as_json, options.verbose)
def status(*, config: Path | None, as_json: bool, **flags: Any) -> None:
    """Show how far each topic and partition has been read.

    It shows offsets, lag, rows, files and the last run. It reads the published file, so it never
    waits for a drain. If the broker is down, it says so and shows what the lake knows. A topic's
    line sums up all of its incarnations (Lasair recreates a topic when its filter is saved); the
    partitions are those of the incarnation that was read last.
    """
    from etl.audit import status

    chosen = options.settings(config, flags, options.LAKE_ONLY)
    with options.published_of(chosen) as published:
        found = status.status(chosen, published)
    if as_json:
        click.echo(tables.json_text(found))
        return
    for line in answers.status_lines(found):
        click.echo(tables.shown_text(line))
    for topic in found.topics:
        click.echo(f"\n{answers.topic_line(topic)}")
        if topic.partitions:
            terminal.show(*answers.partition_table(topic))


@click.command()
@click.argument("topic")
@click.option(
    "-n",
    "number",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    metavar="N",
    help="How many messages.",
)
@click.option("--first", is_flag=True, help="Print the oldest messages instead.")
@options.several(options.config, options.broker, options.connect_timeout, options.verbose)
def peek(*, topic: str, number: int, first: bool, config: Path | None, **flags: Any) -> None:
    """Print a topic's newest messages as JSON lines.

    Each message is printed exactly as it was sent, the newest last. Run it at any time: it does
    not touch your consumer group or the lake.
    """
    from etl.audit import status

    chosen = options.settings(config, flags, options.BROKER_ONLY)
    found = status.look(chosen, topic, number, first=first)
    if found.note:
        console.say(found.note)
    for message in found.messages:
        line = answers.json_line(message.value)
        if line is not None:
            click.echo(line)
        else:
            place = f"{topic}[{message.partition}] offset {message.offset}"
            console.say(f"{place} is not JSON: {(message.value or b'')[:80]!r}")


@click.command()
@click.option("--topic", metavar="NAME", help="List only the rejects of this topic.")
@click.option(
    "-n",
    "number",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    metavar="N",
    help="How many rejects to list, the newest first.",
)
@click.option(
    "--show",
    nargs=3,
    type=(str, int, int),
    metavar="TOPIC PARTITION OFFSET",
    help="Show one reject with its bytes and the reason.",
)
@click.option(
    "--incarnation", type=int, metavar="N", help="With --show: the incarnation of the topic."
)
@click.option("--raw", is_flag=True, help="With --show: print only the bytes, unchanged.")
@options.several(options.config, options.lake, options.as_json, options.verbose)
def rejects(
    *,
    topic: str | None,
    number: int,
    show: tuple[str, int, int] | None,
    incarnation: int | None,
    raw: bool,
    config: Path | None,
    lake: str | None,
    as_json: bool,
) -> None:
    """List the messages that could not be decoded, or show one.

    \b
    lasair-etl rejects
    lasair-etl rejects --show lasair_2SN-likecandidates 3 1042
    """
    from etl.read import rejects

    if (raw or incarnation is not None) and show is None:
        raise click.UsageError("--raw and --incarnation belong to --show TOPIC PARTITION OFFSET")
    chosen = options.settings(config, {"lake": lake}, options.LAKE_ONLY)
    with options.published_of(chosen) as published:
        if show is None:
            columns, rows = published.named_rows("queries/rejects", topic=topic, most=number)
            if as_json:
                click.echo("\n".join(tables.json_lines(columns, rows)))
            elif rows:
                terminal.show(columns, rows)
            else:
                click.echo("no rejects: every message was decoded")
            return
        found = rejects.reject(published, *show, incarnation)
    if raw:
        sys.stdout.buffer.write(found.value)
    elif as_json:
        click.echo(tables.json_text(found))
    else:
        for line in answers.reject_lines(found):
            click.echo(tables.shown_text(line))


@click.command()
@options.several(options.config, options.lake, options.as_json, options.verbose)
def verify(*, config: Path | None, lake: str | None, as_json: bool) -> int:
    """Check every file and every promise of the lake.

    It only reads. It prints one line for each thing that is wrong, and then exits with code 65.
    """
    from etl.audit.verify import verify as verify_lake
    from etl.lake.layout import Lake

    chosen = options.settings(config, {"lake": lake}, options.LAKE_ONLY)
    report = verify_lake(Lake(chosen.lake.resolve()))
    if as_json:
        click.echo(tables.json_text(report))
    else:
        for line in answers.report_lines(report):
            click.echo(tables.shown_text(line))
    return report.exit_code
