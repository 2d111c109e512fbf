"""What the flow tests share beside `tests/conftest.py`."""

from collections.abc import Iterator

import pytest

from tests.flow.drains import abandon_all
from tests.kafka_server import KafkaServer, missing


@pytest.fixture(autouse=True)
def _no_drain_survives() -> Iterator[None]:
    """End what a failed test has left running, before its topic or lake goes."""
    yield
    abandon_all()


@pytest.fixture(scope="session")
def only_on_kafka(request: pytest.FixtureRequest) -> None:
    """Skip a test that brings an Apache Kafka of its own, where another broker was asked for."""
    if request.config.getoption("--broker") != "kafka":
        pytest.skip("runs with --broker kafka (make test-kafka)")
    reason = missing()
    if reason is not None:
        pytest.fail(reason)


@pytest.fixture(scope="module")
def server(only_on_kafka: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """Run an Apache Kafka of a module's own, which its tests may break."""
    with KafkaServer(tmp_path_factory.mktemp("kafka")) as running:
        yield running


@pytest.fixture(scope="module")
def secure(only_on_kafka: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """Run one with users and rights like Lasair's."""
    with KafkaServer(tmp_path_factory.mktemp("secure"), secure=True) as running:
        yield running
