"""What a terminal gets: nothing that it obeys, wherever a name, a value or an error comes from."""

import json
import os
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

import etl
from etl.demo.producer import publish
from etl.lake.layout import Lake
from etl.read.published import Published
from etl.text.tables import shown_json, shown_text
from tests.flow.drains import clean_environment, wait_until
from tests.sampling import one_in
from tests.sql.lakes import Writer

# Control characters, marks of direction, separators, and what has no meaning yet.
ORDERS = "".join(
    chr(code)
    for code in (
        *range(1, 0x20), *range(0x7F, 0xA0), 0xAD, 0x61C, 0x180E, *range(0x200B, 0x2010),
        *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFC),
        0xE000, 0xFFFE, 0xE0001, 0xE0041,
    )
)  # fmt: skip
NASTY = f"a{ORDERS}[red]b[/red][link=x]:skull:\x1b]0;t\x07\x1b[31m"


@pytest.fixture(scope="module")
def nasty_lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Make a lake with orders to a terminal in names and values, nested ones too."""
    writer = Writer(tmp_path_factory.mktemp("nasty") / "lake")
    sent = {"id": 1, NASTY: NASTY, "inner": {NASTY: [NASTY]}}
    writer.run([json.dumps(sent).encode(), b"not \x1b[31m json \xc2\x9b"])
    return writer.close()


def on_terminal(*arguments: object, code: int = 0) -> str:
    """Run the program on a terminal, stdout and stderr, and return what that gets."""
    here, there = os.openpty()
    argv = [sys.executable, "-m", "etl", *map(str, arguments)]
    environment = clean_environment() | {"COLUMNS": "4000", "TERM": "xterm"}
    with subprocess.Popen(argv, stdout=there, stderr=there, env=environment) as process:
        os.close(there)
        parts: list[bytes] = []
        reader = threading.Thread(target=_read_all, args=(here, parts))
        reader.start()
        reader.join()
    os.close(here)
    shown = b"".join(parts).decode().replace("\r\n", "\n")
    assert process.returncode == code, shown
    return shown


def _read_all(descriptor: int, parts: list[bytes]) -> None:
    try:
        while part := os.read(descriptor, 65536):
            parts.append(part)
    except OSError:  # how Linux says that the other side is closed
        return


def obeyed(shown: str) -> set[str]:
    """Return the characters that a terminal would obey, without line breaks and our own bold."""
    plain = shown
    for style in ("\x1b[1m", "\x1b[0m"):
        plain = plain.replace(style, "")
    return {c for c in plain if unicodedata.category(c) in {"Cc", "Cf", "Cn", "Co", "Zl", "Zp"}} - {
        "\n"
    }


@pytest.mark.parametrize(
    "more",
    one_in(
        3,
        [
            ["sql", "FROM lasair_one"],
            ["sql", "FROM lasair_one", "--csv"],
            ["sql", "FROM lasair_one", "--json"],
            ["sql", f"SELECT 1 AS x{ORDERS.replace(chr(10), '')}"],
            ["sql", 'SELECT "id2" FROM lasair_one'],
            ["rejects", "--show", "lasair_one", "1", "0"],
            ["rejects", "--show", "lasair_one", "1", "0", "--raw"],
            ["report", "-o", "-"],
            ["status"],
            ["status", "--json"],
            ["query", NASTY],
            ["--" + NASTY],
        ],
    ),
    ids=lambda more: " ".join(more)[:30].encode("unicode_escape").decode(),
)
def test_a_terminal_obeys_nothing_of_what_it_is_shown(nasty_lake: Lake, more: list[str]) -> None:
    """Each control character, mark of direction or code without meaning is an escape there."""
    wrong = more[-1] in {NASTY, "--" + NASTY, 'SELECT "id2" FROM lasair_one'} or "AS x" in more[-1]
    lake = [] if more[0].startswith("--") else ["--lake", nasty_lake.root]
    shown = on_terminal(*more, *lake, code=64 if wrong else 0)
    assert obeyed(shown) == set()
    if more[:2] == ["sql", "FROM lasair_one"]:
        assert "[red]b[/red][link=x]:skull:" in shown
    if "--json" in more and more[0] == "sql":
        ((row,),) = [json.loads(shown)]
        assert row[NASTY] == NASTY


def test_pipes_get_names_and_values_exactly(nasty_lake: Lake) -> None:
    """What is escaped on a terminal is exact for programs."""
    done = subprocess.run(
        [sys.executable, "-m", "etl", "sql", "FROM lasair_one", "--json", "--lake",
         str(nasty_lake.root)],
        capture_output=True, check=True, env=clean_environment(),
    )  # fmt: skip
    assert NASTY.partition("\x7f")[2].partition("\x1b")[0] in done.stdout.decode()
    assert json.loads(done.stdout)[0][NASTY] == NASTY


def test_peek_escapes_on_a_terminal_only(broker: str, new_topic: Callable[..., str]) -> None:
    """On a terminal a message is the same JSON value with escapes; a pipe gets it as sent."""
    topic = new_topic(1)
    sent = json.dumps({"name": NASTY, NASTY: "\t"}, ensure_ascii=False).encode()
    publish(broker, topic, [sent.replace(b": ", b":\t"), b"no \xc2\x9b json"])
    arguments = ["peek", topic, "--bootstrap-servers", broker]
    shown = on_terminal(*arguments)
    assert obeyed(shown) == set()
    assert json.loads(shown.splitlines()[0]) == {"name": NASTY, NASTY: "\t"}
    done = subprocess.run(
        [sys.executable, "-m", "etl", *arguments],
        capture_output=True,
        check=True,
        env=clean_environment(),
    )
    assert done.stdout == sent.replace(b": ", b":\t") + b"\n"


def test_logs_and_errors_are_escaped_in_files_too(tmp_path: Path) -> None:
    """Logs are read later, on a terminal: each line is printable wherever it is written to."""
    program = (
        "import logging, sys; from etl.cli import console, streams; from etl.errors import *\n"
        "import click\n"
        "streams.prepare(); console.start_logging(2); nasty = sys.argv[1]\n"
        "logging.getLogger('librdkafka').warning('%s', nasty)\n"
        "@click.command()\n"
        "@click.argument('number', type=int)\n"
        "def fail(number):\n"
        "    raise (EtlError, WrongUsage, ValueError, OSError)[number](nasty)\n"
        "for n in range(4): console.run(fail, [str(n)])\n"
        "console.run(fail, [nasty])\n"
        "print(nasty, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, NASTY],
        capture_output=True, check=True, cwd=tmp_path, env=clean_environment(),
    )  # fmt: skip
    shown = done.stderr.decode()
    assert shown.count("[red]b") >= 6
    assert obeyed(shown) == set()


def test_notebooks_show_escapes(nasty_lake: Lake) -> None:
    """The text and the HTML of an open lake, the report and DuckDB's complaints are printable."""
    with etl.open(nasty_lake.root) as lake:
        rows = lake.sql("FROM lasair_one")
        for shown in (repr(rows), rows._repr_html_(), repr(lake), lake._repr_html_()):
            assert obeyed(shown) == set()
    with Published(nasty_lake) as published:
        with pytest.raises(etl.errors.WrongUsage) as refused:
            published.ask('SELECT "id2" FROM lasair_one')
        assert obeyed(str(refused.value)) == set()


