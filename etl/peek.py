"""Look at a topic without leaving a trace: no group is joined, nothing is committed.

Ends of partitions come from end-of-partition events, which are right on every broker tried;
what a broker answers when asked for its latest offsets is only a lower bound (FINDINGS).
"""

import difflib
import heapq
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from etl.errors import BrokerUnreachable
from etl.kafka import DENIED, END, OUT_OF_RANGE, Client, TopicState, timestamp_ms

POLL_MESSAGES = 500
POLL_S = 0.1

Partition = tuple[str, int]


@dataclass(frozen=True, slots=True, order=True)
class Peeked:
    """A message as the broker has it, in the order of time, then of the partition."""

    timestamp_ms: int
    partition: int
    offset: int
    value: bytes | None = field(compare=False)


def ends(client: Client, states: Iterable[TopicState]) -> dict[Partition, int]:
    """Find the end of each partition; those that do not answer in time are left out."""
    starts = {(s.topic, p): max(s.low[p], high) for s in states for p, high in s.high.items()}
    found: dict[Partition, int] = {}
    for key, event in _listen(client, starts):
        if event.error() is not None:
            found[key] = max(event.offset(), starts[key])
    return found


def newest(client: Client, state: TopicState, number: int) -> list[Peeked]:
    """Give the newest messages of a topic, the newest last.

    Raises
    ------
    BrokerUnreachable
        A partition does not answer.
    """
    starts = {(state.topic, p): max(low, state.high[p] - number) for p, low in state.low.items()}
    kept: list[Peeked] = []
    for message in _messages(client, state, starts, None):
        if len(kept) < number:
            heapq.heappush(kept, message)
        else:
            heapq.heappushpop(kept, message)
    return sorted(kept)


def first(client: Client, state: TopicState, number: int) -> list[Peeked]:
    """Give the oldest messages that the broker still has, the oldest first; see `newest`."""
    starts = {(state.topic, p): low for p, low in state.low.items()}
    return heapq.nsmallest(number, _messages(client, state, starts, number))


def absence(client: Client, topic: str) -> str:
    """Say in a sentence that there is no such topic, with a close name that there is."""
    close = difflib.get_close_matches(topic, client.known_names(), n=1, cutoff=0.8)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"{topic}: no such topic yet (its filter may not have passed an alert){hint}"


def json_line(value: bytes | None) -> str | None:
    r"""Give a message as one line, exactly as sent, NaN tokens included; None: it is no JSON.

    >>> json_line(b'{"mag":\n NaN}'), json_line(b'{"mag":')
    ('{"mag":  NaN}', None)
    """
    try:
        text = (value or b"").decode("utf-8")
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    return text.replace("\r", " ").replace("\n", " ").strip()  # inside a string they are escaped


def _messages(
    client: Client, state: TopicState, starts: Mapping[Partition, int], most: int | None
) -> Iterator[Peeked]:
    """Read each partition to its end, or to `most` messages of it."""
    unread: dict[Partition, int | None] = dict.fromkeys(starts, most)
    ended = set()
    for key, event in _listen(client, starts, unread):
        left = unread[key]
        if event.error() is not None:
            ended.add(key)
        elif left is None or left > 0:
            unread[key] = None if left is None else left - 1
            yield Peeked(timestamp_ms(event) or 0, key[1], event.offset(), event.value())
    silent = sorted(key[1] for key in starts if key not in ended and unread[key] != 0)
    if silent:
        raise BrokerUnreachable(
            f"{client.bootstrap_servers}: {state.topic}{silent} does not answer within "
            f"{client.timeout_s:g} s; try again later"
        )


def _listen(
    client: Client, starts: Mapping[Partition, int], unread: Mapping[Partition, int | None] = {}
) -> Iterator[tuple[Partition, Any]]:
    """Give messages and ends of partitions, until each has ended or nothing is wanted of it.

    Stops too when nothing was heard for the client's timeout.
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
                    client.jump(*key, client.low(*key))
    finally:
        client.consumer.unassign()
