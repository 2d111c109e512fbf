"""What a fault can lay its hands on: the topics, the lake, the broker, the disk, and drains."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.chaos.ledger import Batch, Ledger, Stock
from tests.chaos.readers import Readers
from tests.chaos.stage import Disk
from tests.flow import drains
from tests.flow.brokers import Broker
from tests.flow.clusters import Clusters
from tests.flow.drains import SMALL_STEPS, Finished, Running
from tests.kafka_server import KafkaServer

CONNECT_S = 8
RERUNS = 3
LEAVE_TO_THE_NEXT = "the next run reads its new incarnation"


def has_read_all(ended: Finished) -> bool:
    """Return whether a drain has left nothing to the next one."""
    return ended.code == 0 and LEAVE_TO_THE_NEXT not in ended.output


@dataclass(slots=True)
class Scene:
    """All that a fault can lay its hands on."""

    chance: Random
    ledger: Ledger
    stock: Stock
    lake: Path
    readers: Readers
    server: KafkaServer | None
    disk: Disk | None
    settings: Path
    clusters: Clusters
    usual_s: float = 1.0
    most: int = 150
    codes: list[int] = field(default_factory=list)
    sent: int = 0
    elsewhere: Ledger | None = None

    @property
    def public(self) -> Path:
        """The file that readers open."""
        return self.lake / "alerts.duckdb"

    def start(
        self, tuning: Mapping[str, Any] | None = None, at: Broker | None = None, **options: Any
    ) -> Running:
        """Start a drain, every other one of many small steps."""
        tuning = self.chance.choice([SMALL_STEPS, {}]) | dict(tuning or {})
        chosen: dict[str, Any] = {"connect_timeout": CONNECT_S, "config": self.settings} | options
        return drains.start(
            (at or self.ledger.broker).bootstrap_servers,
            self.lake,
            *self.ledger.topics,
            tuning=tuning,
            **chosen,
        )

    def end(self, *running: Running) -> list[Finished]:
        """Wait for drains to end and note how they did."""
        ended = [each.wait() for each in running]
        self.codes += [each.code for each in ended]
        return ended

    def settle(self, **options: Any) -> list[Finished]:
        """Run plain drains until one has read everything, or that is too many."""
        ended: list[Finished] = []
        while len(ended) < RERUNS and not (ended and has_read_all(ended[-1])):
            ended.append(self.start(connect_timeout=20, **options).wait())
        return ended

    def meet(self) -> None:
        """Let the lake know its topics, where no drain has met them yet."""
        if not self.public.exists():
            self.settle()

    def send(self, topics: Sequence[str] = ()) -> None:
        """Send what topics usually get, at times of nights that are over."""
        for topic in topics or self.ledger.topics:
            days_ago = self.chance.choice([0, 0, 2, 3])
            self.send_batch(topic, self.stock.mixed(self.chance, self.most), days_ago)

    def send_batch(self, topic: str, batch: Batch, days_ago: int = 0) -> None:
        """Send these to a topic."""
        self.sent += self.ledger.send(topic, batch, days_ago)

    def a_moment(self, longest: float = 1.1) -> None:
        """Let some part of the time go by that a drain usually takes."""
        time.sleep(self.chance.uniform(0, self.usual_s * longest))

    def meanwhile(self) -> None:
        """Now and then a topic gets something while the drain runs."""
        if self.chance.random() < 0.5:
            self.send([self.a_topic()])

    def a_topic(self) -> str:
        """Choose one of the topics."""
        return self.chance.choice(self.ledger.topics)
