"""A simulated Kafka: topics and their logs, what the client library makes of them, and time.

It simulates the world around the reader, in virtual time; the reader itself is the real one.
Fetching goes on in the background as in librdkafka: an answer holds what the log had when the
request arrived, comes later, and waits in a queue until it is polled. When a topic is recreated,
fetching continues at the old offset in the new log.

Left out, because nobody can recognise it: a topic recreated twice while one drain reads it, a
new incarnation that loses records within these seconds, and a broker that gives an outdated id.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from confluent_kafka import KafkaError

from etl.errors import AccessDenied, BrokerUnreachable, EtlError
from etl.kafka.client import Client
from etl.kafka.codes import DENIED
from etl.kafka.topics import Topics
from etl.records import Partition

IDLE_FETCH_S = 0.1
QUEUED = 40
FORGETFUL_S = 0.5


@dataclass(frozen=True, slots=True)
class Record:
    """One record as the broker stores it."""

    timestamp_ms: int
    value: bytes | None


@dataclass(slots=True)
class Log:
    """One partition of one incarnation; `absent` are offsets that never are a message again."""

    records: dict[int, Record] = field(default_factory=dict)
    absent: set[int] = field(default_factory=set)
    low: int = 0
    high: int = 0

    def present(self, start: int) -> list[int]:
        """Return the offsets of the records from `start` on that can still be fetched."""
        first = max(start, self.low)
        return [o for o in range(first, self.high) if o in self.records and o not in self.absent]


@dataclass(slots=True)
class Incarnation:
    """One incarnation of a topic, with its whole history."""

    topic: str
    number: int
    topic_id: str | None
    logs: list[Log]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens to the broker at a moment; `World` has a method of each kind."""

    at: float
    kind: str
    topic: str
    partition: int
    amount: int


@dataclass(frozen=True, slots=True)
class Polled:
    """A message or an event as confluent_kafka hands it out."""

    key: Partition
    at: int
    record: Record | None = None
    code: int | None = None

    def topic(self) -> str:
        return self.key[0]

    def partition(self) -> int:
        return self.key[1]

    def offset(self) -> int:
        return self.at

    def value(self) -> bytes | None:
        return self.record.value if self.record else None

    def timestamp(self) -> tuple[int, int]:
        return (1, self.record.timestamp_ms) if self.record else (0, -1)

    def error(self) -> KafkaError | None:
        return None if self.code is None else KafkaError(self.code)


