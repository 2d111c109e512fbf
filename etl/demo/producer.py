"""Put messages into a topic, as Lasair does: for the demonstration, load tests, and tests."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import cycle, repeat
from typing import Any, NoReturn, TypeVar

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient, ClusterMetadata, NewTopic

from etl.errors import AccessDenied, BrokerUnreachable, EtlError, WrongSettings, WrongUsage

T = TypeVar("T")

# The largest message that Lasair's brokers take.
MESSAGE_BYTES = 10_000_000
ANSWER_S = 10.0
DELIVERY_S = 60.0
SETTINGS: Mapping[str, Any] = {
    # The client counts the record's frame too: room for it beside the largest value.
    "message.max.bytes": MESSAGE_BYTES + 100_000,
    "message.timeout.ms": int(DELIVERY_S * 1000),
    # Bounds the memory of a load test; a full queue makes `publish` wait.
    "queue.buffering.max.kbytes": 131_072,
    "queue.buffering.max.messages": 500_000,
    # What was delivered is counted by what was not.
    "delivery.report.only.error": True,
    "log_level": 0,
}
POLL_MESSAGES = 1000
DENIED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,
}
WRONG = {
    KafkaError.TOPIC_EXCEPTION,
    KafkaError.INVALID_PARTITIONS,
    KafkaError.INVALID_REPLICATION_FACTOR,
    KafkaError.INVALID_CONFIG,
}
TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE}


def create_topic(bootstrap_servers: str, topic: str, partitions: int = 8) -> None:
    """Make sure that a topic exists; one that is there stays as it is.

    Notes
    -----
    librdkafka's mock cluster takes no such request: it makes a topic when it is asked for it,
    with 4 partitions.
    """
    admin = _admin(bootstrap_servers)
    metadata = _metadata(admin, bootstrap_servers)
    if topic in metadata.topics:
        return
    if not _has_controller(metadata):
        _metadata(admin, bootstrap_servers, topic)
        return
    config = {"max.message.bytes": str(MESSAGE_BYTES + 100_000)}
    wanted = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=config)
    try:
        admin.create_topics([wanted], request_timeout=ANSWER_S)[topic].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            _fail(error.args[0], bootstrap_servers, topic, error)
    _wait_until(lambda: topic in _metadata(admin, bootstrap_servers).topics, f"{topic}: not made")


def delete_topic(bootstrap_servers: str, topic: str) -> None:
    """Make sure that a topic does not exist.

    Notes
    -----
    On the embedded broker no consumer of the topic may be open in any process: deleting the
    topic crashes it (see `etl.demo.embedded_broker`).
    """
    admin = _admin(bootstrap_servers)
    metadata = _metadata(admin, bootstrap_servers)
    if topic not in metadata.topics:
        return
    if not _has_controller(metadata):
        raise WrongUsage(f"{bootstrap_servers}: librdkafka's mock cluster can't delete {topic}")
    try:
        admin.delete_topics([topic], request_timeout=ANSWER_S)[topic].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            _fail(error.args[0], bootstrap_servers, topic, error)
    _wait_until(
        lambda: topic not in _metadata(admin, bootstrap_servers).topics, f"{topic}: not deleted"
    )


def publish(
    bootstrap_servers: str,
    topic: str,
    values: Iterable[bytes | None],
    *,
    rate_per_s: float | None = None,
    timestamps_ms: Iterable[int] | None = None,
    extra_config: Mapping[str, str] | None = None,
) -> int:
    """Send all values to the topic's partitions in turn, without keys, and count them.

    Returns when the broker has confirmed every message.

    Parameters
    ----------
    values
        Message values of up to 10 MB; None is a tombstone.
    rate_per_s
        Messages per second at most; as fast as possible by default.
    timestamps_ms
        Times of the messages, as many as values; by default the time of sending.
    extra_config
        Settings of librdkafka, which win over those of this module.

    Raises
    ------
    BrokerUnreachable
        The broker does not answer, or messages were not confirmed within a minute.
    AccessDenied
        This user may not write here.
    WrongUsage
        There is no such topic, or a message is larger than the client or the broker takes.
    WrongSettings
        librdkafka does not know a setting, or not its value.
    ValueError
        The times are fewer or more than the values; what was sent before may have arrived.
    """
    failed: list[KafkaError] = []

    def note(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failed.append(error)

    settings = {**SETTINGS, **(extra_config or {}), "bootstrap.servers": bootstrap_servers}
    try:
        producer = Producer({**settings, "on_delivery": note, "error_cb": lambda _: None})
    except KafkaException as error:
        raise WrongSettings(f"extra_config: {error.args[0].str()}") from error
    partitions = _partitions(producer, bootstrap_servers, topic)
    timed = (
        zip(values, repeat(0), strict=False)  # 0: the time of sending
        if timestamps_ms is None
        else zip(values, timestamps_ms, strict=True)
    )
    paced = timed if rate_per_s is None else _paced(timed, rate_per_s)
    count = 0
    try:
        for count, (partition, (value, timestamp_ms)) in enumerate(
            zip(cycle(partitions), paced, strict=False), start=1
        ):
            _produce(producer, topic, value, partition, timestamp_ms)
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


def _paced(items: Iterable[T], rate_per_s: float) -> Iterator[T]:
    started = time.monotonic()
    for count, item in enumerate(items):
        time.sleep(max(0.0, started + count / rate_per_s - time.monotonic()))
        yield item


def _admin(bootstrap_servers: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})


def _metadata(
    client: AdminClient | Producer, bootstrap_servers: str, topic: str | None = None
) -> ClusterMetadata:
    """Ask for all topics, or for one, which then may come into being."""
    try:
        return (
            client.list_topics(topic, timeout=ANSWER_S)
            if topic
            else client.list_topics(timeout=ANSWER_S)
        )
    except KafkaException as error:
        _fail(error.args[0], bootstrap_servers, topic or "", error)


def _has_controller(metadata: ClusterMetadata) -> bool:
    """Say whether anybody takes requests to make topics; in a mock cluster nobody does."""
    return metadata.controller_id in metadata.brokers


def _partitions(producer: Producer, bootstrap_servers: str, topic: str) -> list[int]:
    topics = _metadata(producer, bootstrap_servers).topics
    if topic not in topics:
        raise WrongUsage(f"{bootstrap_servers}: there is no topic {topic}; create it first")
    return sorted(topics[topic].partitions)


def _wait_until(done: Callable[[], bool], problem: str) -> None:
    until = time.monotonic() + ANSWER_S
    while not done():
        if time.monotonic() > until:
            raise BrokerUnreachable(f"{problem} within {ANSWER_S:g} s; try again")
        time.sleep(0.02)


def _fail(
    error: KafkaError, bootstrap_servers: str, topic: str, cause: Exception | None = None
) -> NoReturn:
    where = ": ".join(filter(None, (bootstrap_servers, topic, error.str())))
    broken: EtlError
    if error.code() in DENIED:
        broken = AccessDenied(f"{where}; check the user and its right to write")
    elif error.code() in TOO_LARGE:
        broken = WrongUsage(f"{where}; {MESSAGE_BYTES} bytes are the most that Lasair sends")
    elif error.code() in WRONG:
        broken = WrongUsage(f"{where}; check the topic's name and its number of partitions")
    else:
        broken = BrokerUnreachable(f"{where}; is the broker running, and is this its address?")
    raise broken from cause
