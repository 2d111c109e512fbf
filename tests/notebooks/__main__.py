"""Run the notebooks on a simulated lake and store them with what they show: `make notebooks`.

`python -m tests.notebooks FOLDER` reads them from the checkout and writes them into FOLDER. They
run in a folder of their own, beside a lake that the first of them makes: with a broker of its own
and two real drains.
"""

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tests.flow.drains import ROOT, clean_environment

NOTEBOOKS = ROOT / "notebooks"
NAMES = ("first_look", "light_curves", "filters_compared")
"""In the order in which they run: the first makes the lake that the others read."""

TIMEOUT_S = 600


def main(target: Path) -> None:
    """Run every notebook and store it."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "notebooks"
        place.mkdir()
        own = {"IPYTHONDIR": folder, "JUPYTER_RUNTIME_DIR": folder, "MPLCONFIGDIR": folder}
        os.environ |= own
        for name in NAMES:
            run(NOTEBOOKS / f"{name}.ipynb", place, target / f"{name}.ipynb")


def run(source: Path, place: Path, target: Path) -> None:
    """Run one notebook in a folder; any error in it is an error here, and nothing is stored."""
    notebook = nbformat.read(source, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(place)}},
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],  # it would warn that others here could listen in
    )
    environment = dict(os.environ) | clean_environment()
    client.execute(env=environment)
    notebook.metadata["language_info"] = {"name": "python"}  # not this computer's version
    nbformat.write(notebook, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