class World:
    """The broker and the time; `now` moves only by `advance`, and events happen meanwhile."""

    def __init__(self, events: Iterable[Event], latency_s: float, fetch_size: int) -> None:
        self.now = 0.0
        self.worked = 0.0
        self.events = sorted(events, key=lambda event: event.at)
        self.latency_s = latency_s
        self.fetch_size = fetch_size
        self.topics: dict[str, Incarnation] = {}
        self.incarnations: list[Incarnation] = []
        self.clients: list[SimulatedClient] = []
        self.silent_until = 0.0
        self.forgetful_until = 0.0
        self.refusals: dict[Partition, tuple[int, float]] = {}
        self.is_stop_wanted = False
        self.has_refused = False
        self.records_made = 0
        self.has_ids = True
        self.names_new_id = False

    def create(self, topic: str, partitions: int) -> Incarnation:
        """Create a topic, as the next incarnation of its name."""
        number = 1 + sum(each.topic == topic for each in self.incarnations)
        topic_id = f"{topic}-{number}" if self.has_ids else None
        made = Incarnation(topic, number, topic_id, [Log() for _ in range(partitions)])
        self.topics[topic] = made
        self.incarnations.append(made)
        return made

    def write(self, log: Log, count: int) -> None:
        """Append new records."""
        for _ in range(count):
            self.records_made += 1
            value = None if self.records_made % 11 == 0 else b"%d" % self.records_made
            log.records[log.high] = Record(self.records_made, value)
            log.high += 1

    # ------------------------------------------------------------------------------------ time
    def time(self) -> float:
        """Return the virtual time."""
        return self.now

    @property
    def listened(self) -> float:
        """The time that was not spent in other stages."""
        return self.now - self.worked

    def work(self, seconds: float) -> None:
        """Let time pass in the other stages of a drain."""
        self.worked += seconds
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass; events happen and answers arrive in the order of their times."""
        until = self.now + seconds
        while self.step(until):
            pass

    def step(self, until: float) -> bool:
        """Go to the next thing that happens before `until`, or to `until`; return whether any."""
        at = min(
            [each.ready for client in self.clients for each in client.fetches.values()],
            default=until,
        )
        if self.events:
            at = min(at, self.events[0].at)
        if at >= until:
            self.now = max(self.now, until)
            return False
        self.now = max(self.now, at)
        while self.events and self.events[0].at <= self.now:
            event = self.events.pop(0)
            getattr(self, event.kind)(event)
        for client in self.clients:
            client.fetch()
        return True

    # ---------------------------------------------------------------------------------- events
    def _log(self, event: Event) -> Log | None:
        found = self.topics.get(event.topic)
        return found.logs[event.partition % len(found.logs)] if found else None

    def append(self, event: Event) -> None:
        """Records arrive."""
        if log := self._log(event):
            self.write(log, event.amount)

    def repeat(self, event: Event) -> None:
        """A producer sends its last record again: the same time and value, at a new offset."""
        if (log := self._log(event)) and log.high - 1 in log.records:
            log.records[log.high] = log.records[log.high - 1]
            log.high += 1

    def mark(self, event: Event) -> None:
        """A transaction ends: its marker takes an offset and is no message."""
        if log := self._log(event):
            log.absent.add(log.high)
            log.high += 1

    def compact(self, event: Event) -> None:
        """Compaction removes every other of the newest records, in a first incarnation only."""
        if (log := self._log(event)) and self.topics[event.topic].number == 1:
            log.absent |= set(range(max(0, log.high - event.amount), log.high - 1, 2))

    def retain(self, event: Event) -> None:
        """Retention removes all but the newest records, in a first incarnation only."""
        if (log := self._log(event)) and self.topics[event.topic].number == 1:
            log.low = max(log.low, log.high - event.amount)

    def delete(self, event: Event) -> None:
        """The topic is deleted, in a first incarnation only."""
        if event.topic in self.topics and self.topics[event.topic].number == 1:
            del self.topics[event.topic]

    def recreate(self, event: Event) -> None:
        """The topic is deleted and recreated, once; its new log may begin as the old one did."""
        mine = [each for each in self.incarnations if each.topic == event.topic]
        if len(mine) > 1:
            return
        made = self.create(event.topic, len(mine[0].logs))
        for log, old in zip(made.logs, mine[0].logs, strict=True):
            for offset in range(event.partition if event.amount > event.partition else 0):
                if offset in old.records:
                    log.records[offset] = old.records[offset]
                else:
                    log.absent.add(offset)
                log.high = offset + 1
            self.write(log, event.amount)

    def widen(self, event: Event) -> None:
        """The topic gets a partition more."""
        if found := self.topics.get(event.topic):
            found.logs.append(Log())

    def fall_silent(self, event: Event) -> None:
        """The broker answers nothing for a while."""
        self.silent_until = max(self.silent_until, self.now + event.amount)

    def forget(self, event: Event) -> None:
        """The broker has just started and for a moment, once, does not know its topics."""
        if not self.forgetful_until:
            self.forgetful_until = self.now + FORGETFUL_S

    def refuse(self, event: Event) -> None:
        """A partition can't be read for a while."""
        codes = (KafkaError._BAD_MSG, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN)
        key = (event.topic, event.partition)
        self.refusals[key] = (codes[event.amount % 3], self.now + event.amount)

    def deny(self, event: Event) -> None:
        """The user loses the right to read."""
        key = (event.topic, event.partition)
        self.refusals[key] = (KafkaError.TOPIC_AUTHORIZATION_FAILED, self.now + 60)

    def stop(self, event: Event) -> None:
        """Somebody asks the drain to stop."""
        self.is_stop_wanted = True


@dataclass(slots=True)
class Fetch:
    """One partition that a client fetches; `answer` arrives when it is `ready`.

    After an error of its offset it `is_over`: nothing more comes until a jump.
    """

    offset: int
    ready: float
    incarnation: Incarnation | None
    answer: list[Polled] | None = None
    high: int | None = None
    reported_end: int | None = None
    is_over: bool = False


class SimulatedTopics(Topics):
    """Answers to the questions about topics."""

    def __init__(self, world: World, client: "SimulatedClient") -> None:
        self.world = world
        self.client = client

    def ids(self, topics: Sequence[str], timeout_s: float) -> dict[str, str | None]:
        """Answer, with time before and after; note which ends the answer proves."""
        if not topics:
            return {}
        highs = dict(self.client.highs)
        self._answer(timeout_s)
        world = self.world
        known = {} if world.now < world.forgetful_until else world.topics
        found = {topic: known[topic].topic_id for topic in topics if topic in known}
        for key, high in highs.items():
            planned = self.client.planned.get(key[0])
            is_asked_again = world.now < world.forgetful_until + FORGETFUL_S
            if planned is not None and found.get(key[0]) == planned and not is_asked_again:
                self.client.promised[key] = max(self.client.promised.get(key, 0), high)
        world.advance(3 * world.latency_s)  # long enough that fetches may change what is known
        return found

    def low(self, topic: str, partition: int) -> int:
        """Answer, with time before and after."""
        self._answer(self.client.timeout_s)
        if topic not in self.world.topics:
            raise BrokerUnreachable("no such topic")
        low = self.world.topics[topic].logs[partition].low
        self.world.advance(self.world.latency_s)
        return low

    def _answer(self, timeout_s: float) -> None:
        world = self.world
        world.advance(world.latency_s)
        late = world.silent_until - world.now
        world.advance(max(0.0, min(late, timeout_s)))
        if world.now < world.silent_until:
            world.has_refused = True
            raise BrokerUnreachable("no answer")


