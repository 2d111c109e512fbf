"""What happens to clusters: the settings lead to another one, or one is rebuilt from nothing."""

from collections.abc import Sequence
from typing import Any

from etl.errors import WRONG_SETTINGS
from tests.chaos.ledger import Ledger
from tests.chaos.scene import Scene
from tests.flow.advice import decision
from tests.flow.clusters import new_cluster_id
from tests.flow.drains import Finished


def cluster_swapped(scene: Scene) -> list[Finished]:
    """The settings lead to another cluster, which has topics of the same names."""
    scene.meet()
    scene.elsewhere = Ledger(scene.clusters.start(), scene.chance, scene.ledger.numbers)
    for topic in scene.ledger.topics:
        scene.elsewhere.create(topic, scene.chance.randint(1, 4))
        scene.elsewhere.send(topic, scene.stock.mixed(scene.chance, scene.most))
    return scene.end(scene.start(at=scene.elsewhere.broker))


def decide(scene: Scene, refused: Sequence[Finished]) -> list[Finished]:
    """Put the address back; now and then first read the other cluster, as another source."""
    other = scene.elsewhere
    assert other is not None
    if refused[-1].code != WRONG_SETTINGS or scene.chance.random() < 0.4:
        return []
    told: dict[str, Any] = {
        "at": other.broker,
        "cluster_changed": decision(refused[-1].err, "another"),
    }
    scene.ledger.take_in(other)
    if scene.chance.random() < 0.3:
        running = scene.start(**told)
        scene.a_moment()
        running.process.kill()
        running.wait()
    return scene.settle(**told)


def cluster_rebuilt(scene: Scene) -> list[Finished]:
    """The broker becomes another cluster under its address, perhaps while a drain reads it."""
    assert scene.server is not None
    scene.meet()
    running = []
    if scene.chance.random() < 0.5:
        running.append(scene.start(poll_timeout=scene.chance.choice([0, 1, 2])))
        scene.a_moment()
    scene.server.rebuild(new_cluster_id())
    scene.ledger.create_again()
    scene.send()
    return scene.end(*running) + scene.end(scene.start())
