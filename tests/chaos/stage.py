"""Where the campaign plays: one broker for all rounds, and a small disk for the lakes."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from etl.demo.embedded_broker import EmbeddedBroker
from tests.flow.brokers import Broker
from tests.kafka_server import KafkaServer

CLONE_NEWNS = 0x00020000
DISK_BYTES = 96_000_000


@contextmanager
def broker(kind: str, folder: Path) -> Iterator[tuple[Broker, KafkaServer | None]]:
    """Run a broker; Apache Kafka also gives the server, to kill it and to freeze it."""
    folder.mkdir()
    if kind == "embedded":
        with EmbeddedBroker(log_path=folder / "broker.log") as bootstrap_servers:
            yield Broker("embedded", bootstrap_servers), None
        return
    with KafkaServer(folder) as server:
        yield Broker("kafka", server.bootstrap_servers), server


class Disk:
    """A small file system, which a file can fill up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, left_bytes: int) -> None:
        """Leave so much room and no more."""
        with self._filler.open("wb") as filler:
            while (size := self._room() - left_bytes) > 0:
                with suppress(OSError):  # a drain was quicker: what it took is not there any more
                    os.posix_fallocate(filler.fileno(), os.fstat(filler.fileno()).st_size, size)

    def _room(self) -> int:
        status = os.statvfs(self.folder)
        return status.f_bavail * status.f_frsize

    def free(self) -> None:
        """Make room again."""
        self._filler.unlink(missing_ok=True)


@contextmanager
def disk(folder: Path) -> Iterator[Disk | None]:
    """Mount a tmpfs that no other process sees, None where that is not allowed.

    It is mounted in a mount namespace of our own and of the processes that we start, and goes with
    the last of them, however that ends. Call this before any process or thread is started.
    """
    folder.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        yield None
        return
    libc = ctypes.CDLL(None, use_errno=True)
    apart = libc.unshare(CLONE_NEWNS) == 0 and _mount("--make-rprivate", "/")
    if not apart or not _mount("-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)):
        yield None
        return
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def _mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0
