"""The verbs that look and change nothing: status, peek, rejects, verify.

Each verb imports what it needs when it runs, so that `--help` and a typo cost nothing.
"""

from typing import Any

import click

from etl.cli import answers, console, options
from etl.cli.options import flag, value
from etl.text import tables, terminal

# Someone is waiting, so status gives up sooner than a drain.
LOOK_TIMEOUT_S = 10.0


@click.command()
@options.several(options.config, options.lake, options.broker)
@value("--topic topics", "NAME", "Show this topic too; repeatable.", multiple=True)
@options.about_timeout("How long to wait for an answer from the broker.", default=LOOK_TIMEOUT_S)
@options.several(options.as_json, options.verbose)
def status(*, as_json: bool, **flags: Any) -> None:
    """Show how far each topic and partition has been read.

    It shows offsets, lag, rows, files and the last run. It reads the published file, so it never
    waits for a drain. If the broker is down, it says so and shows what the lake knows. A topic's
    line sums up all of its incarnations (Lasair recreates a topic when its filter is saved); the
    partitions are those of the incarnation that was read last.
    """
    from etl.audit import status

    chosen = options.settings(options.LAKE_ONLY, **flags)
    with options.published_of(chosen) as published:
        found = status.status(chosen, published)
    console.show(found, answers.status_lines(found), as_json=as_json)
    for topic in () if as_json else found.topics:
        click.echo(f"\n{tables.shown_text(answers.topic_line(topic))}")
        if topic.partitions:
            terminal.show(*answers.partition_table(topic))


@click.command()
@click.argument("topic")
@options.about_number("How many messages.", default=10)
@flag("--first", "Print the oldest messages instead.")
@options.several(options.config, options.broker, options.connect_timeout, options.verbose)
def peek(*, topic: str, number: int, first: bool, **flags: Any) -> None:
    """Print a topic's newest messages as JSON lines.

    Each message is printed exactly as it was sent, the newest last; on a terminal, what is not
    printable is escaped as JSON does it. Run it at any time: it does not touch your consumer group
    or the lake.
    """
    from etl.audit import status

    chosen = options.settings(options.BROKER_ONLY, **flags)
    found = status.look(chosen, topic, number, first=first)
    if found.note:
        console.say(found.note)
    for message in found.messages:
        line = answers.json_line(message.value)
        if line is not None:
            terminal.write([line])
        else:
            place = f"{topic}[{message.partition}] offset {message.offset}"
            console.say(f"{place} is not JSON: {(message.value or b'')[:80]!r}")


@click.command()
@value("--topic", "NAME", "List only the rejects of this topic.")
@options.about_number("How many rejects to list, the newest first.", default=50)
@value(
    "--show",
    "TOPIC PARTITION OFFSET",
    "Show one reject with its bytes and the reason.",
    (str, int, int),
)
@value("--incarnation", "N", "With --show: the incarnation of the topic.", int)
@flag("--raw", "With --show: print only the bytes, unchanged (escaped on a terminal).")
@options.several(options.config, options.lake, options.as_json, options.verbose)
def rejects(
    *,
    topic: str | None,
    number: int,
    show: tuple[str, int, int] | None,
    incarnation: int | None,
    raw: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """List the messages that could not be decoded, or show one.

    \b
    lasair-etl rejects
    lasair-etl rejects --show lasair_2SN-likecandidates 3 1042
    """
    from etl.read import rejects

    if (raw or incarnation is not None) and show is None:
        raise click.UsageError("--raw and --incarnation belong to --show TOPIC PARTITION OFFSET")
    chosen = options.settings(options.LAKE_ONLY, **flags)
    with options.published_of(chosen) as published:
        if show is None:
            columns, rows = published.named_rows("queries/rejects", topic=topic, most=number)
            if as_json:
                terminal.write(tables.json_lines(columns, rows))
            elif rows:
                terminal.show(columns, rows)
            else:
                click.echo("no rejects: every message was decoded")
            return
        found = rejects.reject(published, *show, incarnation)
    if raw:
        terminal.write_bytes(found.value)
    else:
        console.show(found, answers.reject_lines(found), as_json=as_json)


@click.command()
@options.several(options.config, options.lake, options.as_json, options.verbose)
def verify(*, as_json: bool, **flags: Any) -> int:
    """Check every file and every promise of the lake.

    It only reads. It prints one line for each thing that is wrong, and then exits with code 65.
    """
    from etl.audit.verify import verify as verify_lake
    from etl.lake.layout import lake_at

    chosen = options.settings(options.LAKE_ONLY, **flags)
    report = verify_lake(lake_at(chosen.lake))
    console.tell(report, answers.report_lines(report), as_json=as_json)
    return report.exit_code
