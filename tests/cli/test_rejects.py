import subprocess
import sys

import pytest

from etl.lake.layout import Lake
from tests.cli.conftest import Run
from tests.flow.drains import clean_environment
from tests.sql.lakes import Writer, alert

BAD = b'{"a": \x00\xff\x1b[31m "unfinished'


@pytest.fixture(scope="module")
def bad_lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Make a lake with rejects in two topics, one of them in two incarnations."""
    writer = Writer(tmp_path_factory.mktemp("rejects") / "lake")
    writer.run([BAD, alert(1)])
    writer.run([b"second incarnation"], incarnation=2)
    writer.run([b"x" * 5000], topic="lasair_two")
    return writer.close()


def test_rejects_are_listed(run: Run, bad_lake: Lake) -> None:
    """The list has the coordinates, the reason and the size of each, the newest first."""
    result = run("rejects", "--lake", bad_lake.root, "--json")
    assert [(each["kafka_topic"], each["bytes"]) for each in result.json] == [
        ("lasair_two", 5000),
        ("lasair_one", 18),
        ("lasair_one", len(BAD)),
    ]
    assert all(each["reason"] for each in result.json)
    text = run("rejects", "--lake", bad_lake.root, "--topic", "lasair_two").out
    assert len(text.splitlines()) == 2
    assert len(run("rejects", "--lake", bad_lake.root, "-n", 1).out.splitlines()) == 2


def test_one_is_shown_with_its_bytes_and_reason(run: Run, bad_lake: Lake) -> None:
    """--show gives where it was, why it could not be decoded, and its bytes, none an order."""
    result = run("rejects", "--lake", bad_lake.root, "--show", "lasair_two", 0, 0)
    assert result.code == 0
    assert "reason" in result.out
    assert "00000000  78 78 78 78" in result.out
    assert "and 3,976 more; --raw prints all" in result.out
    result = run(
        "rejects", "--lake", bad_lake.root, "--show", "lasair_one", 0, 0, "--incarnation", 1
    )
    assert "00 ff 1b 5b" in result.out
    assert "\x1b" not in result.out


def test_of_two_incarnations_the_newest_is_shown(run: Run, bad_lake: Lake) -> None:
    """Where a topic had several incarnations, the newest is shown unless another is asked for."""
    show = ["rejects", "--lake", bad_lake.root, "--show", "lasair_one", 0, 0, "--json"]
    assert bytes.fromhex(run(*show).json["value"]) == b"second incarnation"
    assert bytes.fromhex(run(*show, "--incarnation", 1).json["value"]) == BAD


def test_raw_gives_the_bytes_as_they_came(bad_lake: Lake) -> None:
    """--raw writes the message's bytes to stdout, and nothing else."""
    show = ["--show", "lasair_one", "0", "0", "--incarnation", "1", "--raw"]
    done = subprocess.run(
        [sys.executable, "-m", "etl", "rejects", "--lake", str(bad_lake.root), *show],
        stdout=subprocess.PIPE,
        check=True,
        env=clean_environment(),
    )
    assert done.stdout == BAD


def test_none_at_these_coordinates(run: Run, bad_lake: Lake) -> None:
    """Coordinates without a reject are wrong usage, and the list is named."""
    result = run("rejects", "--lake", bad_lake.root, "--show", "lasair_one", 1, 0)
    assert result.code == 64
    assert "lasair_one[1]: no reject at offset 0" in result.err


def test_no_rejects_at_all(run: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A lake without rejects says so in a sentence, and in JSON with an empty list."""
    writer = Writer(tmp_path_factory.mktemp("good") / "lake")
    writer.run([alert(1)])
    root = writer.close().root
    assert run("rejects", "--lake", root).out == "no rejects: every message was decoded\n"
    assert run("rejects", "--lake", root, "--json").json == []
