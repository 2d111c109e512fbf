import json

import pytest

from tests.cli.conftest import Run
from tests.flow.brokers import Broker


@pytest.mark.parametrize("kind", ["plain", "lite", "full"])
def test_alerts_of_each_kind_are_published(run: Run, kafka: Broker, topic: str, kind: str) -> None:
    """Simulate publishes as many alerts as asked for, the first ten like Lasair's examples."""
    broker = kafka.bootstrap_servers
    flags = ["--bootstrap-servers", broker, "--topic", topic, "--kind", kind, "--count", 12]
    result = run("simulate", *flags)
    assert (result.code, result.out) == (0, f"12 {kind} alerts published to {topic}\n")
    lines = run("peek", topic, "--bootstrap-servers", broker, "-n", 20, "--first").out.splitlines()
    found = [json.loads(line) for line in lines]
    assert len(found) == 12
    assert sum("UTC" not in each for each in found) == 10
    assert all(len(str(each["diaObjectId"])) == 18 for each in found)


def test_a_missing_topic_is_made(run: Run, broker: str, topic: str) -> None:
    """The topic is made where it is missing, with the partitions asked for."""
    new = f"{topic}_new"
    flags = ["--bootstrap-servers", broker, "--topic", new, "--count", 3]
    assert run("simulate", *flags, "--partitions", 2).code == 0
    plan = run("drain", "--dry-run", "--json", "--group-id", "g", "--lake", "lake", *flags[:4])
    assert [each["behind"] for each in plan.json["partitions"]] == [2, 1]


def test_the_seed_decides(run: Run, broker: str, topic: str) -> None:
    """The same seed gives the same alerts, another one others."""
    for seed in (1, 1, 2):
        run(
            "simulate", "--bootstrap-servers", broker, "--topic", topic, "--seed", seed,
            "--count", 1, "--partitions", 1,
        )  # fmt: skip
    result = run("peek", topic, "--bootstrap-servers", broker, "--first").out.splitlines()
    assert len(result) == 3
    assert len(set(result)) == 2


@pytest.mark.parametrize(
    "broker", ["lasair-lsst-kafka.lsst.ac.uk:9092", "localhost:1, kafka.lsst.ac.uk"]
)
def test_lasairs_brokers_are_refused(run: Run, broker: str) -> None:
    """Made-up alerts never go to Lasair's own brokers."""
    result = run("simulate", "--topic", "lasair_2mine", "--bootstrap-servers", broker)
    assert result.code == 64
    assert "Lasair's own broker" in result.err


def test_a_topic_that_can_be_none_is_refused(run: Run, broker: str) -> None:
    """A name that Kafka does not allow is refused with the rule."""
    assert run("simulate", "--topic", "a b", "--bootstrap-servers", broker).code == 78
