"""SQL by name: `sql/<name>.sql`, one statement or script a file, and who can run it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from etl.errors import WrongUsage

VARIABLE = re.compile(r"getvariable\('(\w+)'\)::(\w+)")
"""How a worked query reads what one may choose, and of which type that is."""


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


@dataclass(frozen=True, slots=True)
class Analysis:
    """A worked query of `sql/analysis`: what it answers, and which variables one may set."""

    name: str
    answers: str
    variables: tuple[str, ...]
    sql: str


def analyses() -> dict[str, Analysis]:
    """Give the worked queries by name."""
    found = {}
    for name in sql_names("analysis"):
        text = sql_text(name)
        comment = " ".join(line[3:] for line in text.splitlines() if line.startswith("-- "))
        short = name.removeprefix("analysis/")
        variables = tuple(dict(VARIABLE.findall(text)))
        found[short] = Analysis(short, comment, variables, text)
    return found


def analysis(name: str, variables: Mapping[str, str]) -> Analysis:
    """Give one worked query that has these variables.

    Raises
    ------
    WrongUsage
        There is no such query, or it has no such variable; the message names those that exist.
    """
    known = analyses()
    if name not in known:
        raise WrongUsage(f"there is no query {name}; there are {', '.join(known)}")
    for variable in variables:
        if variable not in known[name].variables:
            has = ", ".join(known[name].variables) or "none"
            raise WrongUsage(f"the query {name} has no parameter {variable}; it has: {has}")
    return known[name]
