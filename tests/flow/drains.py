"""Drains as real processes: started, bounded, killed at a named point, and asked how it went.

Most drains here are forked from a server that has the program's imports done (half a second
each on a small machine); `python -m etl` itself is run where starting is part of the promise.
"""

import ast
import codecs
import importlib
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import wraps
from itertools import count
from pathlib import Path
from typing import Any

from etl import records

ROOT = Path(__file__).parent.parent.parent
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "etl.cli.main",
        "etl.jobs.drain",
        "etl.decode.batch",
        "etl.lake.land",
        "etl.lake.merge",
        "tests.flow.drains",
    ]
)
"""All that a drain imports when it needs it: a fork may be of a user who can't read Python."""

# Only what hangs takes so long, however busy the machine is.
PATIENCE_S = 300.0


@dataclass(frozen=True, slots=True)
class Fault:
    """A signal that a process sends itself before or after its n-th call of a public function.

    `target` is `module:name`, dotted where it is a method; the function itself is called as it is.
    With `argument` only calls count that have it, for example the name of an SQL file.
    """

    target: str
    when: str = "after"
    call: int = 1
    signal: int = signal.SIGKILL
    argument: str | None = None

    def __str__(self) -> str:
        return f"{self.when} {self.argument or self.target} ({self.call})"

    def install(self) -> None:
        """Wrap the function, in the process that is to fail."""
        module, _, dotted = self.target.partition(":")
        *holders, name = dotted.split(".")
        holder: Any = importlib.import_module(module)
        for each in holders:
            holder = getattr(holder, each)
        real = getattr(holder, name)
        calls = 0

        @wraps(real)
        def failing(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            if self.argument is not None and self.argument not in args:
                return real(*args, **kwargs)
            calls += 1
            if calls == self.call and self.when == "before":
                os.kill(os.getpid(), self.signal)
            result = real(*args, **kwargs)
            if calls == self.call and self.when == "after":
                os.kill(os.getpid(), self.signal)
            return result

        setattr(holder, name, failing)
        replace_imported(real, failing)


def replace_imported(real: object, other: object) -> None:
    """Let each module of the program that has imported `real` have `other`."""
    for imported in [m for key, m in sys.modules.items() if key.partition(".")[0] == "etl"]:
        for alias, value in list(vars(imported).items()):
            if value is real:
                setattr(imported, alias, other)


@dataclass(frozen=True, slots=True)
class Clock:
    """A process's own clock: off by `first`, and from its n-th reading on by `then`."""

    first: timedelta
    then: timedelta
    reading: int

    def install(self) -> None:
        """Replace the program's clock, in the process that is to have this one."""
        readings = count(1)

        def utc_now() -> datetime:
            return real() + (self.first if next(readings) < self.reading else self.then)

        real = records.utc_now
        replace_imported(real, utc_now)


SMALL_STEPS = {
    "etl.jobs.drain:CHECKPOINT_S": 0.0,
    "etl.kafka.reader:BATCH_MESSAGES": 20,
    "etl.kafka.reader:POLL_MESSAGES": 40,
}
"""Sizes that make a short drain go through many steps: each 20 to 59 messages are a batch."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a drain ended; a negative code is the signal that ended it."""

    code: int
    out: str
    err: str
    seconds: float
    pid: int

    @property
    def closing(self) -> dict[str, Any]:
        """Return the closing object that `--json` prints."""
        closing: dict[str, Any] = json.loads(self.out)
        return closing

    @property
    def output(self) -> str:
        """Return all that was printed, for a message that may stand in either place."""
        return self.out + self.err

    def __str__(self) -> str:
        return f"exit {self.code} after {self.seconds:.1f} s\n{self.out}\n{self.err}"


@dataclass(slots=True)
class Running:
    """A drain at work in a process of its own; what it prints goes into `folder`."""

    process: Any
    folder: Path
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        _unfinished.append(self)

    @property
    def pid(self) -> int:
        """Return its process id."""
        pid: int = self.process.pid
        return pid

    def send(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def is_stopped(self) -> bool:
        """Return whether it was stopped by a signal, as a `Fault` may do."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii")
        except FileNotFoundError:
            return False
        return stat.rpartition(")")[2].split()[0] == "T"

    def _said(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8", errors="replace")

    def wait(self, timeout_s: float = PATIENCE_S) -> Finished:
        """Wait until it has ended; one that does not is killed and fails the test."""
        if isinstance(self.process, subprocess.Popen):
            try:
                code = self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                code = None
        else:
            self.process.join(timeout_s)
            code = self.process.exitcode
        seconds = time.monotonic() - self.started
        out, err = self._said("out"), self._said("err")
        assert code is not None, f"still running after {seconds:.0f} s\n{out}\n{err}"
        self.abandon()
        return Finished(code, out, err, seconds, self.pid)

    def abandon(self) -> None:
        """Kill it where it is still there, and remove what it printed."""
        _unfinished.remove(self)
        self.process.kill()
        if isinstance(self.process, subprocess.Popen):
            self.process.wait()
        else:
            self.process.join()
        shutil.rmtree(self.folder)


_unfinished: list[Running] = []


def abandon_all() -> None:
    """End every drain that a failed test has left behind, stopped ones too."""
    while _unfinished:
        _unfinished[-1].abandon()


def arguments(broker: str, lake: Path, *topics: str, **options: Any) -> list[str]:
    """Write a drain's command line: quick and quiet unless `options` say otherwise."""
    wanted: dict[str, Any] = {
        "bootstrap_servers": broker,
        "group_id": "flow-tests",
        "lake": lake,
        "poll_timeout": 0,
        "connect_timeout": 60,
    } | options
    flags = ["drain", "--json"]
    for topic in topics:
        flags += ["--topic", topic]
    for name, value in wanted.items():
        if value is not None:
            flags += [f"--{name.replace('_', '-')}", str(value)]
    return flags


def start(
    broker: str,
    lake: Path,
    *topics: str,
    faults: Sequence[Fault | Clock] = (),
    tuning: Mapping[str, Any] | None = None,
    uid: int | None = None,
    **options: Any,
) -> Running:
    """Start a drain in a forked process; `uid` runs it as another user, where we are root."""
    folder = Path(tempfile.mkdtemp(prefix="drain-"))
    for name in ("out", "err"):
        (folder / name).touch()
    argv = arguments(broker, lake, *topics, **options)
    process = FORKS.Process(
        target=_main, args=(argv, str(folder), tuple(faults), dict(tuning or {}), uid)
    )
    process.start()
    return Running(process, folder)


def drain(broker: str, lake: Path, *topics: str, code: int | None = 0, **options: Any) -> Finished:
    """Run a drain in a forked process to its end, which has to be `code` (None: any)."""
    finished = start(broker, lake, *topics, **options).wait()
    assert code is None or finished.code == code, str(finished)
    return finished


def command(
    *argv: str, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Running:
    """Start `python -m etl ...`, with nothing prepared."""
    folder = Path(tempfile.mkdtemp(prefix="drain-"))
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "etl", *argv],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=cwd or folder,
            env={**clean_environment(), **(environment or {})},
        )
    return Running(process, folder)


def clean_environment() -> dict[str, str]:
    """Return our environment without this program's settings, and with the checkout's path."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LASAIR_ETL_")}
    return kept | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"}


def loaded_by(program: str, *modules: str) -> list[str]:
    """Run a program in a fresh Python; give those of the modules that it has loaded."""
    asked = f"print([name for name in {modules!r} if name in __import__('sys').modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\n{asked}"],
        capture_output=True,
        text=True,
        check=True,
        env=clean_environment(),
    )
    found: list[str] = ast.literal_eval(done.stdout.splitlines()[-1])
    return found


def _main(
    argv: list[str],
    folder: str,
    faults: tuple[Fault | Clock, ...],
    tuning: dict[str, Any],
    uid: int | None,
) -> None:
    """Be `python -m etl` in a forked process."""
    for name, descriptor in (("out", 1), ("err", 2)):
        opened = os.open(Path(folder) / name, os.O_WRONLY | os.O_APPEND)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", closefd=False)
    os.chdir(folder)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    for key in [key for key in os.environ if key.startswith("LASAIR_ETL_")]:
        del os.environ[key]
    for target, value in tuning.items():
        module, _, name = target.partition(":")
        setattr(importlib.import_module(module), name, value)
    for fault in faults:
        fault.install()
    if uid is not None:
        for codec in ("utf-8-sig", "idna", "ascii"):
            codecs.lookup(codec)  # Python itself may be out of that user's reach
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    from etl.cli.main import main  # noqa: PLC0415

    sys.argv = ["lasair-etl", *argv]
    try:
        main()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def wait_until(is_so: Callable[[], bool], what: str, timeout_s: float = PATIENCE_S) -> None:
    """Wait for something that another process does."""
    until = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < until, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.01)


def holder_of(said: str) -> int:
    """Read the process id out of the sentence that another run is at work."""
    found = re.search(r"process (\d+)", said)
    assert found, said
    return int(found.group(1))


@dataclass(frozen=True, slots=True)
class Measured:
    """How a drain went: its closing object, and the most memory that it had."""

    code: int
    closing: dict[str, Any]
    said: str
    peak_mb: float
    cpu_s: float


def measured(folder: Path, argv: list[str]) -> Measured:
    """Run a drain in a process of its own, and measure it.

    What starts it is a small Python: Linux counts the starting process's memory as the new one's.
    """
    small = (
        "import json, os, subprocess, sys\n"
        "process = subprocess.Popen(sys.argv[1:])\n"
        "_, status, usage = os.wait4(process.pid, 0)\n"
        "code = os.waitstatus_to_exitcode(status)\n"
        "told = [code, usage.ru_maxrss, usage.ru_utime + usage.ru_stime]\n"
        "print(json.dumps(told), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", small, sys.executable, "-m", "etl", *argv],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env=clean_environment(),
    )
    *said, told = done.stderr.splitlines()
    code, peak, cpu_s = json.loads(told)
    peak_mb = peak / (1e6 if sys.platform == "darwin" else 1e3)
    return Measured(code, json.loads(done.stdout), "\n".join(said), peak_mb, cpu_s)