class SimulatedClient(Client):
    """What confluent_kafka would do, by the methods that the reader uses."""

    def __init__(self, world: World, timeout_s: float) -> None:
        self.world = world
        self.timeout_s = timeout_s
        self.topics = SimulatedTopics(world, self)
        self.fetches: dict[Partition, Fetch] = {}
        self.queue: list[Polled] = []
        self.highs: dict[Partition, int] = {}
        self.planned: Mapping[str, str | None] = {}
        self.promised: dict[Partition, int] = {}
        self.ends: dict[Partition, int] = {}
        self.progress: dict[Partition, float] = {}
        self.received: dict[Partition, list[Polled]] = {}
        self.last_message = 0.0
        self.polls = 0
        self.made = world.now
        world.clients.append(self)

    def twin(self) -> Client:
        """Return a second connection to the same broker."""
        return SimulatedClient(self.world, self.timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.world.now - self.made >= self.timeout_s:
            self.world.has_refused = True
        self.world.clients.remove(self)

    def start(self, offsets: Mapping[Partition, int]) -> None:
        """Start to fetch."""
        for (topic, partition), offset in offsets.items():
            self.jump(topic, partition, offset)

    def leave(self, partitions: Iterable[Partition]) -> None:
        """Stop fetching; what is queued is thrown away."""
        for key in partitions:
            self.fetches.pop(key, None)
            self.queue = [each for each in self.queue if each.key != key]

    def jump(self, topic: str, partition: int, offset: int) -> None:
        """Fetch from another offset; what is queued is thrown away."""
        self.leave([(topic, partition)])
        found = self.world.topics.get(topic)
        self.fetches[topic, partition] = Fetch(offset, self.world.now, found)

    def poll(self, most: int, timeout_s: float) -> list[Any]:
        """Return messages and events: as soon as there are `most`, or after the timeout."""
        self.polls += 1
        until = self.world.now + timeout_s
        while len(self.queue) < most and self.world.step(until):
            pass
        polled, self.queue = self.queue[:most], self.queue[most:]
        for each in polled:
            if each.code is None:
                self.progress[each.key] = self.last_message = self.world.listened
                self.received.setdefault(each.key, []).append(each)
            elif each.code == KafkaError._PARTITION_EOF:
                self.progress[each.key], self.ends[each.key] = self.world.listened, each.at
        return polled

    def seen_high(self, topic: str, partition: int) -> int | None:
        """Return the end as of the newest answer."""
        return self.highs.get((topic, partition))

    def translated(self, error: KafkaError, topic: str) -> EtlError:
        """Return our exception for a Kafka error."""
        kind = AccessDenied if error.code() in DENIED else BrokerUnreachable
        return kind(f"{topic}: {error.str()}")

    def fetch(self) -> None:
        """Take the answers that have arrived by now, and ask for more."""
        for key, fetch in self.fetches.items():
            if fetch.ready > self.world.now:
                continue
            if fetch.answer is not None:
                self.queue += fetch.answer
                self.highs.update({} if fetch.high is None else {key: fetch.high})
            if fetch.is_over:
                fetch.ready = float("inf")
            else:
                self._ask(key, fetch)

    def _ask(self, key: Partition, fetch: Fetch) -> None:
        """Send a fetch request; the answer is what the broker has now, and arrives later."""
        world = self.world
        if world.now < world.silent_until:
            world.has_refused = True
            fetch.ready, fetch.answer = world.silent_until, None
            return
        fetch.ready, fetch.high, fetch.answer = world.now + world.latency_s, None, None
        incarnation = world.topics.get(key[0])
        code, until = world.refusals.get(key, (0, 0.0))
        if world.now < until:
            world.has_refused = True
            fetch.answer = [Polled(key, fetch.offset, code=code)]
            fetch.ready += 0.5
        elif incarnation is None:
            fetch.answer = [Polled(key, fetch.offset, code=KafkaError.UNKNOWN_TOPIC_OR_PART)]
            fetch.ready += 0.5
        elif incarnation is not fetch.incarnation and world.names_new_id:
            fetch.incarnation = incarnation
            fetch.answer = [Polled(key, fetch.offset, code=KafkaError.UNKNOWN_TOPIC_ID)]
        elif len(self.queue) >= QUEUED:
            fetch.ready = world.now + IDLE_FETCH_S
        else:
            self._read(key, fetch, incarnation.logs[key[1]])

    def _read(self, key: Partition, fetch: Fetch, log: Log) -> None:
        if not log.low <= fetch.offset <= log.high:
            fetch.answer = [Polled(key, fetch.offset, code=KafkaError._AUTO_OFFSET_RESET)]
            fetch.is_over = True
            return
        offsets = log.present(fetch.offset)
        some = offsets[: self.world.fetch_size]
        fetch.answer = [Polled(key, offset, log.records[offset]) for offset in some]
        fetch.offset = log.high if some == offsets else some[-1] + 1
        fetch.high = log.high
        if fetch.offset == log.high:
            fetch.ready += 0.0 if some else IDLE_FETCH_S
            if fetch.reported_end != log.high:
                fetch.answer.append(Polled(key, log.high, code=KafkaError._PARTITION_EOF))
                fetch.reported_end = log.high
