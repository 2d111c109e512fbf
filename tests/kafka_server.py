"""Apache Kafka itself for the tests: one KRaft node, a Java process on the loopback interface.

`make kafka` fetches it. Run as a program (`python -m tests.kafka_server`, which `make kafka` does
once), this keeps the classes that a start needs in an archive that Java maps into memory: without
it a start takes twice as long, and nothing else changes.
"""

import logging
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

HOME = Path(__file__).parents[1] / ".kafka"
LIB = HOME / "lib"
CLASSES = HOME / "classes.jsa"
JAVA_AT_LEAST = 17

CLUSTER_ID = "lasair-etl-tests-kafka"
"""Any 22 letters of URL-safe base64, of which the first is no hyphen."""

START_S = 240.0
"""A start takes 1 to 4 s; this is for a machine with much else to do."""
STOP_S = 20.0
LOG_LINES = 40

ADMIN, READER = "admin", "reader"
PASSWORDS: Mapping[str, str] = {ADMIN: "admin-secret", READER: "reader-secret"}
STORE_PASSWORD = "not-a-secret"
PUBLIC_PREFIX = "lasair_"
"""On a secure server, what begins with this is all that anybody but the admin may read."""

JVM = (
    "-Xms64m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Xshare:auto",
)

NODE: Mapping[str, object] = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "auto.create.topics.enable": "false",
    # Lasair's brokers take alerts of up to 10 MB.
    "message.max.bytes": 10_000_000,
    "replica.fetch.max.bytes": 10_000_000,
    # One node, quick to start.
    "offsets.topic.num.partitions": 1,
    "offsets.topic.replication.factor": 1,
    "transaction.state.log.num.partitions": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "share.coordinator.state.topic.num.partitions": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "num.network.threads": 2,
    "num.io.threads": 4,
    "group.initial.rebalance.delay.ms": 0,
    # The controller takes a killed broker for alive until its session ends, and does not let it in
    # again before.
    "broker.heartbeat.interval.ms": 250,
    "broker.session.timeout.ms": 3_000,
    # What takes minutes or hours elsewhere happens while a test waits. A topic keeps everything
    # unless it says otherwise: simulated alerts bear old timestamps, and retention goes by those.
    "log.retention.ms": -1,
    "log.retention.check.interval.ms": 500,
    "log.initial.task.delay.ms": 200,
    "log.segment.delete.delay.ms": 500,
    "log.message.timestamp.after.max.ms": 2**63 - 1,
    "log.cleaner.backoff.ms": 250,
    "log.cleaner.dedupe.buffer.size": 4_000_000,
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 500,
}

LOG_TO_STDOUT = """\
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601}{UTC}Z %p %c{1}: %m%n
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
"""

LEASH = """\
import ctypes, os, signal, sys

if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the test run is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Becomes Java, and dies with the thread that started it (on Linux): no test run, however it was
killed, leaves a server behind. `preexec_fn` would do this too, but forks beside librdkafka's
threads, of which Python 3.12 and later warn."""


class ServerFailed(RuntimeError):
    """Kafka did not start; the message ends with the last lines of its log."""


