"""The standard streams, whatever state the program finds them in: closed, full, or a terminal."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from etl.text.terminal import Gate


class Unfailing(io.TextIOWrapper):
    """A stream for logs: what it can't take is dropped, for a run goes on without its logs."""

    def write(self, text: str, /) -> int:
        """Write what can be written."""
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Leave nothing behind; that is no error here."""
        with suppress(OSError):
            super().flush()


class _Logs(Gate, Unfailing):
    """Writes to stderr; people read it, on a terminal or from a file."""


def prepare() -> None:
    """Open what is closed, and put a gate before each terminal.

    A closed descriptor would become that of the next file that is opened: logs would go into a file
    of the lake. So /dev/null takes its place, for stdout in a way that still refuses to be written.
    """
    for descriptor, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, mode), True)
    if sys.stdin is None:
        sys.stdin = _opened(0, "r")
    if sys.stdout is None:
        sys.stdout = _opened(1, "w")
    if sys.stdout.isatty():
        encoding = sys.stdout.encoding
        sys.stdout = Gate(sys.stdout.buffer, encoding, "backslashreplace", line_buffering=True)
    sys.stderr = unfailing(_Logs)


def _opened(descriptor: int, mode: str) -> io.TextIOWrapper:
    stream = open(descriptor, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
    assert isinstance(stream, io.TextIOWrapper)
    return stream


def unfailing(kind: type[Unfailing] = Unfailing) -> Unfailing:
    """Return a stream to stderr that never fails, and keeps nothing back to fail with later."""
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    raw = io.FileIO(2, "w", closefd=False)
    return kind(raw, encoding, "backslashreplace", write_through=True)


@contextmanager
def courtesy() -> Iterator[None]:
    """Print what was done; where that can't be printed, it was done all the same."""
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        if error.filename is not None:
            raise
        drop_output()


def drop_output() -> None:
    """Send what is left of our output nowhere, the interpreter's last flush too."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
