"""A broker whose log holds a batch of records that nobody can unpack."""

import socket
import struct
import time

import pytest
from confluent_kafka import Producer

from etl.demo.embedded_broker import EmbeddedBroker
from etl.demo.producer import create_topic
from tests.flow import checker
from tests.flow.alerts import small_alerts
from tests.flow.brokers import ANSWER_S
from tests.flow.drains import drain

TOPIC = "lasair_1damaged"
GZIP = 1
PRODUCE = 0


def record_batch(packed: bytes) -> bytes:
    """Write a batch of one record (format 2) that says it is packed with gzip."""
    now = int(time.time() * 1000)
    body = struct.pack(">hiqqqhii", GZIP, 0, now, now, -1, -1, -1, 1) + packed
    return struct.pack(">qiibI", 0, len(body) + 9, 0, 2, 0) + body


def send(broker: str, values: list[bytes]) -> None:
    """Send alerts to partition 0."""
    producer = Producer({"bootstrap.servers": broker})
    for value in values:
        producer.produce(TOPIC, value, partition=0)
    assert producer.flush(ANSWER_S) == 0


def produce(broker: str, topic: str, records: bytes) -> None:
    """Send a batch to partition 0 as it is, by a Produce request of version 7."""
    name = topic.encode()
    request = b"".join(
        [
            struct.pack(">hhih", PRODUCE, 7, 1, 1) + b"x",
            struct.pack(">hhi", -1, 1, 5000),
            struct.pack(">ih", 1, len(name)) + name,
            struct.pack(">iii", 1, 0, len(records)) + records,
        ]
    )
    host, port = broker.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=ANSWER_S) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        assert connection.recv(1000)


@pytest.mark.parametrize("limit", [[], ["max_seconds"]], ids=["at the silence", "at the time"])
def test_a_log_that_can_not_be_read_is_65_with_its_place(lake, limit):
    """What lies before it is stored; where it is, and that more waits behind it, is said."""
    with EmbeddedBroker() as broker:
        create_topic(broker, TOPIC)
        send(broker, small_alerts(3))
        produce(broker, TOPIC, record_batch(b"this is not gzip"))
        send(broker, small_alerts(3))
        for patience_s in (1, 10, 60):  # until the broker can answer in that time
            limits = dict.fromkeys(limit, patience_s)
            finished = drain(
                broker, lake, TOPIC, code=None, connect_timeout=2 * patience_s, **limits
            )
            if finished.code != 75:
                break
    assert finished.code == 65, str(finished)
    assert f"{TOPIC}[0]: can't be read from offset 3 on" in finished.output
    assert checker.read_catalog(lake).counts[TOPIC] == 3
