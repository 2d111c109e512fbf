import doctest
import importlib
import pkgutil

import pytest

import etl

MODULES = [m.name for m in pkgutil.walk_packages(etl.__path__, "etl.") if m.name != "etl.__main__"]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name: str) -> None:
    """What a docstring shows is what happens."""
    assert doctest.testmod(importlib.import_module(name)).failed == 0
