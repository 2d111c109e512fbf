import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.flow.drains import ROOT, clean_environment
from tests.notebooks.__main__ import NAMES, NOTEBOOKS

SIZE_BYTES = 300_000
PICTURES = {"first_look": 2, "light_curves": 4, "filters_compared": 2}
PLACES = re.compile(r"/(home|root|tmp|Users|work|private|var)/|file://|[A-Z]:\\\\")


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run all notebooks once, as `make notebooks` does, and give the folder of the results."""
    folder = tmp_path_factory.mktemp("notebooks")
    done = subprocess.run(
        [sys.executable, "-m", "tests.notebooks", str(folder)],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def cells(path: Path) -> list[Any]:
    """Return the code cells of a notebook."""
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def kinds(cell: Any) -> list[str]:
    """Return what a cell shows, without what it says: that differs from day to day."""
    return [", ".join(sorted(output.get("data", {"text": 0}))) for output in cell.outputs]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_after_the_demonstration(executed: Path, name: str) -> None:
    """Each notebook runs from end to end on a lake that real drains filled, without a warning."""
    for number, cell in enumerate(cells(executed / f"{name}.ipynb"), 1):
        assert cell.execution_count == number
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.text


@pytest.mark.parametrize("name", NAMES)
def test_what_is_stored_is_what_it_shows(executed: Path, name: str) -> None:
    """The stored notebook has the outputs that running it gives: tables and pictures alike."""
    stored, fresh = (cells(place / f"{name}.ipynb") for place in (NOTEBOOKS, executed))
    assert [cell.source for cell in stored] == [cell.source for cell in fresh]
    assert list(map(kinds, stored)) == list(map(kinds, fresh))
    assert [cell.execution_count for cell in stored] == list(range(1, len(stored) + 1))


@pytest.mark.parametrize("name", NAMES)
def test_stored_notebooks_have_real_pictures(name: str) -> None:
    """The pictures stored are PNGs with something in them."""
    found = [
        base64.b64decode(output.data["image/png"])
        for cell in cells(NOTEBOOKS / f"{name}.ipynb")
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert len(found) == PICTURES[name]
    assert all(png.startswith(b"\x89PNG") and len(png) > 10_000 for png in found)


@pytest.mark.parametrize("name", NAMES)
def test_stored_notebooks_are_small_and_name_no_place(name: str) -> None:
    """A stored notebook is below 300 kB and says nothing of the computer on which it was run."""
    text = (NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8")
    assert len(text) < SIZE_BYTES
    for cell in json.loads(text)["cells"]:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("image/png", None)
            assert not PLACES.search(json.dumps(output))
    assert json.loads(text)["metadata"]["language_info"] == {"name": "python"}


def test_the_first_look_is_five_cells() -> None:
    """From `drain` to a light curve it takes five cells, and one line to change for one's own."""
    assert len(cells(NOTEBOOKS / "first_look.ipynb")) == 5
    for name in NAMES:
        first, *rest = cells(NOTEBOOKS / f"{name}.ipynb")
        assert sum("demo-lake" in line for line in first.source.splitlines()) == 1
        assert not any("demo" in cell.source for cell in rest)
