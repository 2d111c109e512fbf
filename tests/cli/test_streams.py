"""Standard streams that are closed, full, or read by nobody, with real processes."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from etl.demo.producer import publish
from etl.lake.layout import Lake
from etl.read.published import Published
from tests.flow.drains import clean_environment
from tests.sql.lakes import alert, build

pytestmark = pytest.mark.soak  # eighty processes

CLOSED = {
    "stdin closed": "<&-",
    "stdout closed": ">&-",
    "stderr closed": "2>&-",
    "both closed": ">&- 2>&-",
    "all closed": "<&- >&- 2>&-",
}
FULL = {
    "stdout full": ">/dev/full",
    "stderr full": "2>/dev/full",
    "both full": ">/dev/full 2>&1",
}
UNREAD = {"stdout unread": "", "stderr unread": ""}  # pipes whose reader has gone
STATES = CLOSED | FULL | UNREAD
# Enough where the exit code depends on stdout alone: each of these starts a process.
ANSWERING = {"stderr closed": 0, "all closed": 74, "stdout full": 74, "stdout unread": 141}

Ended = subprocess.CompletedProcess[str]


def ended(state: str, *arguments: object, cwd: Path | None = None) -> Ended:
    """Run the program with its standard streams in this state, to its end."""
    reader, unread = os.pipe()
    os.close(reader)
    argv = [sys.executable, "-m", "etl", *map(str, arguments)]
    try:
        return subprocess.run(
            ["sh", "-c", f'exec "$@" {STATES[state]}', "sh", *argv],
            stdin=subprocess.DEVNULL,
            stdout=unread if state == "stdout unread" else subprocess.PIPE,
            stderr=unread if state == "stderr unread" else subprocess.PIPE,
            text=True,
            check=False,
            cwd=cwd,
            env=clean_environment(),
        )
    finally:
        os.close(unread)


def drain(broker: str, lake: Path, topic: str) -> list[object]:
    """Write the command line of a drain that logs all it can."""
    return [
        "drain", "--bootstrap-servers", broker, "--group-id", "streams", "--topic", topic,
        "--lake", lake, "--poll-timeout", 0, "--connect-timeout", 60, "-vv",
    ]  # fmt: skip


@pytest.mark.parametrize("state", STATES)
def test_a_drain_is_as_good_without_its_streams(
    broker: str, lake: Path, topic: str, state: str
) -> None:
    """A drain stores all alerts and is 0, whatever becomes of its logs and its closing line."""
    publish(broker, topic, [alert(n) for n in range(20)])
    done = ended(state, *drain(broker, lake, topic))
    assert done.returncode == 0, done
    with Published(Lake(lake.resolve())) as published:
        assert list(published.ask("SELECT count(*) FROM alerts").rows()) == [(20,)]


@pytest.mark.parametrize("state", ["all closed", "both full", "stderr unread"])
def test_a_failure_keeps_its_own_code(tmp_path: Path, state: str) -> None:
    """What ends with a code of its own ends with it, also where its sentence can't be written."""
    assert ended(state, "drain", cwd=tmp_path).returncode == 78
    assert ended(state, "drian", cwd=tmp_path).returncode == 64


def test_verify_keeps_its_verdict(tmp_path: Path) -> None:
    """A broken lake is 65, also where the complaints can't be written."""
    lake = build(tmp_path / "lake")
    next(lake.root.glob("data/**/*.parquet")).unlink()
    for state in ANSWERING:
        assert ended(state, "verify", "--lake", lake.root).returncode == 65, state


@pytest.mark.parametrize(
    "arguments",
    [
        ["sql", "FROM range(5)"],
        ["sql", "FROM range(5)", "--csv"],
        ["query"],
        ["files"],
        ["report", "-o", "-"],
        ["status"],
        ["rejects", "--json"],
        ["rejects", "--show", "lasair_one", "1", "8", "--raw"],
    ],
    ids=" ".join,
)
def test_an_answer_that_can_not_be_written_is_said(small_lake: Lake, arguments: list[str]) -> None:
    """Where stdout is what was asked for: 74 if it can't take it, 141 if nobody reads it."""
    lake = [] if arguments == ["query"] else ["--lake", small_lake.root]
    for state, code in ANSWERING.items():
        done = ended(state, *arguments, *lake)
        assert done.returncode == code, (state, done)
        assert ("lasair-etl: output: No space left" in done.stderr) == (state == "stdout full")


@pytest.mark.parametrize("state", ANSWERING)
def test_init_and_simulate_keep_their_code(
    broker: str, new_topic: Callable[..., str], tmp_path: Path, state: str
) -> None:
    """Settings that were written and alerts that were published are 0, said or not."""
    assert ended(state, "init", "--topic", "t", "--lake", "l", cwd=tmp_path).returncode == 0
    assert (tmp_path / "lasair-etl.toml").read_text(encoding="utf-8").startswith("#")
    topic = new_topic(1)
    sent = ["simulate", "--topic", topic, "--count", "3", "--bootstrap-servers", broker]
    assert ended(state, *sent).returncode == 0
    peek = ended(state, "peek", topic, "--bootstrap-servers", broker)
    assert peek.returncode == ANSWERING[state], peek


@pytest.mark.timeout(600)
@pytest.mark.parametrize("state", ["all closed", "stdout full"])
def test_a_demonstration_goes_on_unseen(tmp_path: Path, state: str) -> None:
    """The demonstration makes its whole lake also where nobody can see it."""
    assert ended(state, "demo", cwd=tmp_path).returncode == 0
    with Published(Lake((tmp_path / "demo-lake").resolve())) as published:
        assert list(published.ask("SELECT count(*) FROM alerts").rows()) == [(5340,)]


def test_sql_from_a_closed_stdin_is_wrong_usage(small_lake: Lake) -> None:
    """SQL that should come from a stdin that is closed is an empty statement: 64."""
    done = ended("stdin closed", "sql", "-", "--lake", small_lake.root)
    assert done.returncode == 64, done


def test_no_file_of_the_lake_gets_a_standard_descriptor() -> None:
    """With its streams closed a run opens /dev/null in their place, before anything else."""
    reader, writer = os.pipe()
    program = (
        "import os, sys; sys.argv[1:] = ['--version']\n"
        "from etl.cli.main import main\n"
        "try: main()\n"
        "finally:\n"
        "    files = [os.readlink(f'/proc/self/fd/{n}') for n in range(3)]\n"
        f"    os.write({writer}, repr(files).encode())\n"
    )
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", program],
        check=False,
        env=clean_environment(),
        pass_fds=[writer],
    )
    os.close(writer)
    assert os.read(reader, 1000) == repr(["/dev/null"] * 3).encode()
    os.close(reader)
    assert done.returncode == 74
