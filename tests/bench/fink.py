"""A peer: the transfer loop of fink-client, the client of the Fink broker, on alerts like ours.

Fink sends Avro without a schema in each message. So the alerts of a topic are published again as
such Avro, with the fields that they have in JSON, and read by fink-client's own `poll`, which
writes Parquet: one of the processes that it would start for each core. What is measured is the
time until it has counted the last alert, without its start.

python -m tests.bench.fink publish BOOTSTRAP_SERVERS TOPIC COUNT
python -m tests.bench.fink transfer BOOTSTRAP_SERVERS TOPIC COUNT FOLDER BATCH

Runs in an environment of its own (`make bench` makes it), for fink-client needs much that we don't.
"""

import io
import json
import multiprocessing
import os
import random
import re
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fastavro
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

SUFFIX = "_avro"
SILENCE_S = 30.0
SAMPLES = 200
"""So many alerts say which fields there are, and of which types."""


def messages(bootstrap_servers: str, topic: str, count: int) -> Iterator[Message]:
    """Read the first messages of a topic."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "bench-fink"})
    partitions = consumer.list_topics(topic, timeout=SILENCE_S).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    for _ in range(count):
        message = consumer.poll(SILENCE_S)
        if message is None:
            raise SystemExit(f"{topic}: fewer than {count} messages")
        if message.error():
            raise KafkaException(message.error())
        yield message
    consumer.close()


def publish(bootstrap_servers: str, topic: str, count: int) -> dict[str, Any]:
    """Publish a topic's first alerts again as Avro, to one partition, and the schema beside it."""
    alerts = [json.loads(m.value() or b"") for m in messages(bootstrap_servers, topic, count)]
    merged = None
    for alert in alerts[:SAMPLES]:
        merged = _merge(merged, alert)
    schema = fastavro.parse_schema(_avro(merged, "alert"))
    producer = Producer({"bootstrap.servers": bootstrap_servers, "linger.ms": 100})
    size = 0
    for alert in alerts:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, schema, _fitted(alert, merged))
        size += out.tell()
        producer.produce(topic + SUFFIX, out.getvalue(), partition=0)
        producer.poll(0)
    producer.produce(f"{topic}{SUFFIX}_schema", b"", key=json.dumps(_avro(merged, "alert")))
    producer.flush()
    return {"messages": len(alerts), "bytes": size}


def _merge(known: Any, value: Any) -> Any:
    """Widen what is known of a value's type: a dict of fields, a list of one element, or a name."""
    if value is None:
        return known
    if isinstance(value, dict):
        fields = known if isinstance(known, dict) else {}
        return fields | {name: _merge(fields.get(name), inner) for name, inner in value.items()}
    if isinstance(value, list):
        element = known[0] if isinstance(known, list) else None
        for inner in value:
            element = _merge(element, inner)
        return [element]
    names = {bool: "boolean", int: "long", float: "double", str: "string"}
    name = names[type(value)]
    return "double" if {known, name} == {"long", "double"} else known or name


def _avro(known: Any, name: str) -> Any:
    """Write a merged type as an Avro schema; every value may be null."""
    if isinstance(known, dict):
        fields = [
            {"name": _named(field), "type": ["null", _avro(inner, f"{name}_{_named(field)}")]}
            for field, inner in known.items()
            if inner not in (None, [None])
        ]
        return {"type": "record", "name": name, "fields": fields}
    if isinstance(known, list):
        return {"type": "array", "items": ["null", _avro(known[0], f"{name}_element")]}
    return known


def _named(field: str) -> str:
    return re.sub(r"\W", "_", field)


def _fitted(value: Any, known: Any) -> Any:
    """Return a value as the schema has it."""
    if isinstance(known, dict):
        inside = value if isinstance(value, dict) else {}
        fits = {_named(n): _fitted(inside.get(n), t) for n, t in known.items()}
        return None if value is None else fits
    if isinstance(known, list):
        return None if value is None else [_fitted(inner, known[0]) for inner in value]
    return float(value) if known == "double" and value is not None else value


def transfer(
    bootstrap_servers: str, topic: str, count: int, folder: Path, batch: int
) -> dict[str, Any]:
    """Let fink-client carry the alerts to Parquet; give how long it took."""
    from fink_client.scripts.finkctl_transfer import poll  # noqa: PLC0415 - takes seconds

    config = {
        "bootstrap.servers": bootstrap_servers,
        "group.id": "bench",
        "auto.offset.reset": "earliest",
    }
    schema = fastavro.parse_schema(_schema_of(bootstrap_servers, topic))
    queue: Any = multiprocessing.Queue()
    queue.put({"partition": 0, "offset": 0, "status": 0, "lag": count})
    while queue.empty():
        time.sleep(0.01)
    arguments = SimpleNamespace(
        topic=topic + SUFFIX, limit=None, nconsumers=1, batchsize=batch, maxtimeout=5.0,
        outformat="parquet", outdir=str(folder), partitionby=None, survey="lsst", verbose=False,
    )  # fmt: skip
    carried, lock = multiprocessing.Value("i", 0), multiprocessing.Lock()
    started = time.monotonic()
    threading.Thread(
        target=poll,
        args=(0, queue, schema, config, random.Random(1), arguments, carried, lock),
        daemon=True,
    ).start()
    while carried.value < count and time.monotonic() - started < SILENCE_S * 20:
        time.sleep(0.005)
    seconds = time.monotonic() - started
    stored = sum(path.stat().st_size for path in folder.rglob("*.parquet"))
    return {"messages": carried.value, "seconds": seconds, "stored": stored}


def _schema_of(bootstrap_servers: str, topic: str) -> Any:
    message = next(messages(bootstrap_servers, f"{topic}{SUFFIX}_schema", 1))
    return json.loads(message.key() or b"")


def main(arguments: Iterable[str]) -> None:
    """Do one of the two, and say how it went as JSON."""
    verb, bootstrap_servers, topic, count, *rest = arguments
    if verb == "publish":
        print(json.dumps(publish(bootstrap_servers, topic, int(count))))
        return
    folder, batch = Path(rest[0]), int(rest[1])
    folder.mkdir()
    print(json.dumps(transfer(bootstrap_servers, topic, int(count), folder, batch)), flush=True)
    os._exit(0)  # its loop would wait for more


if __name__ == "__main__":
    main(sys.argv[1:])
