"""What all tests share: a running broker, a lake and topics of their own, and the real alerts."""

import os
import re
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.flow.brokers import BROKERS, PARTITIONS, Broker

SHARED_ALERTS = Path(__file__).parent.parent.parent / "shared" / "alerts"

MARKS = (
    "not_on(broker, reason): a broker that can't serve this test, and why not",
    "soak: takes long; `make soak` runs it, `make test` does not",
    "sweep: tries each write or byte of a run; only `make sweep` runs it",
    "xdist_group(name): tests that run in one process, where pytest-xdist runs several",
)

# Tests of a module in these share what the module makes: lakes, a demonstration, notebooks.
TOGETHER = ("cli", "notebooks", "sql")

_numbers = count(1)

# No test depends on how fast the machine is. The examples are the same in every run; FUZZ=1 tries
# twice as many, and FUZZ=20 20 times as many as that, new ones each time.
settings.register_profile(
    "any machine",
    deadline=None,
    derandomize=int(os.environ.get("FUZZ", "0")) < 2,
    database=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the flow tests run on another broker."""
    parser.addoption(
        "--broker", choices=sorted(BROKERS), default="embedded", help="what the flow tests run on"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Name our marks."""
    for mark in MARKS:
        config.addinivalue_line("markers", mark)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what the chosen broker can't serve, and say why; keep together what shares a lake."""
    chosen = config.getoption("--broker")
    for item in items:
        if item.path.parent.name in TOGETHER:
            item.add_marker(pytest.mark.xdist_group(f"{item.path.parent.name}/{item.path.stem}"))
        for mark in item.iter_markers("not_on"):
            if mark.args[0] == chosen:
                item.add_marker(pytest.mark.skip(reason=f"{chosen}: {mark.kwargs['reason']}"))


@pytest.fixture(scope="session")
def kafka(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Broker]:
    """Run a real broker on the loopback interface, with what tests do to it."""
    start = BROKERS[request.config.getoption("--broker")]
    with start(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture(scope="session")
def broker(kafka: Broker) -> str:
    """Return the bootstrap servers of the running broker."""
    return kafka.bootstrap_servers


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """Return the path of a lake that does not exist yet."""
    return tmp_path / "lake"


@pytest.fixture
def new_topic(kafka: Broker, request: pytest.FixtureRequest) -> Callable[..., str]:
    """Return the function that makes a topic of this test's own, with 8 partitions unless told."""
    name = re.sub(r"[^A-Za-z0-9_-]", "", request.node.name)[:60]

    def new(partitions: int = PARTITIONS, *, made: bool = True) -> str:
        topic = f"lasair_{next(_numbers)}{name}"
        return kafka.create(topic, partitions) if made else topic

    return new


@pytest.fixture
def topic(new_topic: Callable[..., str]) -> str:
    """Return a new topic with 8 partitions."""
    return new_topic()


@pytest.fixture(scope="session")
def real_alerts() -> dict[str, list[bytes]]:
    """Return the real alerts, by the name of their file without its ending."""
    if not SHARED_ALERTS.is_dir():
        pytest.skip(f"the real alerts are not here: {SHARED_ALERTS}")
    return {
        path.stem: path.read_bytes().splitlines() for path in sorted(SHARED_ALERTS.glob("*.ndjson"))
    }
