"""The faults: each plays one drain, or two, and what happens to it, and gives how it ended."""

import math
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import duckdb

from etl.errors import DATA_AT_RISK, TRY_LATER
from tests.chaos.ledger import Ledger, Stock
from tests.chaos.readers import Readers
from tests.chaos.stage import Disk
from tests.flow import drains
from tests.flow.drains import SMALL_STEPS, Finished, Running
from tests.kafka_server import KafkaServer

DONE, KILLED, LAKE_FULL = 0, -signal.SIGKILL, 74
CONNECT_S = 8


@dataclass(slots=True)
class Scene:
    """All that a fault can lay its hands on."""

    chance: Random
    ledger: Ledger
    stock: Stock
    lake: Path
    readers: Readers
    server: KafkaServer | None
    disk: Disk | None
    settings: Path
    usual_s: float = 1.0
    most: int = 150
    codes: list[int] = field(default_factory=list)
    sent: int = 0

    def start(self, tuning: Mapping[str, Any] | None = None, **options: Any) -> Running:
        """Start a drain, every other one of many small steps."""
        tuning = self.chance.choice([SMALL_STEPS, {}]) | dict(tuning or {})
        chosen: dict[str, Any] = {"connect_timeout": CONNECT_S, "config": self.settings} | options
        return drains.start(
            self.ledger.broker.bootstrap_servers,
            self.lake,
            *self.ledger.topics,
            tuning=tuning,
            **chosen,
        )

    def end(self, *running: Running) -> list[Finished]:
        """Wait for drains to end and note how they did."""
        ended = [each.wait() for each in running]
        self.codes += [each.code for each in ended]
        return ended

    def send(self, topics: Sequence[str] = ()) -> None:
        """Send what topics usually get, at times of nights that are over."""
        for topic in topics or self.ledger.topics:
            days_ago = self.chance.choice([0, 0, 2, 3])
            batch = self.stock.mixed(self.chance, self.most)
            self.sent += self.ledger.send(topic, batch, days_ago)

    def a_moment(self, longest: float = 1.1) -> None:
        """Let some part of the time go by that a drain usually takes."""
        time.sleep(self.chance.uniform(0, self.usual_s * longest))

    def meanwhile(self) -> None:
        """Now and then a topic gets something while the drain runs."""
        if self.chance.random() < 0.5:
            self.send([self.a_topic()])

    def a_topic(self) -> str:
        """Choose one of the topics."""
        return self.chance.choice(self.ledger.topics)


def nothing(scene: Scene) -> list[Finished]:
    """Messages arrive while the drain runs, and nothing else happens."""
    running = scene.start()
    scene.a_moment()
    scene.send([scene.a_topic()])
    return scene.end(running)


def drain_killed(scene: Scene) -> list[Finished]:
    """The drain is killed at some moment, now and then the next one too."""
    ended = []
    for _ in range(scene.chance.choice([1, 1, 2])):
        running = scene.start()
        scene.meanwhile()
        scene.a_moment()
        running.process.kill()
        ended += scene.end(running)
    return ended


def drain_compacts(scene: Scene) -> list[Finished]:
    """The drain finds something to compact wherever two files are; it may be killed over it."""
    eager = {
        "etl.jobs.compact:FEWEST": 2,
        "etl.jobs.compact:REGISTER_S": scene.chance.choice([0.0, 10.0]),
    }
    if scene.chance.random() < 0.5:
        eager |= {"etl.lake.sort:HELD_BYTES": 20_000, "etl.lake.sort:PIECE_BYTES": 2_000}
    running = scene.start(eager)
    scene.meanwhile()
    if scene.chance.random() < 0.7:
        scene.a_moment(1.6)
        running.process.kill()
    return scene.end(running)


def drain_asked_to_stop(scene: Scene) -> list[Finished]:
    """The drain is sent a SIGTERM."""
    running = scene.start()
    scene.meanwhile()
    scene.a_moment()
    with suppress(ProcessLookupError):
        running.send(signal.SIGTERM)
    return scene.end(running)


def broker_killed(scene: Scene) -> list[Finished]:
    """The broker is killed while a drain reads, and comes back after a while."""
    assert scene.server is not None
    running = scene.start(connect_timeout=scene.chance.choice([1, CONNECT_S]))
    scene.a_moment()
    scene.server.kill()
    time.sleep(scene.chance.uniform(0, 0.5))
    scene.server.start()
    return scene.end(running)


def broker_frozen(scene: Scene) -> list[Finished]:
    """The broker answers nothing for a while, shorter or longer than the drain waits for it."""
    assert scene.server is not None
    running = scene.start(connect_timeout=scene.chance.choice([1, 1, CONNECT_S]))
    scene.a_moment()
    scene.server.freeze()
    try:
        time.sleep(scene.chance.uniform(0.2, 2.5))
    finally:
        scene.server.thaw()
    return scene.end(running)


def two_drains(scene: Scene) -> list[Finished]:
    """Two drains run at once, now and then under two groups; one of them may be killed."""
    one = scene.start()
    time.sleep(scene.chance.choice([0.0, scene.chance.uniform(0, scene.usual_s)]))
    two = scene.start(group_id=scene.chance.choice(["flow-tests", "others"]))
    scene.meanwhile()
    if scene.chance.random() < 0.3:
        scene.a_moment()
        one.process.kill()
    return scene.end(one, two)


