"""The limit: what a bare consumer, tuned like ours, takes to read a topic and keep nothing.

python -m tests.bench.consumer BOOTSTRAP_SERVERS TOPIC COUNT
"""

import json
import sys
import time

from confluent_kafka import Consumer, KafkaException, TopicPartition

from etl.kafka.client import TUNING

SILENCE_S = 30.0
"""A broker that gives nothing for so long will not give the rest either."""


def read(bootstrap_servers: str, topic: str, count: int) -> tuple[int, int]:
    """Read until `count` messages have come; give their number and the bytes of their values."""
    consumer = Consumer({**TUNING, "bootstrap.servers": bootstrap_servers, "group.id": "bench"})
    partitions = consumer.list_topics(topic, timeout=SILENCE_S).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    messages = size = 0
    heard = time.monotonic()
    while messages < count and time.monotonic() - heard < SILENCE_S:
        for message in (batch := consumer.consume(min(1000, count - messages), 0.1)):
            if message.error():
                raise KafkaException(message.error())
            size += len(message.value() or b"")
            message.partition(), message.offset(), message.timestamp()
        messages += len(batch)
        heard = time.monotonic() if batch else heard
    consumer.close()
    return messages, size


def main() -> None:
    """Read the topic, print what was read and how long it took."""
    bootstrap_servers, topic, count = sys.argv[1:]
    started = time.monotonic()
    messages, size = read(bootstrap_servers, topic, int(count))
    seconds = time.monotonic() - started
    print(json.dumps({"messages": messages, "bytes": size, "seconds": seconds}))


if __name__ == "__main__":
    main()
