"""The verbs that only look: at the published file, or at the broker. None of them changes anything.

What a verb needs is imported inside it, so that `--help` and a typo cost nothing.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etl import console, options, render, tables
from etl.settings import Settings

if TYPE_CHECKING:
    from etl.query import Published

LOOK_TIMEOUT_S = 10.0
"""Someone is waiting: a look at the broker is given up sooner than a drain."""


def published_of(chosen: Settings) -> "Published":
    """Open the published file of the lake that the settings name."""
    from etl.lake import Lake
    from etl.query import Published

    return Published(Lake(chosen.lake.resolve()))


@click.command()
@options.several(options.config, options.lake, options.broker)
@click.option(
    "--topic", "topics", multiple=True, metavar="NAME", help="A topic to show too; repeatable."
)
@click.option(
    "--connect-timeout",
    type=float,
    default=LOOK_TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long the broker may leave a question unanswered.",
)
@options.several(options.as_json, options.verbose)
def status(*, config: Path | None, as_json: bool, **flags: Any) -> None:
    """Show where every topic and partition stands.

    Offsets, lag, rows, files, the last run. It reads the published file, so that it never waits for
    a drain. With the broker down it says so and shows the lake's side. A topic's line sums up all
    of its incarnations (Lasair recreates a topic when its filter is saved); the partitions are
    those of the newest.
    """
    from etl import audit

    chosen = options.settings(config, flags, options.LAKE_ONLY)
    with published_of(chosen) as published:
        found = audit.status(chosen, published)
    if as_json:
        click.echo(tables.json_text(found))
        return
    for line in render.status_lines(found):
        click.echo(tables.shown_text(line))
    for topic in found.topics:
        click.echo(f"\n{render.topic_line(topic)}")
        if topic.partitions:
            tables.show(*render.partition_table(topic))


forms = options.several(
    click.option("--csv", "form", flag_value="csv", help="Print CSV; an empty field is NULL."),
    click.option("--json", "form", flag_value="json", help="Print a JSON array, a row a line."),
    click.option(
        "--parquet",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="OUT",
        help="Write a Parquet file instead.",
    ),
)
"""How an answer is given."""


@click.command()
@click.argument("statement", metavar="SQL")
@options.several(options.config, options.lake, forms, options.verbose)
def sql(
    *, statement: str, config: Path | None, lake: str | None, form: str | None, parquet: Path | None
) -> None:
    """Run SQL on the lake, read-only.

    "-" reads the SQL from stdin. There is one view per topic, under its exact name, and `alerts`
    with all of them. Ids are exact in every format. In JSON, NaN is null, and an infinity the text
    "Infinity".

    \b
    lasair-etl sql "SELECT kafka_topic, night, count(*) FROM alerts GROUP BY ALL ORDER BY ALL"
    lasair-etl sql "FROM alerts ORDER BY UTC DESC LIMIT 10" --json
    """
    text = sys.stdin.read() if statement == "-" else statement
    _answer(text, {}, config, lake, form, parquet)


@click.command()
@click.argument("name", required=False)
@click.option(
    "-p",
    "parameters",
    multiple=True,
    metavar="KEY=VALUE",
    help="A parameter of the query; repeatable.",
)
@options.several(options.config, options.lake, forms, options.verbose)
def query(
    *,
    name: str | None,
    parameters: tuple[str, ...],
    config: Path | None,
    lake: str | None,
    form: str | None,
    parquet: Path | None,
) -> None:
    """Run one of the worked queries, or list them.

    Each is a file of sql/analysis that can be pasted into the duckdb shell too, where
    `SET VARIABLE key = value;` stands for -p.

    \b
    lasair-etl query
    lasair-etl query brightening -p mag_per_day=0.5 --csv
    """
    from etl.sqlfiles import analyses, analysis

    variables = dict(_parameter(each) for each in parameters)
    if name is None:
        if variables or form or parquet:
            raise click.UsageError("-p, --csv, --json and --parquet belong to the NAME of a query")
        for each in analyses().values():
            click.echo("\n".join(render.analysis_lines(each)))
        return
    _answer(analysis(name, variables).sql, variables, config, lake, form, parquet)


def _parameter(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign:
        raise click.UsageError(f"-p {text}: KEY=VALUE is wanted")
    return key, value


def _answer(
    text: str,
    variables: dict[str, str],
    config: Path | None,
    lake: str | None,
    form: str | None,
    parquet: Path | None,
) -> None:
    """Ask the published file, and give the answer in the form that was chosen."""
    if form and parquet:
        raise click.UsageError("choose one of --csv, --json and --parquet")
    chosen = options.settings(config, {"lake": lake}, options.LAKE_ONLY)
    with published_of(chosen) as published:
        answer = published.ask(text, variables)
        if parquet:
            rows = tables.write_parquet(answer, parquet)
            click.echo(f"{parquet}: {render.count(rows, 'row')}", err=True)
            return
        names, rows_found = answer.schema.names, tables.rows_of(answer)
        if form is None:
            tables.show(names, rows_found, null="NULL")
            return
        lines = tables.csv_lines if form == "csv" else tables.json_lines
        sys.stdout.writelines(f"{line}\n" for line in lines(names, rows_found))


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    required=True,
    metavar="FILE",
    help='The page to write, whole or not at all; "-" is stdout.',
)
@options.several(options.config, options.lake, options.verbose)
def report(*, output: Path, config: Path | None, lake: str | None) -> None:
    """Write a page on runs, nights, objects and what is missing.

    One HTML file without scripts that loads nothing: how runs went, alerts per night and topic, a
    sky map, the newest light curves, lag, rejects, gaps, and for each night the account of its
    offsets, in sentences that a paper can cite. It reads the published file only.

    \b
    lasair-etl report -o report.html
    """
    from etl.land import atomic_file
    from etl.report import page

    chosen = options.settings(config, {"lake": lake}, options.LAKE_ONLY)
    made_at = datetime.now(UTC).replace(tzinfo=None)
    with published_of(chosen) as published:
        written = page(published, made_at, chosen.night_starts).encode()
    if output == Path("-"):
        sys.stdout.buffer.write(written)
    else:
        with atomic_file(output) as out:
            out.write(written)
    click.echo(f"{output}: {render.size(len(written))}", err=True)


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
@click.option("--first", is_flag=True, help="The oldest that the broker has, not the newest.")
@options.several(options.config, options.broker, options.connect_timeout, options.verbose)
def peek(*, topic: str, number: int, first: bool, config: Path | None, **flags: Any) -> None:
    """Print a topic's newest messages as JSON lines.

    Each is printed exactly as it was sent, the newest last. Neither your consumer group nor the
    lake is touched, so it can be run at any time.
    """
    from etl import audit
    from etl.peek import json_line

    chosen = options.settings(config, flags, options.BROKER_ONLY)
    found = audit.look(chosen, topic, number, first=first)
    if found.note:
        console.say(found.note)
    for message in found.messages:
        line = json_line(message.value)
        if line is not None:
            click.echo(line)
        else:
            place = f"{topic}[{message.partition}] offset {message.offset}"
            console.say(f"{place} is no JSON: {(message.value or b'')[:80]!r}")


@click.command()
@click.option("--topic", metavar="NAME", help="Only those of one topic.")
@click.option(
    "-n",
    "number",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    metavar="N",
    help="How many to list, the newest first.",
)
@click.option(
    "--show",
    nargs=3,
    type=(str, int, int),
    metavar="TOPIC PARTITION OFFSET",
    help="Show one, with its bytes and the reason.",
)
@click.option(
    "--incarnation", type=int, metavar="N", help="With --show: of which life of the topic."
)
@click.option("--raw", is_flag=True, help="With --show: only the bytes, as they came.")
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
    from etl import audit

    if (raw or incarnation is not None) and show is None:
        raise click.UsageError("--raw and --incarnation belong to --show TOPIC PARTITION OFFSET")
    chosen = options.settings(config, {"lake": lake}, options.LAKE_ONLY)
    with published_of(chosen) as published:
        if show is None:
            columns, rows = published.named_rows("queries/rejects", topic=topic, most=number)
            if as_json:
                click.echo("\n".join(tables.json_lines(columns, rows)))
            elif rows:
                tables.show(columns, rows)
            else:
                click.echo("no rejects: every message could be decoded")
            return
        found = audit.reject(published, *show, incarnation)
    if raw:
        sys.stdout.buffer.write(found.value)
    elif as_json:
        click.echo(tables.json_text(found))
    else:
        for line in render.reject_lines(found):
            click.echo(tables.shown_text(line))


@click.command()
@options.several(options.config, options.lake, options.as_json, options.verbose)
def verify(*, config: Path | None, lake: str | None, as_json: bool) -> int:
    """Check every file and every promise of the lake.

    It only reads. Exit code 65 means that something is wrong; each such thing is one line.
    """
    from etl.lake import Lake
    from etl.verify import verify as verify_lake

    chosen = options.settings(config, {"lake": lake}, options.LAKE_ONLY)
    report = verify_lake(Lake(chosen.lake.resolve()))
    if as_json:
        click.echo(tables.json_text(report))
    else:
        for line in render.report_lines(report):
            click.echo(tables.shown_text(line))
    return report.exit_code
