"""Read messages without leaving a trace: no group is joined, nothing is committed.

Ends of partitions come from end-of-partition events, which are right on every broker tried. The
answer to the question for the latest offsets is only a lower bound (docs/measurements.md).
"""

import heapq
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from confluent_kafka import TopicPartition

from etl.errors import BrokerUnreachable
from etl.kafka.client import Client
from etl.kafka.codes import DENIED, END, OUT_OF_RANGE
from etl.kafka.progress import Clock
from etl.kafka.topics import TopicState
from etl.records import Partition
from etl.text.words import close_match

POLL_MESSAGES = 500
POLL_S = 0.1


@dataclass(frozen=True, slots=True, order=True)
class Peeked:
    """A message as the broker has it; sorts by time, then by partition."""

    timestamp_ms: int
    partition: int
    offset: int
    value: bytes | None = field(compare=False)


def ends(client: Client, states: Iterable[TopicState]) -> dict[Partition, int]:
    """Return the end of each partition; those that do not answer in time are left out."""
    starts = {(s.topic, p): max(s.low[p], high) for s in states for p, high in s.high.items()}
    found: dict[Partition, int] = {}
    for key, event in _listen(client, starts):
        if event.error() is not None:
            found[key] = max(event.offset(), starts[key])
    return found


def newest(client: Client, state: TopicState, number: int) -> list[Peeked]:
    """Return the newest messages of a topic, the newest last.

    Raises
    ------
    BrokerUnreachable
        A partition does not answer.
    """
    starts = {(state.topic, p): max(low, state.high[p] - number) for p, low in state.low.items()}
    return heapq.nlargest(number, _messages(client, state, starts, inf))[::-1]


def first(client: Client, state: TopicState, number: int) -> list[Peeked]:
    """Return the oldest messages that the broker still has, the oldest first; see `newest`."""
    starts = {(state.topic, p): low for p, low in state.low.items()}
    return heapq.nsmallest(number, _messages(client, state, starts, number))


def absence(topic: str, names: Iterable[str]) -> str:
    """Return the sentence that a topic does not exist, with the most similar name that does."""
    close = close_match(topic, names, cutoff=0.8)
    hint = f"; did you mean {close}?" if close else ""
    return f"{topic}: no such topic yet (its filter may not have passed an alert){hint}"


def _messages(
    client: Client, state: TopicState, starts: Mapping[Partition, int], most: float
) -> Iterator[Peeked]:
    """Read each partition to its end, or to `most` messages of it."""
    unread = dict.fromkeys(starts, most)
    ended = set()
    for key, event in _listen(client, starts, unread):
        if event.error() is not None:
            ended.add(key)
        elif unread[key] > 0:
            unread[key] -= 1
            yield Peeked(timestamp_ms(event) or 0, key[1], event.offset(), event.value())
    silent = sorted(key[1] for key in starts if key not in ended and unread[key] != 0)
    if silent:
        raise BrokerUnreachable(
            f"{client.bootstrap_servers}: {state.topic}{silent} does not answer within "
            f"{client.timeout_s:g} s; try again later"
        )


def _listen(
    client: Client, starts: Mapping[Partition, int], unread: Mapping[Partition, float] = {}
) -> Iterator[tuple[Partition, Any]]:
    """Yield messages and ends of partitions, until none has more to give.

    Stops too when nothing has arrived for the client's timeout.
    """
    waiting = set(starts)
    client.start(starts)
    heard = time.monotonic()
    try:
        while waiting and time.monotonic() - heard < client.timeout_s:
            for event in client.poll(POLL_MESSAGES, POLL_S):
                heard = time.monotonic()
                key, error = (event.topic(), event.partition()), event.error()
                if error is not None and error.code() in DENIED:
                    raise client.translated(error, event.topic() or "")
                if key not in waiting:
                    continue
                if error is None:
                    yield key, event
                    if unread.get(key) == 0:
                        waiting.discard(key)
                elif error.code() == END:
                    yield key, event
                    waiting.discard(key)
                elif error.code() in OUT_OF_RANGE:
                    client.jump(*key, client.topics.low(*key))
    finally:
        client.consumer.unassign()


def read_record(
    client: Client, topic: str, partition: int, offset: int, high: int
) -> tuple[int, int | None, bytes | None] | None:
    """Return the first message at or after an offset: offset, timestamp in ms, value.

    None where the partition ends before the offset. Reading starts at the broker's end `high`
    where that is lower: a start beyond the end may give no event at all.
    """
    client.consumer.assign([TopicPartition(topic, partition, min(offset, high))])
    try:
        until = time.monotonic() + client.timeout_s
        while time.monotonic() < until:
            for message in client.consumer.consume(1, 0.2):
                error, found = message.error(), message.offset() or 0
                if error is None:
                    if found >= offset:  # others lie between the broker's end and this offset
                        return found, timestamp_ms(message), message.value()
                elif error.code() == END or error.code() in OUT_OF_RANGE:
                    return None
                elif error.code() in DENIED:
                    raise client.translated(error, topic)
        raise BrokerUnreachable(
            f"{client.bootstrap_servers}: {topic}[{partition}] does not answer; try again later"
        )
    finally:
        client.consumer.unassign()


def read_records(
    client: Client, starts: Mapping[Partition, int], ends: Mapping[Partition, int], clock: Clock
) -> tuple[dict[tuple[str, int, int], tuple[int | None, bytes | None]], set[Partition]]:
    """Read `[start, end)` of partitions on a connection of its own.

    Returns
    -------
    found : dict
        Time and value by topic, partition and offset, of the messages that the broker has.
    unanswered : set
        The partitions that did not arrive in full within the timeout.
    """
    found: dict[tuple[str, int, int], tuple[int | None, bytes | None]] = {}
    waiting = set(starts)
    if not waiting:
        return found, waiting
    with client.twin() as other:
        other.start(starts)
        until = clock.now() + client.timeout_s
        while waiting and clock.now() < until:
            for message in other.poll(1000, 0.2):
                key = (message.topic() or "", message.partition() or 0)
                error, offset = message.error(), message.offset() or 0
                if error is not None:
                    if error.code() == END or error.code() in OUT_OF_RANGE:
                        waiting.discard(key)
                    continue  # another error may pass; if not, the partition stays unanswered
                if offset >= ends[key] - 1:
                    waiting.discard(key)
                if offset < ends[key]:
                    found[*key, offset] = (timestamp_ms(message), message.value())
    return found, waiting


def timestamp_ms(message: Any) -> int | None:
    """Return a message's Kafka timestamp, None where it has none."""
    kind, stamp = message.timestamp()
    return stamp if kind else None
