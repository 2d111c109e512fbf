"""Invariant 6 at every system call: a run killed at its n-th write of a file needs no help.

The kill comes from strace's fault injection, so that it hits what DuckDB and Arrow write too, and
not only our own functions. Each round is killed one call later, until a run survives.
"""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import duckdb
import pytest

from etl.audit.verify import verify
from etl.lake.layout import Lake
from tests.flow import checker
from tests.flow.alerts import small_alerts
from tests.flow.drains import Fault, arguments, clean_environment, drain

pytestmark = pytest.mark.soak  # kills at many writes


def why_no_strace() -> str | None:
    """Say why strace can't inject faults here; None where it can."""
    strace = shutil.which("strace")
    if strace is None:
        return "strace is not installed (apt-get install strace)"
    inject = ["-qq", "-o", os.devnull, "-e", "trace=mkdir", "-e", "inject=mkdir:error=EIO"]
    tried = subprocess.run(
        [strace, "-f", *inject, "mkdir", "/proc/never"], capture_output=True, text=True, check=False
    )
    refused = "Input/output error" not in tried.stderr
    return f"strace may not trace here: {tried.stderr.strip()}" if refused else None


NO_STRACE = why_no_strace()
needs_strace = pytest.mark.skipif(NO_STRACE is not None, reason=f"KILLS NOT TESTED: {NO_STRACE}")


def traced_drain(
    broker: str, lake: Path, topic: str, fault: str, path: Path | None = None, **options: str
) -> int:
    """Run a drain under strace with a fault, at one path only where one is named."""
    calls = fault.partition(":")[0]
    only = ["-P", str(path)] if path else []
    return subprocess.run(
        [
            *("strace", "-f", "-qq", "-o", os.devnull),
            *("-e", f"trace={calls}", "-e", f"inject={fault}", *only),
            *(sys.executable, "-m", "etl", *arguments(broker, lake, topic, **options)),
        ],
        env=clean_environment(),
        cwd=lake.parent,
        capture_output=True,
        check=False,
    ).returncode


def check_all(broker: str, lake: Path, topic: str, alerts: int) -> None:
    """See that each alert is there once, nothing is left over, and `verify` is content."""
    found = checker.check(lake, {(topic, 1): checker.read_topic(broker, topic)})
    assert found.alerts == alerts
    assert checker.unregistered(lake) == []
    assert not list(lake.glob(".*.tmp*"))
    assert verify(Lake(lake)).exit_code == 0


@dataclass(frozen=True, slots=True)
class Sweep:
    """Kills at these calls, of one file where it is named, each kill one or more calls later.

    How many calls there are differs from run to run: DuckDB's threads share its writes, and strace
    counts each thread's apart.
    """

    calls: str
    name: str | None
    step: int = 1

    def __str__(self) -> str:
        return f"{self.calls} of {self.name or 'any file'}"

    def run(self, broker: str, topic: str, start: Callable[[int], Path]) -> None:
        """Kill runs at their n-th call, each in a lake of its own, until one is not killed."""
        for kills in count():
            lake = start(kills)
            fault = f"{self.calls}:signal=KILL:when={1 + kills * self.step}"
            path = lake / self.name if self.name else None
            group = f"{topic}-{kills}"  # a new lake starts where its group has committed
            code = traced_drain(broker, lake, topic, fault, path, group_id=group)
            if code == 0:
                break
            assert code == -9, f"{fault} {path}: exit {code}"
            drain(broker, lake, topic, group_id=group)
            check_all(broker, lake, topic, 20)
            shutil.rmtree(lake)
        assert kills, "the run made no such call"


FIRST = [Sweep("pwrite64", ".catalog.duckdb.tmp"), Sweep("rename", None)]
FURTHER = [
    Sweep("write", ".catalog.duckdb.tmp.wal"),
    Sweep("pwrite64", None),
    Sweep("write", "catalog.duckdb.wal"),
    Sweep("write", ".alerts.duckdb.tmp"),
    Sweep("fdatasync", None),
    Sweep("fsync", None),
    Sweep("unlink", None),
    Sweep("mkdir", None),
    Sweep("ftruncate", None),
]
LATER = [
    Sweep("pwrite64", "catalog.duckdb", step=7),
    Sweep("pwrite64", None),
    Sweep("write", "catalog.duckdb.wal"),
    Sweep("write", ".alerts.duckdb.tmp"),
    Sweep("fdatasync", None),
    Sweep("fsync", None),
    Sweep("rename", None),
    Sweep("unlink", None),
]
SWEEP = pytest.mark.sweep


