"""A disk that runs full, or out of inodes, exactly where it hurts: 74, then every alert once."""

import os
import signal
import subprocess

import pytest

from etl.audit.verify import verify
from etl.lake.layout import Lake
from tests.flow import checker
from tests.flow.alerts import small_alerts
from tests.flow.drains import Fault, drain, start, wait_until
from tests.flow.test_lake import fill, mounted

pytestmark = pytest.mark.soak  # file systems of their own

POINTS = {
    "publishing that the run is open": Fault("etl.catalog.publication:publish_copy", "before", 1),
    "landing": Fault("etl.lake.land:land", "before"),
    "registering": Fault("etl.catalog.checkpoint:checkpoint", "before"),
    "publishing": Fault("etl.catalog.publication:publish_copy", "before", 2),
}


@pytest.mark.parametrize("point", POINTS)
def test_full_at_this_point_is_74_and_then_0(kafka, broker, topic, tmp_path, point):
    """The disk is full from this moment on: 74, readers go on, and with space all comes once."""
    with mounted(tmp_path / "disk", "32m") as disk:
        lake = disk / "lake"
        kafka.publish(topic, small_alerts(20))
        drain(broker, lake, topic)
        kafka.publish(topic, small_alerts(20))
        fault = POINTS[point]
        stop = Fault(fault.target, fault.when, fault.call, signal.SIGSTOP)
        running = start(broker, lake, topic, faults=[stop])
        wait_until(running.is_stopped, point)
        fill(disk, 0)
        running.send(signal.SIGCONT)
        refused = running.wait()
        assert refused.code == 74, str(refused)
        assert "Traceback" not in refused.output
        assert (".parquet" in refused.err) == (point == "landing")
        assert checker.read_catalog(lake).counts[topic] == 20
        assert verify(Lake(lake)).exit_code == 0
        (disk / "ballast").unlink()
        drain(broker, lake, topic)
        assert checker.check(lake, {(topic, 1): checker.read_topic(broker, topic)}).alerts == 40
        assert checker.unregistered(lake) == []


@pytest.mark.timeout(600)
def test_inodes_that_run_out_are_74_and_then_0(kafka, broker, topic, tmp_path):
    """A first run that can make no more files, wherever, is 74; with inodes all comes once."""
    kafka.publish(topic, small_alerts(20))
    log = checker.read_topic(broker, topic)
    codes = []
    for inodes in (3, 4, 5, 6, 8, 10, 13):
        with mounted(tmp_path / f"disk{inodes}", f"32m,nr_inodes={inodes}") as disk:
            lake, group = disk / "lake", f"{topic}-{inodes}"
            refused = drain(broker, lake, topic, code=None, group_id=group)
            codes.append(refused.code)
            assert refused.code in {0, 74}, f"{inodes} inodes: {refused}"
            assert "Traceback" not in refused.output
            subprocess.run(["mount", "-o", "remount,nr_inodes=99", str(disk)], check=True)
            drain(broker, lake, topic, group_id=group)
            assert checker.check(lake, {(topic, 1): log}).alerts == 20
            assert checker.unregistered(lake) == []
            assert not os.path.lexists(lake / ".catalog.duckdb.tmp")
    assert codes[0] == 74
    assert codes[-1] == 0
