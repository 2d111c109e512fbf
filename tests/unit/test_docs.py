import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

# A file or folder of the project; one with a <placeholder> or a wildcard is not looked for.
PATH = re.compile(r"`((?:etl|tests|sql|docs|notebooks|\.ci)/[\w./-]*)(?:::\w+)?`")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
ROOM = re.compile(r"^\| `(\w+)/` \| .* \| (.*) \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def existing() -> set[str]:
    """Return the name of every test function of the project."""
    return {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("doc", DOCS, ids=lambda path: path.name)
def test_what_the_docs_name_exists(doc: Path, existing: set[str]) -> None:
    """Every file, link, test and make target that a document names is there."""
    text = doc.read_text(encoding="utf-8")
    places = {ROOT / path for path in PATH.findall(text)}
    places |= {doc.parent / path for path in LINK.findall(text)}
    assert [str(place) for place in sorted(places) if not place.exists()] == []
    assert set(re.findall(r"`(test_\w+)`", text)) - existing == set()
    targets = set(
        re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert set(re.findall(r"`make ([a-z-]+)", text)) - targets == set()


def test_a_test_that_is_named_with_its_file_is_in_it() -> None:
    """Where a document says which file has a test, the test is in that file."""
    wrong = [
        (name, path)
        for doc in DOCS
        for names, path in re.findall(
            r"((?:`test_\w+`(?:,\s|\sand\s|\s)+)+)in\s`(tests/\S+\.py)`",
            doc.read_text(encoding="utf-8"),
        )
        for name in re.findall(r"test_\w+", names)
        if f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8")
    ]
    assert wrong == []


def test_the_table_of_rooms_is_the_code() -> None:
    """The design names each room and each of its modules, and no others."""
    told = {
        room: set(modules.split(", "))
        for room, modules in ROOM.findall((ROOT / "docs" / "design.md").read_text(encoding="utf-8"))
    }
    rooms = [folder.parent for folder in (ROOT / "etl").glob("*/__init__.py")]
    assert told == {
        room.name: {path.stem for path in room.glob("*.py")} - {"__init__"} for room in rooms
    }


def test_the_exit_codes_of_the_design_are_those_of_the_readme() -> None:
    """Both tables have the same codes in the same order."""
    codes = [
        re.findall(r"^\| (\d+) \| ", path.read_text(encoding="utf-8"), re.MULTILINE)
        for path in (ROOT / "docs" / "design.md", ROOT / "README.md")
    ]
    assert codes[0] == codes[1] != []
