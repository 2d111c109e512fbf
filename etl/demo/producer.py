"""Publish messages as Lasair does, for the demonstration, load tests, and tests."""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import cycle, repeat
from typing import Any, NoReturn, TypeVar

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic, TopicMetadata

from etl.errors import AccessDenied, BrokerUnreachable, EtlError, WrongUsage
from etl.kafka.codes import DENIED

T = TypeVar("T")

# The largest value that Lasair's brokers take; the client counts the record's frame too.
MESSAGE_BYTES, FRAME_BYTES = 10_000_000, 100_000
ANSWER_S = 10.0
DELIVERY_S = 60.0
SETTINGS: Mapping[str, Any] = {
    "message.max.bytes": MESSAGE_BYTES + FRAME_BYTES,
    "message.timeout.ms": int(DELIVERY_S * 1000),
    # Bounds the memory of a load test; a full queue makes `publish` wait.
    "queue.buffering.max.kbytes": 131_072,
    "queue.buffering.max.messages": 500_000,
    # Only failures are reported; all other messages have arrived.
    "delivery.report.only.error": True,
    "log_level": 0,
}
POLL_MESSAGES = 1000

TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE}
BAD_TOPIC = {
    KafkaError.TOPIC_EXCEPTION,
    KafkaError.INVALID_PARTITIONS,
    KafkaError.INVALID_REPLICATION_FACTOR,
    KafkaError.INVALID_CONFIG,
}

# What each kind of error means to the caller; any other one is `BrokerUnreachable`.
ERRORS: Sequence[tuple[Collection[int], type[EtlError], str]] = (
    (DENIED, AccessDenied, "check the user and its right to write"),
    (TOO_LARGE, WrongUsage, f"{MESSAGE_BYTES} bytes are the most that Lasair sends"),
    (BAD_TOPIC, WrongUsage, "check the topic's name and its number of partitions"),
)


def create_topic(bootstrap_servers: str, topic: str, partitions: int = 8) -> None:
    """Make sure that a topic exists; one that is there stays as it is."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    if topic in _topics(admin, bootstrap_servers):
        return
    config = {"max.message.bytes": str(MESSAGE_BYTES + FRAME_BYTES)}
    wanted = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=config)
    try:
        admin.create_topics([wanted], request_timeout=ANSWER_S)[topic].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            _fail(error.args[0], bootstrap_servers, topic, error)
    until = time.monotonic() + ANSWER_S
    while topic not in _topics(admin, bootstrap_servers):
        if time.monotonic() > until:
            raise BrokerUnreachable(f"{topic}: not made within {ANSWER_S:g} s; try again")
        time.sleep(0.02)


def publish(
    bootstrap_servers: str,
    topic: str,
    values: Iterable[bytes | None],
    *,
    rate_per_s: float | None = None,
    timestamps_ms: Iterable[int] | None = None,
) -> int:
    """Send values to the topic's partitions in turn, without keys, and return their number.

    It returns when the broker has confirmed every message.

    Parameters
    ----------
    values
        Message values of up to 10 MB; None is a tombstone.
    rate_per_s
        Messages per second at most; as fast as possible by default.
    timestamps_ms
        Times of the messages, as many as values; by default the time of sending.

    Raises
    ------
    BrokerUnreachable
        The broker does not answer, or messages were not confirmed within a minute.
    AccessDenied
        This user may not write here.
    WrongUsage
        There is no such topic, or a message is larger than the client or the broker takes.
    ValueError
        There are fewer or more times than values; what was sent before may have arrived.
    """
    failed: list[KafkaError] = []

    def note(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failed.append(error)

    own = {"bootstrap.servers": bootstrap_servers, "on_delivery": note, "error_cb": lambda _: None}
    producer = Producer({**SETTINGS, **own})
    topics = _topics(producer, bootstrap_servers)
    if topic not in topics:
        raise WrongUsage(f"{bootstrap_servers}: there is no topic {topic}; create it first")
    partitions = cycle(sorted(topics[topic].partitions))
    times = repeat(0) if timestamps_ms is None else timestamps_ms  # 0: the time of sending
    timed = zip(values, times, strict=timestamps_ms is not None)
    count = 0
    try:
        for count, (value, timestamp_ms) in enumerate(_paced(timed, rate_per_s), start=1):
            _produce(producer, topic, value, next(partitions), timestamp_ms)
            if count % POLL_MESSAGES == 0:
                producer.poll(0)
            if failed:
                producer.purge()  # the rest would wait for its timeout
                break
    except KafkaException as error:
        _fail(error.args[0], bootstrap_servers, topic, error)
    while producer.flush(0.5):
        pass  # in steps, so that Ctrl-C is heard; each message has its own timeout
    if failed:
        _fail(failed[0], bootstrap_servers, topic)
    return count


def _produce(
    producer: Producer, topic: str, value: bytes | None, partition: int, timestamp_ms: int
) -> None:
    while True:
        try:
            producer.produce(topic, value, partition=partition, timestamp=timestamp_ms)
        except BufferError:
            producer.poll(0.05)  # the queue is full: wait for deliveries, or for their timeout
        else:
            return


def _paced(items: Iterable[T], rate_per_s: float | None) -> Iterator[T]:
    started = time.monotonic()
    for count, item in enumerate(items):
        if rate_per_s is not None:
            time.sleep(max(0.0, started + count / rate_per_s - time.monotonic()))
        yield item


def _topics(client: AdminClient | Producer, bootstrap_servers: str) -> dict[str, TopicMetadata]:
    try:
        return client.list_topics(timeout=ANSWER_S).topics
    except KafkaException as error:
        _fail(error.args[0], bootstrap_servers, "", error)


def _fail(
    error: KafkaError, bootstrap_servers: str, topic: str, cause: Exception | None = None
) -> NoReturn:
    where = ": ".join(filter(None, (bootstrap_servers, topic, error.str())))
    for codes, kind, advice in ERRORS:
        if error.code() in codes:
            raise kind(f"{where}; {advice}") from cause
    raise BrokerUnreachable(f"{where}; is the broker running, and is this its address?") from cause
