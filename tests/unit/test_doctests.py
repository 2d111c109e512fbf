import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import etl

MODULES = [m.name for m in pkgutil.walk_packages(etl.__path__, "etl.") if m.name != "etl.__main__"]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name: str) -> None:
    """What a docstring shows is what happens."""
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_every_file_is_a_module_that_is_tested() -> None:
    """A module that the search does not find would have its examples go untested, silently."""
    folder = Path(etl.__path__[0])
    files = {path.relative_to(folder) for path in folder.rglob("*.py")}
    without = {Path("__init__.py"), Path("__main__.py")}
    paths = [Path(*name.split(".")[1:]) for name in MODULES]
    found = {
        path / "__init__.py" if (folder / path).is_dir() else path.with_suffix(".py")
        for path in paths
    }
    assert found == files - without
