"""What bears the name of a file that the lake writes: a link or a device is never written to."""

import os
from pathlib import Path

import pytest

from etl.lake.layout import Lake
from etl.lake.local import atomic_file
from tests.flow import checker
from tests.flow.alerts import small_alerts
from tests.flow.drains import drain

WRITTEN = (".lock", "catalog.duckdb", "catalog.duckdb.wal", "alerts.duckdb", "alerts.duckdb.wal")
TEMPORARY = (".alerts.duckdb.tmp", ".catalog.duckdb.tmp")


def test_a_link_is_78_and_its_target_stays(kafka, broker, topic, lake, tmp_path):
    """A symbolic link where the lake writes is refused, and nothing behind it is touched."""
    kafka.publish(topic, small_alerts(10))
    drain(broker, lake, topic)
    precious = tmp_path / "precious"
    precious.write_bytes(b"not yours" * 1000)
    for name in WRITTEN:
        there = (lake / name).exists()
        if there:
            (lake / name).rename(lake / "kept")
        (lake / name).symlink_to(precious)
        refused = drain(broker, lake, topic, code=78)
        assert f"{lake / name}: a symbolic link" in refused.err
        assert precious.read_bytes() == b"not yours" * 1000
        (lake / name).unlink()
        if there:
            (lake / "kept").rename(lake / name)
    drain(broker, lake, topic)
    assert checker.check(lake, {(topic, 1): checker.read_topic(broker, topic)}).alerts == 10


@pytest.mark.parametrize(
    ("make", "name"),
    [(os.mkfifo, ".lock"), (os.mkfifo, "catalog.duckdb"), (os.mkdir, "alerts.duckdb")],
    ids=["FIFO as lock", "FIFO as catalog", "folder as published file"],
)
def test_what_is_no_file_is_78(broker, topic, lake, name, make):
    """A FIFO or a folder where the lake writes is refused at once, and stays."""
    lake.mkdir()
    make(lake / name)
    refused = drain(broker, lake, topic, code=78)
    assert str(lake / name) in refused.err
    assert "no regular file" in refused.err
    assert [path.name for path in lake.iterdir() if path.name != ".lock"] == (
        [] if name == ".lock" else [name]
    )


def test_a_dangling_link_makes_no_file_elsewhere(broker, topic, lake, tmp_path):
    """A link to nothing does not make a lock, or a catalog, somewhere else."""
    for name in WRITTEN:
        lake.mkdir(exist_ok=True)
        (lake / name).symlink_to(tmp_path / "elsewhere")
        drain(broker, lake, topic, code=78)
        (lake / name).unlink()
    assert not list(tmp_path.glob("elsewhere*"))


@pytest.mark.parametrize("name", TEMPORARY)
def test_temporary_names_follow_no_link(kafka, broker, topic, lake, tmp_path, name):
    """A link under a temporary name goes, and what it led to stays as it was."""
    kafka.publish(topic, small_alerts(10))
    lake.mkdir()
    precious = tmp_path / "precious"
    precious.write_bytes(b"not yours")
    (lake / name).symlink_to(precious)
    drain(broker, lake, topic)
    assert precious.read_bytes() == b"not yours"
    assert not (lake / name).is_symlink()
    assert checker.check(lake, {(topic, 1): checker.read_topic(broker, topic)}).alerts == 10


def test_a_new_file_follows_no_link(tmp_path: Path):
    """What is written whole or not at all does not write through a link that waits for it."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"not yours")
    (tmp_path / ".new.tmp").symlink_to(precious)
    with atomic_file(tmp_path / "new") as out:
        out.write(b"mine")
    assert precious.read_bytes() == b"not yours"
    assert (tmp_path / "new").read_bytes() == b"mine"
    assert not (tmp_path / "new").is_symlink()


def test_a_lake_that_is_itself_behind_a_link_works(kafka, broker, topic, lake, tmp_path):
    """Only files are refused: a lake may be named by a link, and its folders may be links."""
    kafka.publish(topic, small_alerts(10))
    (tmp_path / "disk" / "data").mkdir(parents=True)
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "data").symlink_to(tmp_path / "disk" / "data")
    lake.symlink_to(tmp_path / "real")
    drain(broker, lake, topic)
    assert Lake(lake.resolve()).public.exists()
    assert checker.check(lake, {(topic, 1): checker.read_topic(broker, topic)}).alerts == 10
