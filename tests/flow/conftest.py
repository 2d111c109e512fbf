"""What the flow tests share beside `tests/conftest.py`."""

from collections.abc import Iterator

import pytest

from tests.flow.drains import abandon_all


@pytest.fixture(autouse=True)
def _no_drain_survives() -> Iterator[None]:
    """End what a failed test has left running, before its topic or lake goes."""
    yield
    abandon_all()
