"""Clusters that tests swap: several at a time, and one that is rebuilt under its address."""

import uuid
from base64 import urlsafe_b64encode
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient

from tests.flow.brokers import ANSWER_S, Broker, embedded
from tests.flow.checker import Log
from tests.kafka_server import KafkaServer


def new_cluster_id() -> str:
    """Make an id as Kafka makes them."""
    return "c" + urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]


def cluster_id_of(broker: Broker) -> str:
    """Ask a broker for the id of its cluster."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    found = admin.list_topics(timeout=ANSWER_S).cluster_id
    assert found
    return str(found)


def topic_id_of(broker: Broker, topic: str) -> str:
    """Ask a broker for the id of a topic."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    described = admin.describe_topics(TopicCollection([topic]))[topic].result(timeout=ANSWER_S)
    return str(described.topic_id)


@dataclass(slots=True)
class Clusters:
    """Starts clusters of one kind of broker, and ends them with its stack."""

    kind: str
    folder: Path
    stack: ExitStack
    running: dict[str, tuple[ExitStack, KafkaServer | None]] = field(default_factory=dict)

    def start(self, port: int | None = None) -> Broker:
        """Start a new cluster under an address of its own, or at a port of this computer."""
        folder = self.folder / uuid.uuid4().hex
        folder.mkdir()
        own = self.stack.enter_context(ExitStack())
        server = None
        if self.kind == "embedded":
            broker = own.enter_context(embedded(folder, new_cluster_id(), port))
        else:
            server = own.enter_context(KafkaServer(folder, cluster_id=new_cluster_id()))
            broker = Broker("kafka", server.bootstrap_servers)
        self.running[broker.bootstrap_servers] = own, server
        return broker

    def rebuild(self, broker: Broker) -> None:
        """Let the broker be another cluster under the same address, with nothing in it."""
        own, server = self.running[broker.bootstrap_servers]
        if server is not None:
            server.rebuild(new_cluster_id())
        else:
            own.close()
            self.start(int(broker.bootstrap_servers.rpartition(":")[2]))


def copy(log: Log, topic: str, to: Broker, partitions: int) -> None:
    """Send what a topic held to another cluster, to the same partitions with the same times."""
    ends = [max((o for p, o in log if p == each), default=-1) + 1 for each in range(partitions)]
    assert len(set(ends)) == 1, "the copy goes turn by turn"
    order = [log[p, o] for o in range(ends[0]) for p in range(partitions)]
    to.publish(topic, [value for _, value in order], partitions, lambda n: order[n][0] or 0)


def topics_of(lake: Path) -> list[tuple[int, str | None, bool]]:
    """List the incarnations with their clusters, and whether each was read last."""
    with duckdb.connect(str(lake / "alerts.duckdb"), read_only=True) as public:
        return public.execute(
            "SELECT incarnation, cluster_id, is_current FROM etl.topics ORDER BY incarnation"
        ).fetchall()
