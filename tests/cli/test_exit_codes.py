import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import click
import pytest

from etl import errors
from etl.cli import console
from etl.demo.producer import publish
from etl.lake.layout import Lake
from etl.lake.local import locked
from tests.cli.conftest import Run
from tests.flow.drains import clean_environment, wait_until
from tests.sql.lakes import alert

NOBODY = "127.0.0.1:1"
"""A port on which nothing listens."""


def drain(broker: str, lake: Path, topic: str, *more: object) -> list[object]:
    """Write a quick drain's command line."""
    return [
        "drain", "--bootstrap-servers", broker, "--group-id", "cli-tests", "--topic", topic,
        "--lake", lake, "--poll-timeout", 0, "--connect-timeout", 60, *more,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["drian"],
        ["drain", "--tpoic", "a"],
        ["drain", "--poll-timeout", "soon"],
        ["drain", "--max-messages", "1.5"],
        ["drain", "extra"],
        ["peek"],
        ["peek", "a", "-n", "0"],
        ["sql"],
        ["sql", "SELECT 1", "--csv", "--parquet", "x"],
        ["rejects", "--raw"],
        ["rejects", "--show", "a", "b", "c"],
        ["simulate"],
        ["simulate", "--topic", "a", "--kind", "odd"],
        ["simulate", "--topic", "a", "--rate", "0"],
        ["init", "--filter", "SN-like candidates"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_64(run: Run, arguments: list[str]) -> None:
    """A command line that makes no sense is 64, in a few words and without a traceback."""
    result = run(*arguments)
    assert result.code == 64
    assert result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ("bootstrap_server = 'b'", ["bootstrap_server;", "did you mean bootstrap_servers?"]),
        ("poll_timeout = 'soon'", ["poll_timeout"]),
        ("topics = ['a b']", ["'a b'"]),
        ("topics = ['A', 'a']", ["A and a"]),
        ("topics = ['alerts']", ["'alerts'"]),
        ("topics = []", ["topics"]),
        ("max_reject_percent = 200", ["max_reject_percent"]),
        ("kafka = 1", ["[kafka]"]),
        ("[kafka]\n'enable.auto.commit' = true", ["enable.auto.commit"]),
        ("[kafka]\n'no.such.setting' = 1", ["no.such.setting"]),
        ("[kafka]\n'stats_cb' = 'x'", ["[kafka] stats_cb"]),
        ("[kafka]\n'test.mock.num.brokers' = 3", ["[kafka] test.mock.num.brokers"]),
        ("[kafka]\n'client.id' = [1]", ["[kafka] client.id"]),
        ("not toml", ["not valid TOML"]),
    ],
)
def test_wrong_settings_are_78(
    run: Run, lake: Path, tmp_path: Path, settings: str, named: list[str]
) -> None:
    """A settings file with a mistake is 78: one line that names the key, and nothing is touched."""
    (tmp_path / "lasair-etl.toml").write_text(settings)
    topic = [] if settings.startswith("topics") else ["--topic", "t"]
    result = run("drain", "--bootstrap-servers", NOBODY, "--group-id", "g", *topic, "--lake", lake)
    assert result.code == 78, result
    assert result.err.count("\n") == 1
    assert all(name in result.err for name in named), result.err
    assert not (lake / "data").exists()


@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=str)
def test_a_file_that_nobody_named_loads_no_library(
    run: Run, lake: Path, tmp_path: Path, more: list[str]
) -> None:
    """A settings file of the working directory loads nothing into the process, and is 78."""
    config = tmp_path / "lasair-etl.toml"
    config.write_text("[kafka]\n'plugin.library.paths' = '/nowhere/plugin'\n")
    arguments = [*drain(NOBODY, lake, "t"), *more]
    result = run(*arguments)
    assert result.code == 78
    assert "plugin.library.paths" in result.err
    assert f"--config {config}" in result.err
    assert "dlopen" not in result.err
    assert "dlopen" in run(*arguments, "--config", config).err


