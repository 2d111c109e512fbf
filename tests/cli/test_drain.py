import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from etl.demo.producer import publish
from etl.lake.layout import Lake
from tests.cli.conftest import Run
from tests.flow import checker
from tests.flow.alerts import small_alerts
from tests.flow.brokers import Broker
from tests.flow.drains import arguments, clean_environment, loaded_by
from tests.sql.lakes import alert

CLOSING = re.compile(
    r"[\d,]+ alerts?, [\d,]+ rejects?, [\d,]+ lost, [\d,]+ files?, [\d.]+ [kMGT]?B, [\d.]+ s, "
    r"lag ([\d,]+|unknown)\n"
)


@pytest.fixture
def config(broker: str, topic: str, tmp_path: Path) -> Path:
    """Write a settings file for a drain of this test's topic."""
    path = tmp_path / "lasair-etl.toml"
    path.write_text(
        f"bootstrap_servers = '{broker}'\ngroup_id = 'cli'\ntopics = ['{topic}']\nlake = 'lake'\n"
        "poll_timeout = 0\nconnect_timeout = 60\n"
    )
    return path


def test_the_closing_line(run: Run, config: Path, broker: str, topic: str) -> None:
    """A drain that is well says one line on stdout, and nothing on stderr."""
    publish(broker, topic, [alert(n) for n in range(1200)])
    result = run("drain")
    assert (result.code, result.err) == (0, "")
    assert CLOSING.fullmatch(result.out), result.out
    assert result.out.startswith("1,200 alerts, 0 rejects, 0 lost, 1 file, ")
    assert result.out.endswith(" s, lag 0\n")


def test_json_is_the_outcome(run: Run, config: Path, broker: str, topic: str) -> None:
    """With --json the closing line is one object, whose figures are those of etl.runs."""
    publish(broker, topic, [alert(1), b"not json"])
    result = run("drain", "--json", "--config", config)
    assert result.out.count("\n") == 1
    outcome = result.json
    assert (outcome["exit_code"], outcome["stopped"]) == (result.code, "drained")
    (run_row,) = run("sql", "FROM etl.runs", "--json").json
    assert run_row["run_id"] == outcome["run_id"]
    names = outcome["figures"].keys() - {"seconds"}
    assert {name: run_row[name] for name in names} == {
        name: outcome["figures"][name] for name in names
    }


