"""Run a program as a process of its own, and give what it cost and what it said."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
SPAWN = Path(__file__).with_name("spawn.py")
PATIENCE_S = 1800.0


class Failed(Exception):
    """A program of the bench did not end as it should; the message has what it said."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process took from its start to its end."""

    wall_s: float
    cpu_s: float
    peak_rss_mb: float


def python(
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    interpreter: str = sys.executable,
) -> tuple[Cost, dict[str, Any]]:
    """Run Python with these arguments; give the cost, and the JSON object it printed last.

    Raises
    ------
    Failed
        The program ended with another exit code than 0, or not at all.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        cost, code = run([interpreter, *arguments], out, err, environment or {})
        said = out.read_text(encoding="utf-8", errors="replace")
        if code != 0:
            complaint = err.read_text(encoding="utf-8", errors="replace")
            raise Failed(f"python {' '.join(arguments)}: exit {code}\n{said}\n{complaint}")
        answer: dict[str, Any] = json.loads(said.splitlines()[-1])
        return cost, answer


def run(command: Sequence[str], out: Path, err: Path, more: Mapping[str, str]) -> tuple[Cost, int]:
    """Run a command by way of `spawn.py`; give its cost and its exit code."""
    launcher = subprocess.Popen(
        [sys.executable, "-I", "-S", str(SPAWN), str(out), str(err), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=own_environment() | dict(more),
        process_group=0,
    )
    try:
        line, _ = launcher.communicate(timeout=PATIENCE_S)
    except BaseException:
        os.killpg(launcher.pid, signal.SIGKILL)
        launcher.wait()
        raise
    if launcher.returncode != 0:
        raise Failed(f"{' '.join(command)}: could not be started")
    code, wall_s, cpu_s, peak_kb = line.split()
    return Cost(float(wall_s), float(cpu_s), int(peak_kb) * 1024 / 1e6), int(code)


def own_environment() -> dict[str, str]:
    """Return our environment with this checkout's path, without settings of the program."""
    kept = {name: v for name, v in os.environ.items() if not name.startswith("LASAIR_ETL_")}
    return kept | {"PYTHONPATH": str(ROOT)}
