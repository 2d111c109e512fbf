"""SQL by name: `sql/<name>.sql`, one statement or script a file, and who can run it."""

import re
from functools import cache
from pathlib import Path
from typing import Any, Protocol

# The views beside those of the topics that no file of `sql/views` defines.
ALERTS_VIEW, DETECTIONS_VIEW, FORCED_VIEW = "alerts", "detections", "forced"
GENERATED_VIEWS = {ALERTS_VIEW, DETECTIONS_VIEW, FORCED_VIEW}

# How a worked query reads a variable, and its type.
VARIABLE = re.compile(r"getvariable\('(\w+)'\)::(\w+)")


# The lake's times are UTC and name no zone, and DuckDB compares such times with `now()` in the zone
# of the session. GLOBAL is for cursors that are made later, the second for the connection itself.
IN_UTC = "SET GLOBAL TimeZone = 'UTC'; SET TimeZone = 'UTC'"

# DuckDB's wildcards in a file's name; in brackets they have no meaning.
_WILDCARD = re.compile(r"[*?\[]")


class Rows(Protocol):
    """A source of rows for named queries: the writer's catalog, or a reader's published copy."""

    def rows(self, name: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Run `sql/<name>.sql` and return its rows."""


@cache
def sql_folder() -> Path:
    """Return the folder of SQL files: in the installed package, or beside it in a checkout."""
    inside = Path(__file__).parent / "sql"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "sql"


@cache
def sql_text(name: str) -> str:
    """Return the text of `sql/<name>.sql`."""
    return (sql_folder() / f"{name}.sql").read_text(encoding="utf-8")


def sql_names(folder: str) -> list[str]:
    """Return the names of a folder's SQL files, in order, as `sql_text` takes them."""
    return sorted(f"{folder}/{path.stem}" for path in (sql_folder() / folder).glob("*.sql"))


def quoted(name: str) -> str:
    """Write any text as an SQL identifier.

    >>> quoted('a"b')
    '"a""b"'
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Write any text as an SQL string.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def unpatterned(path: str) -> str:
    """Write a file's path so that DuckDB finds no wildcard in it.

    >>> unpatterned("else[w]here")
    'else[[]w]here'
    """
    return _WILDCARD.sub(r"[\g<0>]", path)
