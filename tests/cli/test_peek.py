import json
from collections.abc import Callable
from pathlib import Path

from etl.demo.producer import publish
from tests.cli.conftest import Run
from tests.flow.brokers import Broker
from tests.sql.lakes import alert

HOUR_MS = 3_600_000
START_MS = 1_771_070_400_000


def numbered(count: int) -> list[bytes]:
    """Make messages that know their place."""
    return [b'{"n": %d}' % n for n in range(count)]


def test_the_newest_are_printed_as_sent(run: Run, broker: str, topic: str) -> None:
    """Peek prints the newest messages, the newest last, one JSON object a line."""
    times = [START_MS + n * HOUR_MS for n in range(100)]
    publish(broker, topic, numbered(100), timestamps_ms=times)
    result = run("peek", topic, "--bootstrap-servers", broker, "-n", 5)
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [f'{{"n": {n}}}' for n in range(95, 100)]


def test_the_first_are_the_oldest(run: Run, broker: str, topic: str) -> None:
    """--first prints the oldest messages that the broker has."""
    times = [START_MS + n * HOUR_MS for n in range(100)]
    publish(broker, topic, numbered(100), timestamps_ms=times)
    result = run("peek", topic, "--bootstrap-servers", broker, "-n", 5, "--first")
    assert result.out.splitlines() == [f'{{"n": {n}}}' for n in range(5)]


def test_fewer_than_asked_for(run: Run, broker: str, topic: str) -> None:
    """A topic with fewer messages, or none, gives what it has."""
    assert run("peek", topic, "--bootstrap-servers", broker).out == ""
    publish(broker, topic, numbered(3))
    for more in ([], ["--first"]):
        result = run("peek", topic, "--bootstrap-servers", broker, *more)
        assert sorted(result.out.splitlines()) == [f'{{"n": {n}}}' for n in range(3)]


def test_batches_do_not_hide_the_end(run: Run, broker: str, new_topic: Callable[..., str]) -> None:
    """The newest message is found also inside a large batch, whose end brokers answer wrongly."""
    topic = new_topic(1)
    publish(broker, topic, numbered(3000))
    result = run("peek", topic, "--bootstrap-servers", broker, "-n", 2)
    assert result.out.splitlines() == ['{"n": 2998}', '{"n": 2999}']


def test_neither_group_nor_lake_is_touched(
    run: Run, kafka: Broker, topic: str, tmp_path: Path
) -> None:
    """Peek commits nothing, not even for the group of the settings, and makes no file."""
    (tmp_path / "lasair-etl.toml").write_text(
        f"bootstrap_servers = '{kafka.bootstrap_servers}'\ngroup_id = 'cli'\ntopics = ['{topic}']\n"
        "lake = 'lake'\n"
    )
    publish(kafka.bootstrap_servers, topic, [alert(n) for n in range(20)])
    assert len(run("peek", topic).out.splitlines()) == 10
    assert kafka.committed("cli", topic) == {}
    assert [path.name for path in tmp_path.iterdir()] == ["lasair-etl.toml"]


def test_messages_of_several_lines_take_one(run: Run, broker: str, topic: str) -> None:
    """A message with line breaks is printed on one line, its values as they were."""
    publish(broker, topic, [b'{"a":\n "x\\ny",\r\n "b": NaN, "c": 1e400}'])
    (line,) = run("peek", topic, "--bootstrap-servers", broker).out.splitlines()
    assert json.loads(line)["a"] == "x\ny"
    assert "NaN" in line


def test_what_is_no_json_is_said(run: Run, broker: str, topic: str) -> None:
    """A message that is no JSON is named on stderr, so that stdout stays readable by machines."""
    publish(broker, topic, [b"not json", b'{"n": 1}', None, b"[" * 200_000, b"\xff\xfe"])
    result = run("peek", topic, "--bootstrap-servers", broker)
    assert result.code == 0
    assert result.out == '{"n": 1}\n'
    assert result.err.count("is not JSON") == 4
    assert "b'not json'" in result.err
    assert f"{topic}[" in result.err


def test_no_such_topic(run: Run, broker: str, topic: str) -> None:
    """A topic that is not there is no error, and a close name is a hint."""
    result = run("peek", f"{topic}s", "--bootstrap-servers", broker)
    assert (result.code, result.out) == (0, "")
    assert f"did you mean {topic}?" in result.err
