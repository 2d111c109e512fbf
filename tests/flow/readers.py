"""Readers of the published file: processes that query it all the while, and what they saw."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import duckdb

from tests.flow.drains import FORKS, PATIENCE_S


@dataclass(slots=True)
class Seen:
    """What a reader saw: how often it looked, the last count of each topic, and what was wrong."""

    looks: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def look(connection: duckdb.DuckDBPyConnection, seen: Seen, prefix: str = "") -> None:
    """Query one snapshot: it has to be whole, and nothing may have become less."""

    def one(sql: str) -> list[tuple[Any, ...]]:
        return connection.execute(sql).fetchall()

    spans = dict(one(f"SELECT topic, sum(alerts)::BIGINT FROM {prefix}etl.spans GROUP BY topic"))
    files = dict(
        one(
            f"SELECT topic, sum(rows)::BIGINT FROM {prefix}etl.files "
            f"WHERE kind = 'alerts' AND retired_at IS NULL GROUP BY topic"
        )
    )
    offsets = one(
        f"SELECT topic, incarnation, partition, first, next FROM {prefix}etl.offsets "
        f'WHERE next - first <> coalesce((SELECT sum("end" - start) FROM {prefix}etl.spans AS s '
        f"WHERE (s.topic, s.incarnation, s.partition) = (offsets.topic, offsets.incarnation, "
        f'offsets.partition)), 0) + coalesce((SELECT sum("end" - start) FROM {prefix}etl.gaps AS g '
        f"WHERE (g.topic, g.incarnation, g.partition) = (offsets.topic, offsets.incarnation, "
        f"offsets.partition)), 0)"
    )
    topics = [topic for (topic,) in one(f"SELECT DISTINCT topic FROM {prefix}etl.topics")]
    counts = {
        topic: one(
            f"SELECT count(*), count(DISTINCT (etl_incarnation, kafka_partition, "
            f'kafka_offset)) FROM {prefix}"{topic}"'
        )[0]
        for topic in topics
    }
    total = one(f"SELECT count(*) FROM {prefix}alerts")[0][0]
    seen.looks += 1
    if offsets:
        seen.wrong.append(f"offsets without their spans: {offsets[:3]}")
    if total != sum(count for count, _ in counts.values()):
        seen.wrong.append(f"alerts has {total} rows, its topics {counts}")
    for topic, (count, distinct) in counts.items():
        if count != distinct:
            seen.wrong.append(f"{topic}: {count} rows, but {distinct} different ones")
        if not count == spans.get(topic, 0) == files.get(topic, 0):
            seen.wrong.append(
                f"{topic}: {count} rows, {spans.get(topic, 0)} by spans, "
                f"{files.get(topic, 0)} by files"
            )
        if count < seen.counts.get(topic, 0):
            seen.wrong.append(f"{topic}: {seen.counts[topic]} rows, then {count}")
        seen.counts[topic] = count


def _reopening(public: str, seen: Seen) -> None:
    with duckdb.connect(public, read_only=True) as connection:
        look(connection, seen)


def _attaching(public: str, seen: Seen) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{public}' AS lake (READ_ONLY)")
        look(connection, seen, "lake.")


WAYS = {"reopening": _reopening, "attaching": _attaching}


# Between two looks: readers shall see many moments, and leave the machine to the drain.
PAUSE_S = 0.3


def _read(public: str, way: str, pipe: Connection, pause_s: float) -> None:
    """Look again and again until told to stop, then tell what was seen."""
    seen = Seen()
    try:
        while not pipe.poll(pause_s):
            if not Path(public).exists() and not seen.looks:
                continue  # before the first drain there is nothing to read
            try:
                WAYS[way](public, seen)
            except duckdb.Error as error:
                seen.wrong.append(f"{type(error).__name__}: {error}")
    except EOFError:
        return  # the test is gone
    pipe.send(seen)


@contextmanager
def readers(
    lake: Path, ways: Iterable[str], read: Callable[[str, str, Connection], None]
) -> Iterator[list[Connection]]:
    """Run `read` in a process for each way, and give the pipes to them."""
    pipes: list[Connection] = []
    processes: list[Any] = []
    try:
        for way in ways:
            ours, theirs = FORKS.Pipe()
            process = FORKS.Process(
                target=read, args=(str(lake / "alerts.duckdb"), way, theirs), daemon=True
            )
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        yield pipes
    finally:
        for pipe, process in zip(pipes, processes, strict=True):
            pipe.close()
            process.kill()
            process.join()


@contextmanager
def reading(
    lake: Path, ways: Sequence[str] = ("reopening",), pause_s: float = PAUSE_S
) -> Iterator[list[Seen]]:
    """Let processes read the lake's published file during the block, and judge what they saw.

    The list is filled in at the end. What a reader finds wrong fails the test.
    """
    everything: list[Seen] = []
    with readers(lake, ways, partial(_read, pause_s=pause_s)) as pipes:
        yield everything
        if (lake / "alerts.duckdb").exists():
            time.sleep(2 * pause_s)  # one more look at the end
        for pipe in pipes:
            pipe.send("stop")
            assert pipe.poll(PATIENCE_S), "a reader hangs"
            everything.append(pipe.recv())
    wrong = [what for seen in everything for what in seen.wrong]
    assert not wrong, f"{len(wrong)} things wrong in {everything[0].looks} looks: {wrong[:3]}"


class Notebook:
    """A process that keeps a connection to DuckDB open and runs what it is told."""

    def __init__(self, database: str, *, read_only: bool, uid: int | None = None) -> None:
        self._pipe, theirs = FORKS.Pipe()
        self._process = FORKS.Process(
            target=_serve, args=(theirs, database, read_only, uid), daemon=True
        )
        self._process.start()
        theirs.close()
        self.opened = self._answer()

    def _answer(self) -> Any:
        assert self._pipe.poll(PATIENCE_S), "the notebook hangs"
        kind, answer = self._pipe.recv()
        if kind == "error":
            raise duckdb.Error(answer)
        return answer

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Run one statement and give its rows."""
        self._pipe.send(sql)
        rows: list[tuple[Any, ...]] = self._answer()
        return rows

    def close(self) -> None:
        """Close the connection as a user does who leaves."""
        self._pipe.send(None)
        self._process.join(PATIENCE_S)

    def kill(self) -> None:
        """End the process as a power cut does."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _serve(pipe: Connection, database: str, read_only: bool, uid: int | None) -> None:
    if uid is not None:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    try:
        connection = duckdb.connect(database, read_only=read_only)
    except duckdb.Error as error:
        pipe.send(("error", str(error)))
        return
    pipe.send(("opened", database))
    while (sql := pipe.recv()) is not None:
        try:
            pipe.send(("rows", connection.execute(sql).fetchall()))
        except duckdb.Error as error:
            pipe.send(("error", str(error)))
    connection.close()


@contextmanager
def notebook(
    lake: Path, *, read_only: bool = True, attached: bool = False, uid: int | None = None
) -> Iterator[Notebook]:
    """Keep the published file open in a process of its own, directly or attached as `lake`."""
    public = str(lake / "alerts.duckdb")
    held = Notebook(
        ":memory:" if attached else public, read_only=read_only and not attached, uid=uid
    )
    try:
        if attached:
            held.ask(f"ATTACH '{public}' AS lake (READ_ONLY)")
        yield held
    finally:
        held.kill()
