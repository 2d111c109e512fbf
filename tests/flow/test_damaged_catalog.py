"""A catalog, or its write-ahead log, that the disk harmed: it goes on, or it is 78 and mendable."""

import random
import shutil

import pytest

from etl.audit.verify import verify
from etl.lake.layout import Lake
from tests.flow import checker
from tests.flow.advice import follow
from tests.flow.alerts import small_alerts
from tests.flow.drains import Fault, drain
from tests.sampling import one_in

PUBLISHED = 20
COMMITTED = 20


@pytest.fixture
def harmed(kafka, broker, topic, lake, tmp_path):
    """Return the function that harms a copy of a lake, drains it as users would, and checks it.

    A killed run has left a write-ahead log with what was committed and not published.
    """
    kafka.publish(topic, small_alerts(PUBLISHED))
    drain(broker, lake, topic)
    kafka.publish(topic, small_alerts(COMMITTED))
    killed = [Fault("etl.catalog.checkpoint:checkpoint")]
    drain(broker, lake, topic, code=-9, faults=killed)
    assert (lake / "catalog.duckdb.wal").stat().st_size > 0
    log = checker.read_topic(broker, topic)

    def harm(name, change):
        copy = shutil.copytree(lake, tmp_path / "harmed")
        content = bytearray((copy / name).read_bytes())
        (copy / name).write_bytes(bytes(change(content)))
        ended = drain(broker, copy, topic, code=None)
        assert ended.code in {0, 78}, str(ended)
        if ended.code == 78:
            assert "Traceback" not in ended.output
            follow(ended.err)
            drain(broker, copy, topic)
        assert checker.check(copy, {(topic, 1): log}).alerts == PUBLISHED + COMMITTED
        assert checker.unregistered(copy) == []
        assert verify(Lake(copy)).exit_code == 0
        shutil.rmtree(copy)
        return ended.code

    return harm


def flip(place):
    """Return the change that flips one bit at a place, a fraction of the whole."""

    def change(content):
        content[min(int(place * len(content)), len(content) - 1)] ^= 4
        return content

    return change


def cut(place):
    """Return the change that keeps so much of a file."""
    return lambda content: content[: int(place * len(content))]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("flips", "cuts"), one_in(2, [((0.02,), (0, 0.5)), ((0, 0.3, 0.7, 1), (0, 0.01))])
)
def test_a_damaged_log_is_mended_by_what_is_advised(harmed, flips, cuts):
    """A flipped bit in the log, wherever, or a log cut short: 0, or 78 and the advice works."""
    codes = [harmed("catalog.duckdb.wal", flip(place)) for place in flips]
    codes += [harmed("catalog.duckdb.wal", cut(place)) for place in cuts]
    assert set(codes) == {0, 78}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("flips", "cuts"), one_in(2, [((0.02,), (0.8,)), ((0, 0.004, 0.3, 0.6, 0.95), (0, 0.004))])
)
def test_a_damaged_catalog_is_mended_by_what_is_advised(harmed, flips, cuts):
    """A flipped bit in the catalog, or a catalog cut short: 0, or 78 and the advice works."""
    codes = [harmed("catalog.duckdb", flip(place)) for place in flips]
    codes += [harmed("catalog.duckdb", cut(place)) for place in cuts]
    assert 78 in codes


@pytest.mark.sweep
@pytest.mark.timeout(6000)
@pytest.mark.parametrize("name", ["catalog.duckdb", "catalog.duckdb.wal"])
def test_damage_anywhere_is_mended_by_what_is_advised(harmed, name):
    """A hundred places at random: always 0, or 78 and the advice works."""
    seed = random.SystemRandom().randrange(10**6)
    chance = random.Random(seed)
    for number in range(100):
        change = (flip, flip, flip, cut)[number % 4](chance.random())
        assert harmed(name, change) in {0, 78}, f"seed {seed}, round {number}"


def test_a_damaged_published_file_is_replaced(kafka, broker, topic, lake):
    """What readers open is made anew from the catalog where it is harmed."""
    kafka.publish(topic, small_alerts(20))
    drain(broker, lake, topic)
    content = bytearray((lake / "alerts.duckdb").read_bytes())
    content[len(content) // 3] ^= 4
    (lake / "alerts.duckdb").chmod(0o644)
    (lake / "alerts.duckdb").write_bytes(bytes(content))
    drain(broker, lake, topic)
    assert checker.check(lake, {(topic, 1): checker.read_topic(broker, topic)}).alerts == 20


def test_damage_of_both_copies_is_78_and_names_another_way_out(kafka, broker, topic, lake):
    """Where the published file can't stand for the catalog, nobody is told to copy it."""
    kafka.publish(topic, small_alerts(20))
    drain(broker, lake, topic)
    for name in ("catalog.duckdb", "alerts.duckdb"):
        (lake / name).chmod(0o644)
        (lake / name).write_bytes(b"not a database" * 1000)
    refused = drain(broker, lake, topic, code=78)
    assert "restore it from a backup" in refused.err
    assert "cp " not in refused.err
