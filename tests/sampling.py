"""Which cases of a test `make test` runs, and which are left to `make soak`."""

from collections.abc import Iterable
from typing import Any

import pytest


def one_in(number: int, cases: Iterable[Any]) -> list[Any]:
    """Mark all cases as soak but each `number`-th one, beginning with the first."""
    return [
        pytest.param(*(case if isinstance(case, tuple) else [case]), marks=pytest.mark.soak)
        if at % number
        else case
        for at, case in enumerate(cases)
    ]