def test_every_code_is_printable_or_escaped() -> None:
    """Whatever a text holds, surrogates too: text is shown printable, JSON keeps its value."""
    codes = (*range(0x20000), *range(0xE0000, 0xE0200), 0xF0000, 0x10FFFD, 0x10FFFF)
    every = "".join(map(chr, codes))
    assert shown_text(every).isprintable()
    text = json.dumps("".join(c for c in every if not "\ud800" <= c <= "\udfff"))
    text = json.dumps(json.loads(text), ensure_ascii=False)
    assert shown_json(text).isprintable()
    assert json.loads(shown_json(text)) == json.loads(text)


def test_a_terminal_that_closes_ends_a_drain_in_good_order(
    broker: str, topic: str, tmp_path: Path
) -> None:
    """A drain whose terminal goes stores what has arrived and ends with 75, as after SIGTERM."""
    publish(broker, topic, [b'{"n": 1}'])
    lake = Lake(tmp_path / "lake")
    here, there = os.openpty()
    leader = (
        "import fcntl, os, signal, sys, termios\n"
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # the tests may run under nohup
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    argv = [sys.executable, "-c", leader, sys.executable]
    argv += ["-m", "etl", "drain", "--bootstrap-servers", broker, "--group-id", topic, "--topic"]
    argv += [topic, "--lake", str(lake.root), "--poll-timeout", "600"]
    with subprocess.Popen(
        argv, stdin=there, stdout=there, stderr=there, env=clean_environment(),
        start_new_session=True,
    ) as process:  # fmt: skip
        os.close(there)
        wait_until(lake.public.exists, "the drain is at work")
        os.close(here)
    assert process.returncode == 75
    with Published(lake) as published:
        assert published.rows("queries/last_run")[0][1] == "done"
