"""What tests do as the administrator of an Apache Kafka of their own."""

from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.flow.brokers import ANSWER_S
from tests.kafka_server import KafkaServer


def create(server: KafkaServer, topic: str, partitions: int = 1, **config: object) -> str:
    """Make a topic; `retention_ms=1` is its setting `retention.ms`."""
    settings = {key.replace("_", "."): str(value) for key, value in config.items()}
    admin = AdminClient(server.admin_settings)
    admin.create_topics([NewTopic(topic, partitions, 1, config=settings)])[topic].result(
        timeout=ANSWER_S
    )
    return topic


def publish(
    server: KafkaServer,
    topic: str,
    values: list[bytes],
    key: Callable[[int], bytes] | None = None,
    partition: int = 0,
) -> None:
    """Send values to one partition and wait until the broker has them."""
    failed: list[KafkaError] = []
    producer = Producer(server.admin_settings | {"message.max.bytes": 20_000_000})
    for number, value in enumerate(values):
        producer.produce(
            topic,
            value,
            key(number) if key else None,
            partition,
            on_delivery=lambda error, _: failed.append(error) if error else None,
        )
    assert producer.flush(ANSWER_S) == 0
    if failed:
        raise KafkaException(failed[0])


def consumer_of(server: KafkaServer, **settings: object) -> Consumer:
    """Make a consumer as the drain makes it: our own offsets, and every end is told."""
    return Consumer(
        server.admin_settings
        | {
            "group.id": "tests",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
        }
        | {name.replace("_", "."): value for name, value in settings.items()}
    )


def watermarks(server: KafkaServer, topic: str, partition: int = 0) -> tuple[int, int]:
    """Ask for the first offset and the end of a partition."""
    consumer = consumer_of(server)
    try:
        low, high = consumer.get_watermark_offsets(
            TopicPartition(topic, partition), timeout=ANSWER_S
        )
    finally:
        consumer.close()
    return low, high