def test_settings_come_from_flag_environment_file(
    run: Run, config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A flag wins over the environment, and that over the file."""
    monkeypatch.setenv("LASAIR_ETL_LAKE", str(tmp_path / "environment"))
    assert run("drain").code == 0
    assert run("drain", "--lake", tmp_path / "flag").code == 0
    assert (tmp_path / "environment" / "alerts.duckdb").exists()
    assert (tmp_path / "flag" / "alerts.duckdb").exists()
    assert not (tmp_path / "lake").exists()


def test_verbose_says_what_is_done(run: Run, config: Path, broker: str, topic: str) -> None:
    """With -v events are on stderr, one a line, in UTC, with their level."""
    run("drain")
    Lake(config.parent / "lake").public.unlink()
    publish(broker, topic, [b'{"a":\n 1}'])
    result = run("drain", "-vv")
    assert result.code == 0
    assert CLOSING.fullmatch(result.out)
    for line in result.err.splitlines():
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING) \S+: ", line)


def test_a_sample_group_id_gets_a_warning(run: Run, config: Path) -> None:
    """The group id of Lasair's sample program gets a warning, and the drain runs."""
    result = run("drain", "--group-id", "test123")
    assert result.code == 0
    assert "WARNING" in result.err
    assert "test123" in result.err


def test_a_dry_run_touches_nothing(
    run: Run, config: Path, kafka: Broker, topic: str, tmp_path: Path
) -> None:
    """--dry-run plans on an empty folder too: no lake is made, no offset committed."""
    publish(kafka.bootstrap_servers, topic, [alert(n) for n in range(20)])
    result = run("drain", "--dry-run")
    assert (result.code, result.err) == (0, "")
    assert "first drain: from the beginning" in result.out
    assert result.out.splitlines()[-1].startswith("20 messages behind, in 8 partitions of 1 topic;")
    assert [path.name for path in tmp_path.iterdir()] == [config.name]
    assert kafka.committed("cli", topic) == {}


def test_a_dry_run_knows_what_the_lake_knows(
    run: Run, config: Path, broker: str, topic: str
) -> None:
    """After a drain the plan starts where that stopped, and counts what came since exactly."""
    publish(broker, topic, [alert(n) for n in range(20)])
    assert run("drain").code == 0
    publish(broker, topic, [alert(n) for n in range(13)])
    before = Lake(config.parent / "lake").public.read_bytes()
    plan = run("drain", "--dry-run", "--json").json
    assert {each["reason"] for each in plan["partitions"]} == {"catalog"}
    assert {each["incarnation"] for each in plan["partitions"]} == {1}
    assert sum(each["start"] for each in plan["partitions"]) == 20
    assert sum(each["behind"] for each in plan["partitions"]) == 13
    assert Lake(config.parent / "lake").public.read_bytes() == before


def test_a_dry_run_sees_a_recreated_topic(
    run: Run, config: Path, kafka: Broker, topic: str
) -> None:
    """A topic that was deleted and made again is planned as its next incarnation."""
    publish(kafka.bootstrap_servers, topic, [alert(n) for n in range(8)])
    assert run("drain").code == 0
    kafka.recreate(topic)
    publish(kafka.bootstrap_servers, topic, [alert(n) for n in range(3)])
    plan = run("drain", "--dry-run", "--json").json
    assert {each["incarnation"] for each in plan["partitions"]} == {2}
    assert sum(each["behind"] for each in plan["partitions"]) == 3
    assert "the topic was recreated" in run("drain", "--dry-run").out


def test_a_dry_run_names_topics_that_are_not_there(run: Run, config: Path, topic: str) -> None:
    """A topic that does not exist is a sentence in the plan, not an error."""
    result = run("drain", "--dry-run", "--topic", f"{topic}x")
    assert result.code == 0
    assert f"did you mean {topic}?" in result.out
    assert "0 messages behind, in 0 partitions of 0 topics" in result.out


def test_max_messages_stops_early(run: Run, config: Path, broker: str, topic: str) -> None:
    """--max-messages bounds a run, and the closing line says what is left."""
    publish(broker, topic, [alert(n) for n in range(50)])
    result = run("drain", "--max-messages", 20)
    assert result.out.startswith("20 alerts")
    assert run("drain").out.startswith("30 alerts")


def test_a_terminal_sees_progress(config: Path, broker: str, topic: str) -> None:
    """On a terminal a bar moves on stderr; the closing line stays alone on stdout."""
    publish(broker, topic, [alert(n) for n in range(500)])
    here, there = os.openpty()
    shown: list[bytes] = []

    def look() -> None:
        """Read what the terminal shows until its other end is gone, as a screen would."""
        with contextlib.suppress(OSError):
            while True:
                shown.append(os.read(here, 65_536))

    screen = Thread(target=look)
    with subprocess.Popen(
        [sys.executable, "-m", "etl", "drain", "--config", str(config), "--json"],
        stdout=subprocess.PIPE,
        stderr=there,
        text=True,
        env={k: v for k, v in clean_environment().items() if k != "NO_COLOR"} | {"TERM": "xterm"},
    ) as process:
        os.close(there)
        screen.start()
        out, _ = process.communicate()
    screen.join()
    os.close(here)
    assert json.loads(out)["figures"]["alerts"] == 500
    assert b"\x1b[" in b"".join(shown)
    assert b"asking the broker" in b"".join(shown)


@pytest.fixture
def drained(run: Run, config: Path, broker: str, topic: str) -> Callable[[], str]:
    """Drain a few alerts, and give the function that names the topic."""
    publish(broker, topic, [alert(n) for n in range(40)])
    assert run("drain").code == 0
    return lambda: topic


def test_status_joins_the_lake_and_the_broker(
    run: Run, drained: Callable[[], str], broker: str
) -> None:
    """Status shows offsets, ends and lag of each partition, and what each topic holds."""
    topic = drained()
    publish(broker, topic, [alert(n) for n in range(5)])
    found = run("status", "--json").json
    assert found["broker_error"] is None
    assert found["last_run"]["state"] == "done"
    (shown,) = found["topics"]
    assert (shown["topic"], shown["incarnation"], shown["alerts"]) == (topic, 1, 40)
    assert (shown["files"], shown["rejects"], shown["lost"], shown["lag"]) == (1, 0, 0, 5)
    assert shown["last_night"] is not None
    assert [each["next"] for each in shown["partitions"]] == [5] * 8
    assert sum(each["end"] for each in shown["partitions"]) == 45
    assert sum(each["lag"] for each in shown["partitions"]) == 5
    assert {each["last_run"] for each in shown["partitions"]} == {found["last_run"]["run_id"]}
    text = run("status").out
    assert f"{topic}: incarnation 1, 40 alerts, 0 rejects, 0 lost, 1 file, " in text
    assert "lag 5" in text


def test_status_without_the_broker(run: Run, drained: Callable[[], str]) -> None:
    """With the broker down status says so, shows the lake's side, and ends with 0."""
    flags = ["--bootstrap-servers", "127.0.0.1:1", "--connect-timeout", 1]
    result = run("status", *flags)
    assert result.code == 0
    assert "no ends and no lag" in result.out
    assert f"{drained()}: incarnation 1, 40 alerts" in result.out
    found = run("status", *flags, "--json").json
    assert "127.0.0.1:1" in found["broker_error"]
    assert {each["lag"] for each in found["topics"][0]["partitions"]} == {None}
    assert {each["next"] for each in found["topics"][0]["partitions"]} == {5}


def test_status_of_a_recreated_topic(run: Run, kafka: Broker, drained: Callable[[], str]) -> None:
    """A topic that was recreated is noted, and its lag counts the new incarnation."""
    kafka.recreate(drained())
    publish(kafka.bootstrap_servers, drained(), [alert(n) for n in range(3)])
    (shown,) = run("status", "--json").json["topics"]
    assert "recreated" in shown["note"]
    assert shown["lag"] == 3


def test_status_of_topics_not_met_yet(
    run: Run, drained: Callable[[], str], new_topic: Callable[[], str], broker: str
) -> None:
    """Topics of the settings that the lake has not met are shown too."""
    other = new_topic()
    publish(broker, other, [alert(1)])
    found = run(
        "status", "--topic", drained(), "--topic", other, "--topic", "lasair_0none", "--json"
    )
    notes = {each["topic"]: (each["note"], each["lag"]) for each in found.json["topics"]}
    assert notes == {
        drained(): (None, 0),
        other: ("not in the lake yet", 1),
        "lasair_0none": ("no such topic yet", None),
    }


def test_verify_on_the_command_line(run: Run, drained: Callable[[], str], config: Path) -> None:
    """Verify says that all is well, or line by line what is not, with 65."""
    result = run("verify")
    assert result.code == 0
    assert result.out.startswith("all is well: ")
    (file,) = (config.parent / "lake" / "data").rglob("*.parquet")
    file.unlink()
    result = run("verify")
    assert result.code == 65
    assert result.out.startswith("WRONG  files: data/kafka_topic=")
    assert "1 broken promise in " in result.out
    assert run("verify", "--json").json["complaints"][0]["check"] == "files"


def test_a_drain_takes_no_other_library_for_its_values(
    kafka: Broker, broker: str, topic: str, lake: Path
) -> None:
    """Neither numpy nor pandas is imported, though both are installed here."""
    kafka.publish(topic, small_alerts(20))
    program = (
        f"import sys\nsys.argv = ['lasair-etl', *{arguments(broker, lake, topic)!r}]\n"
        "from etl.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    assert ended.code == 0"
    )
    assert loaded_by(program, "numpy", "pandas", "pyarrow.parquet") == ["pyarrow.parquet"]
    assert checker.check(lake, {(topic, 1): checker.read_topic(broker, topic)}).alerts == 20
