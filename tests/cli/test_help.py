import re

import click
import pytest

from etl.cli.main import root
from etl.errors import EXIT_MEANINGS
from tests.cli.conftest import Run
from tests.flow.drains import ROOT, loaded_by

VERBS = sorted(root.commands)
OPTIONS = [
    pytest.param(verb, parameter, id=f"{verb} {parameter.opts[-1]}")
    for verb in VERBS
    for parameter in root.commands[verb].params
    if isinstance(parameter, click.Option)
]


def test_the_verbs_are_those_that_were_promised() -> None:
    """Each verb of the design is there, and there is none that nobody wrote down."""
    assert VERBS == [
        "compact", "demo", "drain", "files", "init", "peek", "query", "rejects", "report",
        "simulate", "sql", "status", "verify",
    ]  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_documented(verb: str, run: Run) -> None:
    """Each verb says in a sentence that fits the list what it does, and then more."""
    text = root.commands[verb].help or ""
    first, _, rest = text.partition("\n\n")
    assert len(first) < 65, first
    assert first.endswith(".")
    assert rest.strip()
    result = run(verb, "--help")
    assert (result.code, result.err) == (0, "")
    assert first in result.out
    assert first in run("--help").out


@pytest.mark.parametrize(("verb", "option"), OPTIONS)
def test_every_option_is_documented(verb: str, option: click.Option) -> None:
    """Each option says what it does, as a sentence."""
    assert option.help, f"{verb} {option.opts}"
    assert option.help[0].isupper()
    assert option.help.rstrip("]").rstrip().endswith((".", "]")) or "default:" in option.help


def test_help_names_every_exit_code(run: Run) -> None:
    """--help shows each exit code with its meaning."""
    said = run("--help").out
    assert all(f"{code:2} {meaning}\n" in said for code, meaning in EXIT_MEANINGS.items())


def test_the_readme_explains_every_exit_code() -> None:
    """The README's table has each exit code with its meaning, in the order of precedence."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", text, re.MULTILINE)
    assert [int(code) for code, _ in rows] == list(EXIT_MEANINGS)
    for code, explained in rows:
        assert explained.startswith(EXIT_MEANINGS[int(code)])


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_is_light(verb: str) -> None:
    """--help loads neither DuckDB, nor Arrow, nor the Kafka client."""
    program = (
        "from etl.cli import console, main\n"
        f"assert console.run(main.root, [*{[verb] if verb else []}, '--help']) == 0"
    )
    assert loaded_by(program, "duckdb", "pyarrow", "confluent_kafka", "rich") == []


def test_a_drain_without_news_is_light() -> None:
    """What decodes, lands and compacts is loaded when there is something to do it with."""
    heavy = ("pyarrow.compute", "pyarrow.json", "pyarrow.parquet")
    assert loaded_by("import etl.jobs.drain", "pyarrow", *heavy) == ["pyarrow"]


def test_version(run: Run) -> None:
    """--version names the program and its version."""
    from etl import __version__  # noqa: PLC0415

    assert run("--version").out == f"lasair-etl, version {__version__}\n"
