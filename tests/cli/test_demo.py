import re
import subprocess
import sys
from pathlib import Path

import pytest

from etl.audit.verify import verify
from etl.config.settings import load
from etl.lake.layout import Lake
from tests.cli.conftest import Run
from tests.flow.drains import ROOT, clean_environment

pytestmark = pytest.mark.timeout(600)  # ten seconds' work, but not on a busy machine


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Run the demonstration once, as `make demo` does."""
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [sys.executable, "-m", "etl", "demo"],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder, done.stdout


def test_it_tells_the_whole_story(shown: tuple[Path, str]) -> None:
    """A screenful: two drains, the second of which takes only what is new, SQL, what is next."""
    _, text = shown
    assert "4,806 alerts, 0 rejects, 0 lost, " in text
    assert "534 alerts, 0 rejects, 0 lost, " in text
    for part in ("PIVOT alerts", "diaObjectId", "█", "status --lake demo-lake", "duckdb -readonly"):
        assert part in text
    assert len(text.splitlines()) < 90


def test_it_leaves_a_sound_lake(shown: tuple[Path, str]) -> None:
    """The lake that stays has all that was published, and passes every check."""
    report = verify(Lake(shown[0] / "demo-lake"))
    assert report.complaints == ()
    assert report.rows == 5340


def test_its_settings_can_be_read(shown: tuple[Path, str]) -> None:
    """The settings file that the demonstration leaves is a real one."""
    chosen = load({}, {}, shown[0] / "demo-lake" / "lasair-etl.toml")
    assert chosen.lake == (shown[0] / "demo-lake").absolute()
    assert len(chosen.topics) == 3


def test_the_readmes_way_to_a_light_curve_leads_there(shown: tuple[Path, str]) -> None:
    """The README's Python, pasted as it stands, draws a light curve and the sky."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(import etl\n.*?)```", text, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=shown[0],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in ("light_curve.png", "sky.png"):
        assert (shown[0] / name).read_bytes().startswith(b"\x89PNG")


def test_a_foreign_folder_is_left_alone(run: Run, tmp_path: Path) -> None:
    """A folder that no demonstration made is refused, and stays as it is."""
    (tmp_path / "demo-lake").mkdir()
    (tmp_path / "demo-lake" / "mine.txt").write_text("mine")
    result = run("demo")
    assert result.code == 78
    assert "no demonstration made it" in result.err
    assert (tmp_path / "demo-lake" / "mine.txt").read_text() == "mine"


def test_a_link_is_not_followed(run: Run, tmp_path: Path, shown: tuple[Path, str]) -> None:
    """A link to an earlier demonstration's lake is refused: what it names is not removed."""
    (tmp_path / "link").symlink_to(shown[0] / "demo-lake")
    assert run("demo", "--lake", "link").code == 78
    assert (shown[0] / "demo-lake" / "alerts.duckdb").exists()