@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=str)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lake", "~nobody-here/lake"),
        ("lake", "s3://bucket/alerts"),
        ("lake", "file:///x"),
        ("lake", "$HOME/x"),
        ("lake", "x?y"),
        ("lake", "x\\y"),
        ("lake", "\udcff\udcfebytes"),
        ("bootstrap-servers", "https://127.0.0.1:9092"),
        ("bootstrap-servers", "me@127.0.0.1:9092"),
        ("group-id", "\udcff"),
        ("connect-timeout", "3000000"),
        ("max-seconds", "nan"),
        ("max-messages", "9" * 5000),
        ("config", "~nobody-here/a.toml"),
    ],
)
def test_what_could_never_work_is_78(
    run: Run, lake: Path, tmp_path: Path, key: str, value: str, more: list[str]
) -> None:
    """A flag that no run could succeed with is 78 at once, in one line, and nothing is made."""
    result = run(*drain(NOBODY, lake, "t"), f"--{key}", value, *more)
    assert result.code == (64 if key == "max-messages" else 78), result
    assert "Traceback" not in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lake", "s3://b/x"),
        ("lake", "\udcff"),
        ("bootstrap-servers", "a b"),
        ("group-id", "\udcff"),
    ],
)
def test_init_writes_no_settings_that_a_drain_refuses(
    run: Run, tmp_path: Path, key: str, value: str
) -> None:
    """What init takes from its flags is checked as a drain would, before it writes."""
    result = run("init", "--topic", "t", f"--{key}", value)
    assert result.code == 78, result
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "--lake", "x\0"],
        ["verify", "--lake", "loop/lake"],
        ["sql", "SELECT 1", "--lake", "~nobody-here/x"],
        ["rejects", "--lake", "x?y"],
        ["compact", "--lake", "\udcff"],
        ["report", "-o", "-", "--lake", "s3://b/x"],
        ["demo", "--lake", "\udcff"],
        ["demo", "--lake", "x\\y"],
        ["simulate", "--topic", "t", "--bootstrap-servers", "https://a:1"],
        ["peek", "t", "--bootstrap-servers", "a:b"],
    ],
    ids=ascii,
)
def test_each_verb_refuses_such_places(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    """No verb takes such a folder or broker for a bug, or makes anything."""
    (tmp_path / "loop").symlink_to("loop")
    result = run(*arguments)
    assert result.code == 78, result
    assert result.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["loop"]


def test_a_lake_may_have_any_other_name(run: Run, broker: str, tmp_path: Path, topic: str) -> None:
    """A drain into a folder with all other characters in its name works, and so do queries."""
    characters = "".join(chr(code) for code in range(1, 127) if chr(code) not in "/?\\=")
    lake = tmp_path / f"{characters.replace('$', '')}$" / "*[a-b]{c,d}**%20 Äé中😀\u2028"
    publish(broker, topic, [alert(n) for n in range(3)])
    for alerts in (3, 0):
        result = run(*drain(broker, lake, topic))
        assert result.code == 0, result
        assert result.out.startswith(f"{alerts} alerts, ")
    assert run("sql", f'SELECT count(*) FROM "{topic}"', "--csv", "--lake", lake).out == (
        "count_star()\n3\n"
    )
    assert run("verify", "--lake", lake).code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["drain"],
        ["drain", "--config", "nowhere.toml"],
        ["status"],
        ["status", "--lake", "nowhere"],
        ["sql", "SELECT 1", "--lake", "nowhere"],
        ["verify", "--lake", "nowhere"],
        ["rejects", "--lake", "nowhere"],
        ["peek", "a"],
    ],
    ids=" ".join,
)
def test_missing_settings_and_lakes_are_78(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    """Without settings, or without a lake, each verb says what is missing and makes nothing."""
    result = run(*arguments)
    assert result.code == 78
    assert result.err.startswith("lasair-etl: ")
    assert result.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_password_is_never_printed(
    run: Run, lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret from the file or the environment is in no message, even with all logs on."""
    (tmp_path / "lasair-etl.toml").write_text("[kafka]\n'sasl.username' = 'me'\n'no.such' = 1\n")
    monkeypatch.setenv("LASAIR_ETL_KAFKA_SASL_PASSWORD", "hunter2")
    result = run(*drain(NOBODY, lake, "t", "-vv"))
    assert result.code == 78
    assert "hunter2" not in result.out + result.err


@pytest.mark.parametrize("more", [[], ["--dry-run"], ["--json"]], ids=str)
def test_a_broker_that_is_down_is_75(run: Run, lake: Path, more: list[str]) -> None:
    """An unreachable broker is 75 within the connect timeout: one line, no traceback."""
    result = run(*drain(NOBODY, lake, "lasair_t"), "--connect-timeout", 1, *more)
    assert result.code == 75
    assert result.out == ""
    assert result.err.count("\n") == 1
    assert NOBODY in result.err


def test_peek_at_a_broker_that_is_down_is_75(run: Run) -> None:
    """Peek gives up on an unreachable broker with 75."""
    result = run("peek", "t", "--bootstrap-servers", NOBODY, "--connect-timeout", 1)
    assert (result.code, result.out) == (75, "")


def test_simulate_without_a_broker_is_75(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate gives up on an unreachable broker with 75."""
    monkeypatch.setattr("etl.demo.producer.ANSWER_S", 1.0)
    assert run("simulate", "--topic", "t", "--bootstrap-servers", NOBODY).code == 75


def test_another_run_at_work_is_75(run: Run, broker: str, lake: Path, topic: str) -> None:
    """A second drain into one lake stops at once and names the process of the first."""
    with locked(Lake(lake)):
        result = run(*drain(broker, lake, topic))
    assert result.code == 75
    assert f"process {os.getpid()}" in result.err


def test_a_lake_without_its_catalog_is_78(run: Run, broker: str, lake: Path, topic: str) -> None:
    """A lake that has files but no catalog is refused, and nothing of it is touched."""
    file = lake / "data" / "kafka_topic=t" / "night=2026-02-14" / "r-1.parquet"
    file.parent.mkdir(parents=True)
    file.touch()
    result = run(*drain(broker, lake, topic))
    assert result.code == 78
    assert "catalog.duckdb" in result.err
    assert file.exists()


def test_a_lake_that_can_not_be_made_is_74(run: Run, broker: str, tmp_path: Path) -> None:
    """A lake below a file can't be made: 74, with its path."""
    (tmp_path / "file").touch()
    result = run(*drain(broker, tmp_path / "file" / "lake", "t"))
    assert result.code == 74
    assert str(tmp_path / "file" / "lake") in result.err


def test_output_that_can_not_be_written_is_74(run: Run, small_lake: Lake) -> None:
    """A full disk under our output is 74, in one line."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "etl", "sql", "FROM range(5)", "--lake", str(small_lake.root)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=clean_environment(),
        )
    assert done.returncode == 74
    assert done.stderr == "lasair-etl: output: No space left on device\n"


def test_a_reader_that_goes_away_is_no_error_to_see(small_lake: Lake) -> None:
    """`lasair-etl sql ... | head` ends quietly."""
    with subprocess.Popen(
        [sys.executable, "-m", "etl", "sql", "FROM range(200000)", "--lake", str(small_lake.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_a_topic_that_does_not_exist_is_0(run: Run, broker: str, lake: Path, topic: str) -> None:
    """A topic that is not there yet is no error; with a close name there is a hint."""
    result = run(*drain(broker, lake, f"{topic}s"))
    assert result.code == 0
    assert "no such topic yet" in result.err
    assert f"did you mean {topic}?" in result.err
    assert result.out.startswith("0 alerts, ")


def test_too_many_rejects_are_65(run: Run, broker: str, lake: Path, topic: str) -> None:
    """When most messages can't be decoded, what can be is stored, and the exit code is 65."""
    publish(broker, topic, [b"not json", b"{", alert(1)])
    result = run(*drain(broker, lake, topic))
    assert result.code == 65
    assert result.out.startswith("1 alert, 2 rejects, ")
    assert "lasair-etl rejects" in result.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.TryLater, 75),
        (errors.DataAtRisk, 65),
        (errors.AccessDenied, 77),
        (errors.WrongSettings, 78),
        (errors.LakeNotWritable, 74),
        (errors.WrongUsage, 64),
    ],
)
def test_every_error_of_ours_is_its_code(
    capfd: pytest.CaptureFixture[str], error: type[errors.EtlError], code: int
) -> None:
    """Each kind of broken world becomes its exit code, and its sentence one line."""

    @click.command()
    def fail() -> None:
        raise error("a.b: it broke; mend it")

    assert console.run(fail, []) == code
    assert capfd.readouterr().err == "lasair-etl: a.b: it broke; mend it\n"


