"""What one writes on the first day: poll one by one, json.loads, pandas, to_parquet.

Spared what would make it look worse: it knows how many alerts there are, joins no group, and
writes a file each 64 MB of messages, so that neither memory nor the collection of garbage grows
with the backlog.

python -m tests.bench.naive BOOTSTRAP_SERVERS TOPIC COUNT FOLDER
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
from confluent_kafka import Consumer, KafkaException, TopicPartition

FILE_BYTES = 64_000_000
SILENCE_S = 30.0


def carry(bootstrap_servers: str, topic: str, count: int, folder: Path) -> tuple[int, int]:
    """Store `count` alerts as Parquet; give their number and the bytes of their values."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "bench"})
    partitions = consumer.list_topics(topic, timeout=SILENCE_S).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    alerts: list[dict[str, Any]] = []
    messages = size = written = 0
    while messages < count:
        message = consumer.poll(SILENCE_S)
        if message is None:
            break
        if message.error():
            raise KafkaException(message.error())
        value = message.value() or b""
        alerts.append(json.loads(value))
        messages += 1
        size += len(value)
        if size - written >= FILE_BYTES or messages == count:
            pd.DataFrame(alerts).to_parquet(folder / f"{messages}.parquet")
            alerts, written = [], size
    consumer.close()
    return messages, size


def main() -> None:
    """Carry the topic's alerts, print what was carried and how long it took."""
    bootstrap_servers, topic, count, folder = sys.argv[1:]
    Path(folder).mkdir()
    started = time.monotonic()
    messages, size = carry(bootstrap_servers, topic, int(count), Path(folder))
    seconds = time.monotonic() - started
    stored = sum(path.stat().st_size for path in Path(folder).iterdir())
    print(json.dumps({"messages": messages, "bytes": size, "seconds": seconds, "stored": stored}))


if __name__ == "__main__":
    main()
