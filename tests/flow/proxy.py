"""A TCP proxy before the broker that answers late, not at all, or without what old brokers lack."""

import socket
import struct
import threading
import time
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

# Kafka's numbers of the requests that tests here care about.
FETCH, LIST_OFFSETS, METADATA, OFFSET_COMMIT, FIND_COORDINATOR = 1, 2, 3, 8, 10

# Called before an answer is passed on, with the number of its request; it may take its time.
Hold = Callable[["Proxy", int], None]

# Called with an answer about metadata; returns what the client gets instead.
Edit = Callable[[bytes], bytes]


@dataclass(slots=True)
class Proxy:
    """Passes Kafka's frames on; the broker's own address in answers becomes the proxy's."""

    upstream: tuple[str, int]
    hold: Hold
    listener: socket.socket
    answered: Counter[int] = field(default_factory=Counter)
    closing: threading.Event = field(default_factory=threading.Event)
    edit: Edit = bytes

    @property
    def port(self) -> int:
        """Return the port that clients connect to."""
        port: int = self.listener.getsockname()[1]
        return port

    @property
    def bootstrap_servers(self) -> str:
        """Return the address that clients connect to."""
        return f"127.0.0.1:{self.port}"

    def accept(self) -> None:
        """Serve connections until closed."""
        while not self.closing.is_set():
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.upstream)
            asked: dict[int, int] = {}
            for work in (self._requests, self._answers):
                threading.Thread(target=work, args=(client, server, asked), daemon=True).start()

    def _requests(
        self, client: socket.socket, server: socket.socket, asked: dict[int, int]
    ) -> None:
        for frame in _frames(client):
            api_key, _, correlation = struct.unpack_from(">hhi", frame)
            asked[correlation] = api_key
            server.sendall(struct.pack(">i", len(frame)) + frame)
        _close(client, server)

    def _answers(self, client: socket.socket, server: socket.socket, asked: dict[int, int]) -> None:
        ours = b"127.0.0.1" + struct.pack(">i", self.port)
        theirs = b"127.0.0.1" + struct.pack(">i", self.upstream[1])
        for frame in _frames(server):
            api_key = asked.pop(struct.unpack_from(">i", frame)[0], -1)
            self.hold(self, api_key)
            if self.closing.is_set():
                break
            answer = frame if api_key == FETCH else frame.replace(theirs, ours)
            answer = self.edit(answer) if api_key == METADATA else answer
            try:
                client.sendall(struct.pack(">i", len(answer)) + answer)
            except OSError:
                break
            self.answered[api_key] += 1
        _close(client, server)


def _frames(source: socket.socket) -> Iterator[bytes]:
    while (head := _exactly(source, 4)) and (frame := _exactly(source, *struct.unpack(">i", head))):
        yield frame


def _exactly(source: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        try:
            part = source.recv(min(1 << 20, size - len(parts)))
        except OSError:
            return b""
        if not part:
            return b""
        parts += part
    return bytes(parts)


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        with suppress(OSError):  # the other side was quicker
            each.shutdown(socket.SHUT_RDWR)
        each.close()


@contextmanager
def proxied(
    bootstrap_servers: str, hold: Hold = lambda _proxy, _key: None, edit: Edit = bytes
) -> Iterator[Proxy]:
    """Run a proxy before a broker that is on 127.0.0.1 and says so."""
    host, port = bootstrap_servers.rsplit(":", 1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = Proxy((host, int(port)), hold, listener, edit=edit)
        threading.Thread(target=proxy.accept, daemon=True).start()
        try:
            yield proxy
        finally:
            proxy.closing.set()
            listener.shutdown(socket.SHUT_RDWR)


def without_cluster_id(cluster_id: str) -> Edit:
    """Let the broker answer without the id of its cluster, in both of the protocol's forms."""
    name = cluster_id.encode()
    short, long = bytes([len(name) + 1]) + name, struct.pack(">h", len(name)) + name
    return lambda frame: frame.replace(long, b"\xff\xff").replace(short, b"\0")


def without_topic_ids(*topic_ids: str) -> Edit:
    """Let the broker answer without the ids of these topics: they become zero."""
    given = [urlsafe_b64decode(f"{each}==") for each in topic_ids]

    def edit(frame: bytes) -> bytes:
        for each in given:
            frame = frame.replace(each, bytes(16))
        return frame

    return edit


def once(api_key: int, seconds: float) -> Hold:
    """Hold back the first answer to one kind of request, and only that."""
    held = threading.Lock()

    def hold(proxy: Proxy, key: int) -> None:
        if key == api_key and held.acquire(blocking=False):
            proxy.closing.wait(seconds)

    return hold


def never_after(api_key: int, answers: int, *, others_too: bool) -> Hold:
    """Fall silent after so many answers of one kind: for that kind only, or for all."""

    def hold(proxy: Proxy, key: int) -> None:
        if (others_too or key == api_key) and proxy.answered[api_key] >= answers:
            proxy.closing.wait()

    return hold


@contextmanager
def black_hole() -> Iterator[str]:
    """Listen, accept, read, and never say a word; give the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    kept.append(listener.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            time.sleep(0.05)
            _close(*kept)
