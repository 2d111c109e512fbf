"""Paths of fields, and their text."""

import json
import re
from collections.abc import Iterable
from functools import lru_cache

_PATH_PART = re.compile(r'\[\]|"(?:[^"\\]|\\.)*"|[A-Za-z_][A-Za-z0-9_]*')

# Stands for "each element of the list" in a path, where field names are strings.
ELEMENT = None
Path = tuple[str | None, ...]


@lru_cache(maxsize=10_000)
def parse_path(text: str) -> Path:
    """Read a field's path from its text.

    >>> parse_path('alert.diaSourcesList[]."a.b"')
    ('alert', 'diaSourcesList', None, 'a.b')
    """
    return tuple(
        ELEMENT if part == "[]" else json.loads(part) if part[0] == '"' else part
        for part in _PATH_PART.findall(text)
    )


def path_text(path: Iterable[str | int | None]) -> str:
    """Return a path as unambiguous text; names that are not plain words get JSON quotes.

    >>> path_text(("alert", "diaSourcesList", 3, "a.b"))
    'alert.diaSourcesList[3]."a.b"'
    >>> path_text(("alert", "diaSourcesList", ELEMENT, "psfFlux"))
    'alert.diaSourcesList[].psfFlux'
    """
    text = ""
    for part in path:
        if part is ELEMENT:
            text += "[]"
        elif isinstance(part, int):
            text += f"[{part}]"
        else:
            plain = part.isascii() and part.isidentifier()
            text += ("." if text else "") + (part if plain else json.dumps(part))
    return text
