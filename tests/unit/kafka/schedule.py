"""Schedules: what is set up, what happens when, and how a drain's reader is run through it."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from etl.errors import AccessDenied, BrokerUnreachable
from etl.kafka.progress import Clock
from etl.kafka.reader import Limits, Reader
from etl.records import Batch, Position
from tests.unit.kafka.world import Event, SimulatedClient, World

# How often each kind of event is drawn.
KINDS = {
    "append": 30,
    "mark": 10,
    "repeat": 5,
    "compact": 8,
    "retain": 14,
    "recreate": 22,
    "delete": 5,
    "widen": 2,
    "fall_silent": 8,
    "forget": 5,
    "refuse": 7,
    "deny": 1,
    "stop": 2,
}
MAX_POLLS = 3000


@dataclass(frozen=True, slots=True)
class Setup:
    """What a schedule starts from; `starts` are how far each partition is read already.

    A start of -1 means ten offsets beyond the end, for `reason` the group or the catalog.
    """

    partitions: tuple[int, ...]
    contents: tuple[str, ...]
    starts: tuple[int, ...]
    reason: str
    has_ids: bool
    names_new_id: bool
    latency_s: float
    fetch_size: int
    work_s: float
    limits: Limits


@dataclass(frozen=True, slots=True)
class Schedule:
    """One simulated drain."""

    setup: Setup
    events: tuple[Event, ...]


@dataclass(slots=True)
class Played:
    """How a schedule ended; `error` is the expected exception that ended it."""

    world: World
    client: SimulatedClient
    reader: Reader
    positions: list[Position]
    batches: list[Batch]
    error: Exception | None


def drawn(seed: int) -> Schedule:
    """Return the schedule of a seed."""
    rng = random.Random(seed)
    partitions = tuple(rng.randint(1, 3) for _ in range(rng.randint(1, 2)))
    total = sum(partitions)
    setup = Setup(
        partitions=partitions,
        # a: record, m: marker, c: a record that is compacted away, d: one that is dropped
        contents=tuple(
            "d" * rng.choice([0, 0, 3]) + "".join(rng.choices("aaaaaamc", k=rng.randint(0, 25)))
            for _ in range(total)
        ),
        starts=tuple(
            rng.choice([0, 0, 0, 3, 10, 99, *[-1] * (seed % 3 == 0)]) for _ in range(total)
        ),
        reason=rng.choice(["catalog", "group", "earliest"]),
        has_ids=rng.random() < 0.8,
        names_new_id=rng.random() < 0.4,
        latency_s=rng.choice([0.001, 0.01, 0.05, 0.3]),
        fetch_size=rng.choice([1, 2, 4, 9]),
        work_s=rng.choice([0.0, 0.0, 0.3, 3.0]),
        limits=Limits(
            poll_timeout_s=rng.choice([0.0, 0.0, 0.5, 2.0]),
            connect_timeout_s=rng.choice([1.0, 3.0]),
            max_messages=rng.choice([None, None, None, 1, 17]),
            max_seconds=rng.choice([2.0, 30.0]),
            flush_s=rng.choice([0.5, 30.0]),
        ),
    )
    pace, at, events = rng.choice([0.05, 0.3, 1.0]), 0.0, []
    for _ in range(rng.randint(0, 12)):
        at += rng.expovariate(1 / (pace if rng.random() < 0.5 else setup.latency_s))
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        topic, amount = f"topic{rng.randrange(len(partitions))}", rng.choice([0, 1, 2, 5, 12, 30])
        events.append(Event(round(at, 3), kind, topic, rng.randrange(3), amount))
    return Schedule(setup, tuple(events))


def build(schedule: Schedule) -> tuple[World, list[Position]]:
    """Set up the world, and plan a drain as it stands then."""
    setup = schedule.setup
    world = World(schedule.events, setup.latency_s, setup.fetch_size)
    world.has_ids, world.names_new_id = setup.has_ids, setup.names_new_id
    positions, each = [], 0
    for number, count in enumerate(setup.partitions):
        topic = world.create(f"topic{number}", count)
        for partition, log in enumerate(topic.logs):
            for kind in setup.contents[each]:
                if kind in "mc":
                    log.absent.add(log.high)
                if kind == "m":
                    log.high += 1
                else:
                    world.write(log, 1)
                if kind == "d":
                    log.low = log.high
            wanted = setup.starts[each]
            start = log.high + 10 if wanted < 0 else min(max(log.low, wanted), log.high)
            place = (topic.topic, 1, partition, start, start)
            positions.append(Position(*place, setup.reason, is_new=False, end=log.high))
            each += 1
    return world, positions


def play(schedule: Schedule) -> Played:
    """Run a drain's reader through a schedule."""
    world, positions = build(schedule)
    setup, ids = schedule.setup, {name: each.topic_id for name, each in world.topics.items()}
    client = SimulatedClient(world, timeout_s=setup.limits.connect_timeout_s)
    client.planned = ids
    clock = Clock(world.time, world.advance)
    world.advance(setup.latency_s)
    reader = Reader(client, positions, setup.limits, ids, lambda: world.is_stop_wanted, clock)
    played = Played(world, client, reader, positions, [], None)
    try:
        for batch in reader.batches():
            world.work(setup.work_s)
            if batch is not None:
                played.batches.append(batch)
            assert client.polls < MAX_POLLS, "the reader does not stop"
    except (AccessDenied, BrokerUnreachable) as error:
        played.error = error
    return played


def shortened(schedule: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    """Return the schedule without the events and contents that its failure does not need."""
    found = True
    while found:
        found = False
        for shorter in _shorter(schedule):
            if fails(shorter):
                schedule, found = shorter, True
                break
    return schedule


def _shorter(schedule: Schedule) -> Iterator[Schedule]:
    events, setup = schedule.events, schedule.setup
    for number in range(len(events)):
        yield replace(schedule, events=events[:number] + events[number + 1 :])
    for number, content in enumerate(setup.contents):
        for shorter in {content[: len(content) // 2], content[:-1]} - {content}:
            contents = (*setup.contents[:number], shorter, *setup.contents[number + 1 :])
            yield replace(schedule, setup=replace(setup, contents=contents))
