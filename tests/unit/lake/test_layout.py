from pathlib import Path

import pytest

from etl.errors import WrongSettings
from etl.lake.layout import check_path, lake_at

# What DuckDB reads as a query, as a separator, and as the value of a column.
REFUSED = "?\\="
CHARACTERS = [chr(code) for code in range(1, 127) if chr(code) != "/"] + [*"Äé中😀\u2028\u202e"]


@pytest.mark.parametrize("place", ["{}", "x{}y", "x/{}y/z"])
def test_a_path_has_no_character_that_duckdb_misreads(tmp_path: Path, place: str) -> None:
    """Three characters are refused by name, everywhere in a path, and all others are taken."""
    for character in CHARACTERS:
        if place.format(character) == ".":
            continue
        path = tmp_path / place.format(character)
        if character not in REFUSED:
            check_path(lake_at(path).root)
            continue
        with pytest.raises(WrongSettings) as caught:
            check_path(lake_at(path).root)
        assert f"'{character}'" in str(caught.value)


def test_a_path_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A NUL, bytes that are not UTF-8, nobody's home, and links in a circle are refused."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "plain").symlink_to("\udcff")
    monkeypatch.chdir(tmp_path)
    for name in ("x\0y", "x\udcffy", "~nobody-here/x", "a/lake", "plain/lake"):
        with pytest.raises(WrongSettings):
            lake_at(Path(name))