@needs_strace
@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    "sweep", [*FIRST, *(pytest.param(each, marks=SWEEP) for each in FURTHER)], ids=str
)
def test_kill_at_any_write_of_a_first_run(kafka, broker, topic, tmp_path, sweep):
    """A first run killed at any write leaves a lake that the next run goes on with."""
    kafka.publish(topic, small_alerts(20))
    sweep.run(broker, topic, lambda number: tmp_path / f"{number}")


@needs_strace
@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    "sweep", [LATER[0], *(pytest.param(each, marks=SWEEP) for each in LATER[1:])], ids=str
)
def test_kill_at_any_write_of_a_later_run(kafka, broker, topic, tmp_path, sweep):
    """A later run killed at any write loses nothing of what the lake had, nor of what was new."""
    kafka.publish(topic, small_alerts(8))
    drain(broker, tmp_path / "before", topic)
    kafka.publish(topic, small_alerts(12))
    sweep.run(
        broker, topic, lambda number: shutil.copytree(tmp_path / "before", tmp_path / f"{number}")
    )


# ------------------------------------------------------------------- without strace, the same kind


@pytest.mark.parametrize(
    "fault",
    [
        Fault("etl.catalog.database:Catalog._migrate", "before"),
        Fault("etl.catalog.database:Catalog._migrate"),
        Fault("pathlib:Path.rename", "before"),
        Fault("pathlib:Path.rename"),
    ],
    ids=str,
)
def test_kill_while_the_catalog_is_made(kafka, broker, topic, lake, fault):
    """A catalog appears under its name when it is whole; what a kill left of it is removed."""
    kafka.publish(topic, small_alerts(20))
    drain(broker, lake, topic, code=-9, faults=[fault])
    if (lake / "catalog.duckdb").exists():
        duckdb.connect(str(lake / "catalog.duckdb"), read_only=True).close()
    drain(broker, lake, topic)
    check_all(broker, lake, topic, 20)


@pytest.mark.parametrize("size", [0, 1, 4096, 8192, 12288])
def test_a_lake_that_a_killed_first_run_left_stuck_goes_on(kafka, broker, topic, lake, size):
    """What earlier versions left of a first run is set aside, said once, and the lake is made."""
    kafka.publish(topic, small_alerts(20))
    lake.mkdir()
    (lake / "catalog.duckdb").write_bytes(b"\0" * size)
    (lake / "catalog.duckdb.wal").write_bytes(b"\0" * size)
    noted = drain(broker, lake, topic)
    assert noted.err.count("catalog.duckdb.unreadable") == 1
    assert (lake / "catalog.duckdb.unreadable").stat().st_size == size
    assert "unreadable" not in drain(broker, lake, topic).err
    check_all(broker, lake, topic, 20)


@pytest.mark.parametrize("kilobytes", [0, 4, 300])
def test_a_first_run_under_a_file_size_limit_is_74_and_then_0(
    kafka, broker, topic, lake, kilobytes
):
    """A disk that takes no more in a first run (`ulimit -f`) is 74; with space all comes."""
    kafka.publish(topic, small_alerts(20))
    limits = (kilobytes * 1024, kilobytes * 1024)
    refused = subprocess.run(
        [sys.executable, "-m", "etl", *arguments(broker, lake, topic)],
        env=clean_environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits),
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 74, refused.stderr
    assert "Traceback" not in refused.stderr
    drain(broker, lake, topic)
    check_all(broker, lake, topic, 20)


@needs_strace
@pytest.mark.parametrize("calls", ["fsync", "fdatasync", "rename"])
def test_a_disk_that_refuses_is_74(kafka, broker, topic, lake, calls):
    """An error of the disk where data is made durable is 74, and nothing is lost."""
    kafka.publish(topic, small_alerts(20))
    assert traced_drain(broker, lake, topic, f"{calls}:error=EIO:when=2+") == 74
    drain(broker, lake, topic)
    check_all(broker, lake, topic, 20)