def topic_recreated(scene: Scene) -> list[Finished]:
    """A topic is deleted and made again between two drains, sometimes twice."""
    topic = scene.a_topic()
    for _ in range(scene.chance.choice([1, 1, 1, 2])):
        _recreate(scene, topic)
        if scene.chance.random() < 0.8:
            scene.send([topic])
    return scene.end(scene.start())


def topic_recreated_in_a_drain(scene: Scene) -> list[Finished]:
    """A topic is deleted and made again while a drain reads it."""
    topic = scene.a_topic()
    before = len(scene.ledger.current(topic).sent)
    running = scene.start(poll_timeout=scene.chance.choice([0, 1, 2]))
    scene.a_moment()
    _recreate(scene, topic)
    # A new incarnation may be empty, or shorter than the old one, or reach beyond the old offsets.
    enough = scene.chance.choice([0, 1, before + 1])
    while len(scene.ledger.current(topic).sent) < enough:
        scene.send([topic])
    return scene.end(running)


def _recreate(scene: Scene, topic: str) -> None:
    before = scene.ledger.current(topic).partitions
    scene.ledger.create(topic, scene.chance.choice([before, before, 1, before + 1]))


def bad_messages(scene: Scene) -> list[Finished]:
    """Every bad message that we know of arrives among good ones."""
    topic = scene.a_topic()
    scene.sent += scene.ledger.send(topic, scene.stock.bad(scene.chance))
    return scene.end(scene.start())


def stale_log(scene: Scene) -> list[Finished]:
    """Somebody wrote to the published file, and left a log that belongs to no later one."""
    public = scene.lake / "alerts.duckdb"
    if not public.exists():
        return nothing(scene)
    with scene.readers.resting(), tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        copy = Path(folder) / public.name
        shutil.copyfile(public, copy)
        with duckdb.connect(str(copy)) as writer:
            writer.execute("CREATE TABLE mine AS SELECT 1 AS one")
            log = copy.with_name(f"{copy.name}.wal")
            shutil.copyfile(log, public.with_name(log.name))
        return scene.end(scene.start())


def disk_full(scene: Scene) -> list[Finished]:
    """The disk is full when the drain starts, or gets full while it runs."""
    assert scene.disk is not None
    left_bytes = int(math.exp(scene.chance.uniform(math.log(1_000), math.log(6_000_000))))
    running = scene.start() if scene.chance.random() < 0.5 else None
    try:
        if running:
            scene.meanwhile()
            scene.a_moment()
        scene.disk.fill(left_bytes)
        return scene.end(running or scene.start())
    finally:
        scene.disk.free()


def retention(scene: Scene) -> list[Finished]:
    """The broker drops some messages, read or not, before the drain comes."""
    incarnation = scene.ledger.current(scene.a_topic())
    partition = scene.chance.randrange(incarnation.partitions)
    offsets = [offset for p, offset in incarnation.sent if p == partition]
    if not offsets:
        return nothing(scene)
    below = scene.chance.randint(max(0, max(offsets) - 40), max(offsets) + 1)
    scene.ledger.drop_records(incarnation.topic, partition, below)
    return scene.end(scene.start())


@dataclass(frozen=True, slots=True)
class Kind:
    """A fault, how often it comes, how its drains may end, and what it takes."""

    play: Callable[[Scene], list[Finished]]
    weight: int = 2
    codes: frozenset[int] = frozenset({DONE, TRY_LATER})
    needs: frozenset[str] = frozenset()


_KAFKA, _DISK = frozenset({"kafka"}), frozenset({"disk"})

FAULTS: Mapping[str, Kind] = {
    "nothing": Kind(nothing, 1, frozenset({DONE})),
    "drain killed": Kind(drain_killed, 4, frozenset({DONE, KILLED})),
    "drain compacts": Kind(drain_compacts, 4, frozenset({DONE, KILLED})),
    "drain asked to stop": Kind(
        drain_asked_to_stop, 2, frozenset({DONE, TRY_LATER, -signal.SIGTERM})
    ),
    "broker killed": Kind(broker_killed, 1, needs=_KAFKA),
    "broker frozen": Kind(broker_frozen, needs=_KAFKA),
    "two drains": Kind(two_drains, codes=frozenset({DONE, TRY_LATER, KILLED})),
    "topic recreated": Kind(topic_recreated),
    "topic recreated in a drain": Kind(
        topic_recreated_in_a_drain, 4, frozenset({DONE, TRY_LATER, DATA_AT_RISK}), _KAFKA
    ),
    "bad messages": Kind(bad_messages, 1, frozenset({DONE})),
    "stale log": Kind(stale_log, 1, frozenset({DONE})),
    "disk full": Kind(disk_full, codes=frozenset({DONE, LAKE_FULL}), needs=_DISK),
    "retention": Kind(retention, 1, frozenset({DONE, DATA_AT_RISK}), _KAFKA),
}
