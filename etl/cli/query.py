"""The verbs that answer from the published file: sql, query, files, report."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from etl.cli import answers, console, options
from etl.errors import DATA_AT_RISK, OK
from etl.text import tables, terminal, words

NEW_FILE = click.Path(path_type=Path, dir_okay=False)

# The forms of an answer.
forms = options.several(
    click.option("--csv", "form", flag_value="csv", help="Print CSV; an empty field is NULL."),
    click.option("--json", "form", flag_value="json", help="Print a JSON array, a row a line."),
    options.value("--parquet", "OUT", "Write a Parquet file instead.", NEW_FILE),
)


@click.command()
@click.argument("statement", metavar="SQL")
@options.several(options.config, options.lake, forms, options.verbose)
def sql(*, statement: str, form: str | None, parquet: Path | None, **flags: Any) -> None:
    """Run SQL on the lake, read-only.

    "-" reads the SQL from stdin. Each topic has a view of its name, and `alerts` has all topics.
    Ids are exact in every format. JSON has null for NaN, and the text "Infinity" for an infinity.

    \b
    lasair-etl sql "SELECT kafka_topic, night, count(*) FROM alerts GROUP BY ALL ORDER BY ALL"
    lasair-etl sql "FROM alerts ORDER BY UTC DESC LIMIT 10" --json
    """
    text = sys.stdin.read() if statement == "-" else statement
    _answer(text, None, form, parquet, flags)


@click.command()
@click.argument("name", required=False)
@options.value(
    "-p parameters", "KEY=VALUE", "Set a parameter of the query; repeatable.", multiple=True
)
@options.several(options.config, options.lake, forms, options.verbose)
def query(
    *,
    name: str | None,
    parameters: tuple[str, ...],
    form: str | None,
    parquet: Path | None,
    **flags: Any,
) -> None:
    """Run one of the worked queries, or list them.

    Each is a file in sql/analysis. You can also paste it into the duckdb shell: there,
    `SET VARIABLE key = value;` does what -p does here.

    \b
    lasair-etl query
    lasair-etl query brightening -p mag_per_day=0.5 --csv
    """
    from etl.read.worked_queries import analyses, analysis

    variables = dict(_parameter(each) for each in parameters)
    if name is None:
        if variables or form or parquet:
            raise click.UsageError("-p, --csv, --json and --parquet need the NAME of a query")
        for each in analyses().values():
            click.echo("\n".join(answers.analysis_lines(each)))
        return
    _answer(analysis(name, variables).sql, variables, form, parquet, flags)


def _parameter(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign:
        raise click.UsageError(f"-p {text}: this is not KEY=VALUE")
    return key, value


def _answer(
    text: str,
    variables: dict[str, str] | None,
    form: str | None,
    parquet: Path | None,
    flags: dict[str, Any],
) -> None:
    """Run SQL on the published file, and write the answer in the chosen form.

    `variables` are those of a worked query, None where the user typed the SQL.
    """
    if form and parquet:
        raise click.UsageError("choose one of --csv, --json and --parquet")
    chosen = options.settings(options.LAKE_ONLY, **flags)
    with options.published_of(chosen, sandboxed=variables is not None) as published:
        answer = published.ask(text, variables)
        if parquet:
            rows = answer.write_parquet(parquet)
            click.echo(f"{parquet}: {words.count(rows, 'row')}", err=True)
            return
        names, rows_found = answer.schema.names, answer.rows()
        if form is None:
            terminal.show(names, rows_found, null="NULL")
            return
        if form == "csv":
            terminal.write(tables.csv_lines(names, rows_found), tables.shown_text)
        else:
            terminal.write(tables.json_lines(names, rows_found))


@click.command()
@click.argument("topic", required=False)
@options.several(options.config, options.lake, options.as_json, options.verbose)
def files(*, topic: str | None, as_json: bool, **flags: Any) -> int:
    """List the Parquet files that hold each alert once.

    A wildcard over the lake's folders also finds retired files, and counts their alerts twice. This
    list has the absolute paths of the live files, one a line, of TOPIC or of all topics. A topic's
    first file has all of its columns. Files that are gone are left out, and the exit code is 65.

    \b
    lasair-etl files lasair_2SN-likecandidates
    """
    from etl.read.live_files import live_files

    chosen = options.settings(options.LAKE_ONLY, **flags)
    with options.published_of(chosen) as published:
        found = live_files(published, topic)
    if as_json:
        terminal.write([tables.json_text(found.there)])
    else:
        terminal.write(found.there, tables.shown_text)
    if found.complaint is None:
        return OK
    console.say(found.complaint)
    return DATA_AT_RISK


@click.command()
@options.value(
    "-o --output",
    "FILE",
    'Write the page to this file, whole or not at all; "-" is stdout.',
    click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    required=True,
)
@options.several(options.config, options.lake, options.verbose)
def report(*, output: Path, **flags: Any) -> None:
    """Write a page on runs, nights, objects and missing alerts.

    The page is one HTML file without scripts that needs no network. It shows how the runs went,
    alerts per night and topic, a sky map, the newest light curves, lag, rejects and gaps. For each
    night, a sentence that a paper can cite accounts for all offsets. It reads only the published
    file.

    \b
    lasair-etl report -o report.html
    """
    from etl.lake.local import atomic_file
    from etl.report.page import page

    chosen = options.settings(options.LAKE_ONLY, **flags)
    made_at = datetime.now(UTC).replace(tzinfo=None)
    with options.published_of(chosen) as published:
        written = page(published, made_at, chosen.night_starts).encode()
    if output == Path("-"):
        terminal.write_bytes(written)
    else:
        with atomic_file(output) as out:
            out.write(written)
    click.echo(f"{output}: {words.size(len(written))}", err=True)
