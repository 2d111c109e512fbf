from datetime import timedelta
from pathlib import Path

import pytest

from etl.config.settings import load
from tests.cli.conftest import Run


def test_the_file_is_read_back(run: Run, tmp_path: Path) -> None:
    """What init writes a drain reads: topics by Lasair's rule, its broker, a lake beside it."""
    result = run(
        "init", "--user-id", 2, "--filter", "SN-like candidates", "--filter", "Uber  (nuclear)!",
        "--topic", "lasair_9mine",
    )  # fmt: skip
    assert (result.code, result.err) == (0, "")
    chosen = load({}, {}, tmp_path / "lasair-etl.toml")
    assert chosen.topics == ("lasair_2SN-likecandidates", "lasair_2Ubernuclear", "lasair_9mine")
    assert chosen.bootstrap_servers == "lasair-lsst-kafka.lsst.ac.uk:9092"
    assert chosen.lake == tmp_path / "lake"
    assert chosen.group_id.startswith("lasair-etl-")
    assert all(part in result.out for part in (*chosen.topics, chosen.group_id, "must not change"))


def test_the_written_values_are_the_defaults(run: Run, tmp_path: Path) -> None:
    """The numbers in the file are those that hold without it."""
    run("init", "--topic", "lasair_1a")
    written = load({}, {}, tmp_path / "lasair-etl.toml")
    flags = {
        "bootstrap_servers": written.bootstrap_servers,
        "group_id": written.group_id,
        "topics": written.topics,
        "lake": str(written.lake),
    }
    (tmp_path / "lasair-etl.toml").unlink()
    assert load(flags, {}) == written


def test_each_group_id_is_another(run: Run, tmp_path: Path) -> None:
    """Two people who run init do not get each other's alerts."""
    run("init", "--topic", "lasair_1a", "--config", "one.toml")
    run("init", "--topic", "lasair_1a", "--config", "two.toml")
    groups = {load({}, {}, tmp_path / name).group_id for name in ("one.toml", "two.toml")}
    assert len(groups) == 2


def test_a_file_is_never_overwritten(run: Run, tmp_path: Path) -> None:
    """Init leaves a file that is there as it is, and says so."""
    (tmp_path / "lasair-etl.toml").write_text("mine")
    said = run("init", "--topic", "lasair_1a")
    assert said.code == 78
    assert "exists already" in said.err
    assert (tmp_path / "lasair-etl.toml").read_text() == "mine"


@pytest.mark.parametrize(
    ("flags", "broker", "hours"),
    [
        (["--ztf"], "kafka.lsst.ac.uk:9092", 20),
        (["--bootstrap-servers", "localhost:1"], "localhost:1", 12),
    ],
)
def test_the_broker_can_be_another(
    run: Run, tmp_path: Path, flags: list[str], broker: str, hours: int
) -> None:
    """--ztf names Lasair's other broker and when its nights begin, --bootstrap-servers any."""
    assert run("init", "--topic", "lasair_1a", *flags).code == 0
    written = load({}, {}, tmp_path / "lasair-etl.toml")
    assert written.bootstrap_servers == broker
    assert written.night_starts == timedelta(hours=hours)


def test_a_sample_group_id_gets_a_warning(run: Run) -> None:
    """The group id of Lasair's sample program is taken, with a warning that others have it too."""
    result = run("init", "--topic", "lasair_1a", "--group-id", "test123")
    assert result.code == 0
    assert "test123" in result.err
    assert "others use it too" in result.err


def test_without_topics_the_file_says_where_they_go(run: Run, tmp_path: Path) -> None:
    """A file without topics is a start; the drain then says what is missing, and in which file."""
    assert "add your topics to it" in run("init").out
    result = run("drain")
    assert result.code == 78
    assert "missing setting: topics; add it to" in result.err
    assert str(tmp_path / "lasair-etl.toml") in result.err


@pytest.mark.parametrize("value", ['a "b"', "it's", "a\\b", "tab\tand\nline", "ü \x7f \U0001f52d"])
def test_any_text_survives_the_file(run: Run, tmp_path: Path, value: str) -> None:
    """Quotes, backslashes and control characters in a path come back as they were."""
    assert run("init", "--topic", "lasair_1a", "--lake", value, "--group-id", value).code == 0
    written = load({}, {}, tmp_path / "lasair-etl.toml")
    assert written.lake == tmp_path / value
    assert written.group_id == value


def test_a_topic_that_can_be_none_is_refused(run: Run, tmp_path: Path) -> None:
    """A name that Kafka does not allow is refused before anything is written."""
    assert run("init", "--topic", "a b").code == 78
    assert list(tmp_path.iterdir()) == []


def test_a_filter_that_can_have_no_topic_is_refused(run: Run, tmp_path: Path) -> None:
    """Lasair keeps letters of any script, which Kafka refuses: say so rather than wait for ever."""
    result = run("init", "--user-id", 2, "--filter", "Übergang")
    assert result.code == 64
    assert "rename the filter" in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(run: Run) -> None:
    """A file in a folder that does not exist can't be written: 74, with its path."""
    result = run("init", "--topic", "lasair_1a", "--config", "nowhere/a.toml")
    assert result.code == 74
    assert "nowhere/a.toml" in result.err