def test_a_bug_is_70(capfd: pytest.CaptureFixture[str]) -> None:
    """A mistake of ours is 70: one line that says how to learn more, and with -v the traceback."""

    @click.command()
    @click.option("-v", "verbose", count=True)
    def fail(verbose: int) -> None:
        console.start_logging(verbose)
        raise ZeroDivisionError("by zero\nreally")

    assert console.run(fail, []) == 70
    result = capfd.readouterr().err
    assert result.count("\n") == 1
    assert "ZeroDivisionError: by zero" in result
    assert "-v" in result
    assert console.run(fail, ["-v"]) == 70
    assert "Traceback" in capfd.readouterr().err
    console.start_logging(0)


def holds(pid: int, lake: Path) -> bool:
    """Return whether a process holds the lock of a lake."""
    lock = lake / ".lock"
    return lock.exists() and lock.read_text() == f"{pid}\n"


def test_a_signal_stores_what_has_arrived(broker: str, lake: Path, topic: str) -> None:
    """The first SIGTERM ends a drain in good order: what has arrived is stored, the code is 75."""
    publish(broker, topic, [alert(n) for n in range(5)])
    arguments = [str(each) for each in drain(broker, lake, topic, "--poll-timeout", 600, "-v")]
    stored = 0
    for patience_s in (2, 10, 60, 120):  # until all have arrived, which a busy machine delays
        with subprocess.Popen(
            [sys.executable, "-m", "etl", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environment(),
        ) as process:
            wait_until(partial(holds, process.pid, lake), "the drain is at work")
            time.sleep(patience_s)
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate()
        assert process.returncode == 75, err
        assert "SIGTERM: storing what has arrived" in err
        assert "Traceback" not in err
        stored += int(out.split()[0])
        if stored == 5:
            break
    assert stored == 5


def test_a_second_signal_ends_it_at_once(lake: Path) -> None:
    """A second SIGINT does what it always does."""
    arguments = [str(each) for each in drain(NOBODY, lake, "t")]
    with subprocess.Popen(
        [sys.executable, "-m", "etl", *arguments, "--connect-timeout", "600"],
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    ) as process:
        wait_until(lambda: holds(process.pid, lake), "the drain is at work")
        process.send_signal(signal.SIGINT)
        assert process.stderr
        while "once more to stop at once" not in process.stderr.readline():
            assert process.poll() is None, "it ended at the first signal"
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == -signal.SIGINT
