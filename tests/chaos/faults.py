"""What happens to drains: each plays one, or a few, and returns how those ended that met it.

Where an operator has to do something about it, a second function does what he would.
"""

import math
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import duckdb

from etl.errors import WRONG_SETTINGS
from tests.chaos.scene import CONNECT_S, Scene
from tests.flow.advice import follow
from tests.flow.drains import Clock, Finished, wait_until

FIRST_KILLS = 4

# By how much a clock may be off; most compactions depend on days, and retired files on seconds.
JUMPS = [timedelta(), *(timedelta(days=days) for days in (-3650, -3, -0.0003, 0.0003, 3, 3650))]

LOW_BOUNDS = {
    "etl.kafka.reader:BATCH_BYTES": 500_000,
    "etl.kafka.reader:POLL_BYTES": 100_000,
    "etl.decode.json_alerts:PIECE_BYTES": 50_000,
    "etl.decode.json_alerts:LARGE_BYTES": 10_000,
}


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
    running = scene.start(_eager(scene))
    scene.meanwhile()
    if scene.chance.random() < 0.7:
        scene.a_moment(1.6)
        running.process.kill()
    return scene.end(running)


def _eager(scene: Scene) -> dict[str, float]:
    """Make a drain compact whatever it may."""
    eager = {
        "etl.jobs.compact:FEWEST": 2,
        "etl.jobs.compact:REGISTER_S": scene.chance.choice([0.0, 10.0]),
    }
    if scene.chance.random() < 0.5:
        eager |= {"etl.lake.sort:HELD_BYTES": 20_000, "etl.lake.sort:PIECE_BYTES": 2_000}
    return eager


def first_drains_killed(scene: Scene) -> list[Finished]:
    """The drains that are to make the lake are killed, until one has published it."""
    ended: list[Finished] = []
    while len(ended) < FIRST_KILLS and not scene.public.exists():
        running = scene.start()
        wait_until(scene.lake.exists, "a drain begins the lake")
        scene.a_moment(scene.chance.choice([0.1, 0.7]))
        running.process.kill()
        ended += scene.end(running)
    return ended


def clock_jumps(scene: Scene) -> list[Finished]:
    """The drain's clock is off, jumps while it runs, and is right again for the next one."""
    first, then = scene.chance.choices(JUMPS, k=2)
    clock = Clock(first, then, reading=scene.chance.randint(2, 12))
    running = scene.start(scene.chance.choice([{}, _eager(scene)]), faults=[clock])
    scene.meanwhile()
    if scene.chance.random() < 0.2:
        scene.a_moment()
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
    scene.send_batch(scene.a_topic(), scene.stock.bad(scene.chance))
    return scene.end(scene.start())


def large_messages(scene: Scene) -> list[Finished]:
    """Messages as large as the broker takes arrive, and now and then all bounds are low."""
    scene.send_batch(scene.a_topic(), scene.stock.large(scene.chance))
    return scene.end(scene.start(scene.chance.choice([{}, LOW_BOUNDS])))


def many_keyed_messages(scene: Scene) -> list[Finished]:
    """Objects keyed by ids arrive: so few that each key gets a column, or many, or both."""
    topic, ended = scene.a_topic(), []
    for _ in range(scene.chance.choice([1, 1, 2])):
        scene.send_batch(topic, scene.stock.keyed(scene.chance))
        ended += scene.end(scene.start())
    return ended


def stale_log(scene: Scene) -> list[Finished]:
    """Somebody wrote to the published file, and left a log that belongs to no later one."""
    public = scene.public
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


def backup_restored(scene: Scene) -> list[Finished]:
    """The catalog is put back as it was before the last drains, beside a log of a later one."""
    scene.meet()
    catalog, backup = scene.lake / "catalog.duckdb", scene.lake.with_suffix(".backup")
    shutil.copyfile(catalog, backup)
    scene.settle()
    if scene.chance.random() < 0.5:
        scene.send()
        running = scene.start()
        scene.a_moment()
        running.process.kill()
        running.wait()
    backup.replace(catalog)
    return scene.end(scene.start())


def follow_advice(_scene: Scene, refused: Sequence[Finished]) -> list[Finished]:
    """Type the command that the refusal names."""
    for ended in refused:
        if ended.code == WRONG_SETTINGS:
            follow(ended.err)
    return []


def disk_full(scene: Scene) -> list[Finished]:
    """The disk is full when the drain starts, or gets full while it runs."""
    assert scene.disk is not None
    left_bytes = int(math.exp(scene.chance.uniform(math.log(1_000), math.log(6_000_000))))
    running = scene.start() if scene.chance.random() < 0.5 else None
    if running:
        scene.meanwhile()
        scene.a_moment()
    scene.disk.fill(left_bytes)
    return scene.end(running or scene.start())


def make_room(scene: Scene, _ended: Sequence[Finished]) -> list[Finished]:
    """Remove what filled the disk."""
    assert scene.disk is not None
    scene.disk.free()
    return []


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
