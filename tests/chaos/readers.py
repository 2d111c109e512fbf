"""Readers of the published file that work all through a lake's life and report after each round.

One opens the file anew each time, as a script does; one holds its connection and detaches and
attaches, as a notebook does.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import duckdb

from tests.flow.readers import Seen, look, readers

PAUSE_S = 0.2
ANSWER_S = 60.0


def _reopening(public: str) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    while True:
        with duckdb.connect(public, read_only=True) as connection:
            yield connection, ""


def _attaching(public: str) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    with duckdb.connect() as connection:
        while True:
            connection.execute(f"ATTACH '{public}' AS lake (READ_ONLY)")
            yield connection, "lake."
            connection.execute("DETACH lake")


WAYS: dict[str, Callable[[str], Iterator[tuple[duckdb.DuckDBPyConnection, str]]]] = {
    "reopening": _reopening,
    "attaching": _attaching,
}


def _read(public: str, way: str, pipe: Connection) -> None:
    """Look again and again; `report` asks what was seen since, `rest` for silence until `go`."""
    seen = Seen()
    opened = None
    resting = False
    try:
        while True:
            while pipe.poll(ANSWER_S if resting else PAUSE_S):
                told = pipe.recv()
                resting = told == "rest" or (resting and told != "go")
                if resting:
                    opened = None
                pipe.send((seen.looks, seen.wrong))
                seen.looks, seen.wrong = 0, []
            if resting or not (opened or Path(public).exists()):
                continue
            try:
                opened = opened or WAYS[way](public)
                look(*_connection(opened, seen))
            except duckdb.Error as error:
                opened = None
                seen.wrong.append(f"{way}: {type(error).__name__}: {error}")
    except (EOFError, OSError):
        return  # the campaign is gone


def _connection(
    opened: Iterator[tuple[duckdb.DuckDBPyConnection, str]], seen: Seen
) -> tuple[duckdb.DuckDBPyConnection, Seen, str]:
    connection, prefix = next(opened)
    return connection, seen, prefix


@dataclass(slots=True)
class Readers:
    """The reading processes of one lake."""

    pipes: Sequence[Connection]
    looks: int = 0
    wrong: list[str] = field(default_factory=list)

    def _tell(self, what: str) -> None:
        for pipe in self.pipes:
            pipe.send(what)
        for pipe in self.pipes:
            if not pipe.poll(ANSWER_S):
                self.wrong.append("a reader hangs")
                continue
            looks, wrong = pipe.recv()
            self.looks += looks
            self.wrong += wrong

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Keep them from looking, for what would break readers without any fault of a drain."""
        self._tell("rest")
        try:
            yield
        finally:
            self._tell("go")

    def report(self) -> list[str]:
        """Collect what they found wrong since they were last asked."""
        self._tell("report")
        wrong, self.wrong = self.wrong, []
        return wrong


@contextmanager
def reading(lake: Path) -> Iterator[Readers]:
    """Let one process for each way of reading look at the published file."""
    with readers(lake, WAYS, _read) as pipes:
        yield Readers(pipes)
