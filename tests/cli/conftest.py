"""The command line, run in this process: real commands, their exit codes and what they say."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from etl.cli import console, main
from etl.lake.layout import Lake
from tests.sql.lakes import build


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Return what it printed, read as JSON that holds no NaN."""
        return json.loads(self.out, parse_constant=_refuse)


def _refuse(token: str) -> None:
    raise AssertionError(f"{token} is no JSON")


Run = Callable[..., Result]


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """Return the function that runs `lasair-etl` in an empty folder, with an empty environment."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("LASAIR_ETL_")]:
        monkeypatch.delenv(name)
    logger = logging.getLogger()
    before = logger.level, logger.handlers[:]

    def run_it(*arguments: object) -> Result:
        capfd.readouterr()
        code = console.run(main.root, [str(each) for each in arguments])
        out, err = capfd.readouterr()
        return Result(code, out, err)

    yield run_it
    logger.setLevel(before[0])
    logger.handlers[:] = before[1]


@pytest.fixture(scope="session")
def small_lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Make a small lake that tests only read."""
    return build(tmp_path_factory.mktemp("small") / "lake")