def missing() -> str | None:
    """Return what keeps Apache Kafka from being started here, None where nothing does."""
    if not any(LIB.glob("kafka_*.jar")):
        return f"no Apache Kafka in {LIB}: make kafka"
    if not Path(java()).exists():
        return f"no Java here; Apache Kafka needs Java {JAVA_AT_LEAST} or newer"
    told = subprocess.run([java(), "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < JAVA_AT_LEAST:
        return f"Apache Kafka needs Java {JAVA_AT_LEAST} or newer, {java()} is {told.strip()!r}"
    return None


def java() -> str:
    """Find Java where JAVA_HOME or else the PATH has it."""
    home = os.environ.get("JAVA_HOME")
    return f"{home}/bin/java" if home else shutil.which("java") or "/usr/bin/java"


class KafkaServer:
    """One Apache Kafka, from its start until the end of the `with`; its data go with it.

    Parameters
    ----------
    folder
        Where its data, settings and log are kept; left out, a temporary folder.
    secure
        With users and rights as at Lasair. `bootstrap_servers` is then for the nameless, who may
        read what begins with `lasair_`, in any group, and nothing else; `secure_servers` takes
        SASL_SSL with SCRAM-SHA-512, where `reader` has the same rights and `admin` every right.
    settings
        Kafka's own settings, over those in `NODE`.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        secure: bool = False,
        settings: Mapping[str, object] | None = None,
        java_options: tuple[str, ...] = (),
        cluster_id: str = CLUSTER_ID,
    ) -> None:
        self.secure = secure
        self.folder = folder
        self.frozen = False
        self.cluster_id = cluster_id
        self._settings = dict(settings or {})
        self._java_options = java_options
        self._own_folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: tuple[int, int, int] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        if self._own_folder is not None:
            self._own_folder.cleanup()

    # ------------------------------------------------------------------------------ for clients
    @property
    def bootstrap_servers(self) -> str:
        """Where clients without a name connect."""
        return f"127.0.0.1:{self._port(0)}"

    @property
    def secure_servers(self) -> str:
        """Where clients with a name and a password connect, on a secure server."""
        if not self.secure:
            raise ValueError("this server has no users: KafkaServer(secure=True)")
        return f"127.0.0.1:{self._port(2)}"

    def settings_of(self, user: str, password: str | None = None) -> dict[str, Any]:
        """Return librdkafka's settings for a user of a secure server."""
        return {
            "bootstrap.servers": self.secure_servers,
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": PASSWORDS[user] if password is None else password,
            "ssl.ca.location": str(self._folder() / "ca.pem"),
        }

    @property
    def admin_settings(self) -> dict[str, Any]:
        """Return librdkafka's settings for who may do everything."""
        if self.secure:
            return self.settings_of(ADMIN)
        return {"bootstrap.servers": self.bootstrap_servers}

    # -------------------------------------------------------------------------- life and death
    def start(self) -> None:
        """Start it and wait until it answers, the first time with new storage."""
        fresh = self._ports is None
        for tries_left in (2, 1, 0):
            if fresh:
                self._ports = free_ports()
                self._format()
            self._launch()
            try:
                self._wait_until_ready()
                break
            except ServerFailed as error:
                self.kill()
                taken = "BindException" in str(error) or "Address already in use" in str(error)
                if not (fresh and taken and tries_left):
                    raise
        if fresh and self.secure:
            self._grant()

    def stop(self) -> None:
        """Stop it as an operator would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it, frozen or not, without a chance to tidy up."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it if it runs, and start it with the same data on the same ports."""
        self.stop()
        self.start()

    def rebuild(self, cluster_id: str) -> None:
        """Make it another cluster on the same ports, from nothing, as operators might."""
        self.stop()
        self.cluster_id = cluster_id
        self._format()
        self.start()

    def freeze(self) -> None:
        """Let it hold its breath: connections stay open, nothing is answered."""
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        if hasattr(os, "waitid"):  # not on macOS before Python 3.13
            # A thread on another core may answer once more before the signal reaches it.
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        self.frozen = True

    def thaw(self) -> None:
        """Let it go on where it was frozen."""
        self._running().send_signal(signal.SIGCONT)
        self.frozen = False

    def log(self, lines: int | None = None) -> str:
        """Return what it has logged so far, or the last lines of that."""
        path = self._folder() / "server.log"
        text = path.read_text(errors="replace").splitlines() if path.exists() else []
        return "\n".join(text if lines is None else text[-lines:])

    # ---------------------------------------------------------------------------------- inside
    def _folder(self) -> Path:
        if self.folder is None:
            self._own_folder = tempfile.TemporaryDirectory(prefix="lasair-etl-kafka-")
            self.folder = Path(self._own_folder.name)
        return self.folder

    def _port(self, which: int) -> int:
        if self._ports is None:
            raise ValueError("this server has not been started")
        return self._ports[which]

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ValueError("this server is not running")
        return self._process

    def _command(self, *arguments: str) -> list[str]:
        classes = (f"-XX:SharedArchiveFile={CLASSES}",) if CLASSES.exists() else ()
        folder = self._folder()
        return [
            java(),
            *JVM,
            *(self._java_options or classes),
            f"-Dlog4j2.configurationFile={folder}/log4j2.properties",
            f"-Djava.io.tmpdir={folder}",
            "-cp",
            f"{LIB}/*",
            *arguments,
        ]

    def _format(self) -> None:
        """Write the settings, make the certificate, and prepare empty storage with the users."""
        folder = self._folder()
        shutil.rmtree(folder / "data", ignore_errors=True)
        (folder / "log4j2.properties").write_text(LOG_TO_STDOUT)
        if self.secure and not (folder / "ca.pem").exists():
            self._make_certificate()
        settings = {**NODE, **self._network(), "log.dirs": folder / "data", **self._settings}
        (folder / "server.properties").write_text(
            "".join(f"{key}={value}\n" for key, value in settings.items())
        )
        users = PASSWORDS.items() if self.secure else ()
        scram = [f"SCRAM-SHA-512=[name={user},password={password}]" for user, password in users]
        self._run_tool(
            *self._command("kafka.tools.StorageTool", "format"),
            *("--cluster-id", self.cluster_id),
            *("--config", str(folder / "server.properties")),
            *(argument for user in scram for argument in ("--add-scram", user)),
        )

    def _network(self) -> dict[str, object]:
        plain, controller, secure = (f"127.0.0.1:{self._port(which)}" for which in range(3))
        if not self.secure:
            return {
                "listeners": f"PLAIN://{plain},CONTROLLER://{controller}",
                "listener.security.protocol.map": "PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT",
                "inter.broker.listener.name": "PLAIN",
                "controller.listener.names": "CONTROLLER",
                "controller.quorum.voters": f"1@{controller}",
            }
        module = "org.apache.kafka.common.security"
        admin = f'username="{ADMIN}" password="{PASSWORDS[ADMIN]}"'
        return {
            "listeners": f"PLAIN://{plain},CONTROLLER://{controller},SECURE://{secure}",
            "listener.security.protocol.map": (
                "PLAIN:PLAINTEXT,CONTROLLER:SASL_PLAINTEXT,SECURE:SASL_SSL"
            ),
            "inter.broker.listener.name": "SECURE",
            "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
            "listener.name.secure.sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.secure.scram-sha-512.sasl.jaas.config": (
                f"{module}.scram.ScramLoginModule required {admin};"
            ),
            "ssl.keystore.type": "PKCS12",
            "ssl.keystore.location": self._folder() / "server.p12",
            "ssl.keystore.password": STORE_PASSWORD,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self._folder() / "ca.pem",
            # The node's broker and controller talk as the admin: the nameless may not.
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": f"1@{controller}",
            "sasl.mechanism.controller.protocol": "PLAIN",
            "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.controller.plain.sasl.jaas.config": (
                f"{module}.plain.PlainLoginModule required {admin} "
                f'user_{ADMIN}="{PASSWORDS[ADMIN]}";'
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "false",
            "super.users": f"User:{ADMIN}",
        }

    def _make_certificate(self) -> None:
        folder = self._folder()
        keytool = str(Path(java()).with_name("keytool"))
        keytool = keytool if Path(keytool).exists() else "keytool"
        store = ("-keystore", str(folder / "server.p12"), "-storepass", STORE_PASSWORD)
        self._run_tool(
            *(keytool, "-genkeypair", "-alias", "server", "-keyalg", "EC", "-validity", "2"),
            *("-dname", "CN=127.0.0.1", "-ext", "san=ip:127.0.0.1", "-ext", "bc:critical=ca:true"),
            *("-storetype", "PKCS12", *store),
        )
        exported = ("-exportcert", "-rfc", "-alias", "server", "-file", str(folder / "ca.pem"))
        self._run_tool(keytool, *exported, *store)

    def _run_tool(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServerFailed(f"{command} said: {done.stdout}{done.stderr}")

    def _launch(self) -> None:
        command = self._command("kafka.Kafka", str(self._folder() / "server.properties"))
        leash = [sys.executable, "-I", "-S", "-c", LEASH, str(os.getpid())]
        with (self._folder() / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                leash + command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A Ctrl-C in the terminal is for the test run, which then ends its server.
                start_new_session=True,
            )
        self.frozen = False

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + START_S
        self._wait_for_port(until)
        # A refused connection is tried again at once, and nobody needs to hear of it.
        impatient = {"reconnect.backoff.max.ms": 100, "logger": _mute()}
        while time.monotonic() < until:
            self._check_alive()
            if _serves(self.admin_settings | impatient):
                return
            time.sleep(0.05)
        raise ServerFailed(f"Kafka did not answer within {START_S:g} s:\n{self.log(LOG_LINES)}")

    def _wait_for_port(self, until: float) -> None:
        while time.monotonic() < until:
            self._check_alive()
            try:
                socket.create_connection(("127.0.0.1", self._port(0)), 0.5).close()
                return
            except OSError:
                time.sleep(0.02)

    def _check_alive(self) -> None:
        status = self._running().poll()
        if status is not None:
            raise ServerFailed(f"Kafka ended with status {status}:\n{self.log(LOG_LINES)}")

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.frozen = False

    def _grant(self) -> None:
        """Give everybody but the admin the rights of Lasair's public users."""
        allowed = [
            (ResourceType.TOPIC, PUBLIC_PREFIX, ResourcePatternType.PREFIXED, AclOperation.READ),
            (
                ResourceType.TOPIC,
                PUBLIC_PREFIX,
                ResourcePatternType.PREFIXED,
                AclOperation.DESCRIBE,
            ),
            (ResourceType.GROUP, "*", ResourcePatternType.LITERAL, AclOperation.READ),
        ]
        bindings = [
            AclBinding(kind, name, pattern, user, "*", operation, AclPermissionType.ALLOW)
            for user in ("User:ANONYMOUS", f"User:{READER}")
            for kind, name, pattern, operation in allowed
        ]
        some: Any = None
        every = AclBindingFilter(
            ResourceType.ANY,
            some,
            ResourcePatternType.ANY,
            some,
            some,
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        admin = AdminClient(self.admin_settings)
        for future in admin.create_acls(bindings).values():
            future.result(timeout=START_S)
        until = time.monotonic() + START_S
        while len(admin.describe_acls(every).result(timeout=START_S)) < len(bindings):
            if time.monotonic() > until:
                raise ServerFailed(f"the rights did not take effect:\n{self.log(LOG_LINES)}")
            time.sleep(0.02)


def free_ports() -> tuple[int, int, int]:
    """Find three ports that nobody uses now, and that no outgoing connection will take later.

    The system hands out ports from 32768 on: one of those could be gone when a server that was
    killed wants it back.
    """
    found: list[int] = []
    while len(found) < 3:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found[0], found[1], found[2]


def _serves(settings: Mapping[str, Any]) -> bool:
    """Return whether all partitions have a leader at work, and groups a coordinator.

    A server that has just started names itself the leader before it is, and makes the topic that
    keeps group offsets when somebody first asks for one.
    """
    consumer = Consumer({**settings, "group.id": "tests.kafka_server"})
    try:
        metadata = consumer.list_topics(timeout=2)
        if not metadata.brokers:
            return False
        # Not through an AdminClient, which an answer of "not the coordinator" crashes (2.16.1).
        asked = consumer.committed([TopicPartition("none", 0)], timeout=2)
        for name, topic in metadata.topics.items():
            for partition in topic.partitions:
                consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=2)
    except KafkaException:
        return False
    finally:
        consumer.close()
    return bool(asked)


def _mute() -> logging.Logger:
    logger = logging.getLogger("tests.kafka_server.readiness")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    return logger


def _archive_classes() -> None:
    """Start it once and keep the classes that it loaded, for all starts to come."""
    CLASSES.unlink(missing_ok=True)
    made = CLASSES.with_suffix(".new")
    with KafkaServer(java_options=(f"-XX:ArchiveClassesAtExit={made}",)) as server:
        server.stop()
    made.replace(CLASSES)


if __name__ == "__main__":
    reason = missing()
    if reason is not None:
        sys.exit(reason)
    _archive_classes()
