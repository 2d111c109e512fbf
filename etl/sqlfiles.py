"""SQL by name: `sql/<name>.sql`, one statement or script a file, and who can run it."""

from functools import cache
from pathlib import Path
from typing import Any, Protocol


class Rows(Protocol):
    """Whatever answers a named query: the writer's catalog, or a reader's published copy."""

    def rows(self, name: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Run `sql/<name>.sql` and give its rows."""


@cache
def sql_folder() -> Path:
    """Find the SQL files: inside the installed package, or beside it in a checkout."""
    inside = Path(__file__).parent / "sql"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "sql"


@cache
def sql_text(name: str) -> str:
    """Give the text of `sql/<name>.sql`."""
    return (sql_folder() / f"{name}.sql").read_text(encoding="utf-8")


def sql_names(folder: str) -> list[str]:
    """Name all SQL files of one folder, in order, as `sql_text` takes them."""
    return sorted(f"{folder}/{path.stem}" for path in (sql_folder() / folder).glob("*.sql"))
