"""Numbers, sizes, times and names in words."""

import difflib
from collections.abc import Iterable
from datetime import datetime, timedelta

THOUSAND = 1000


def age_text(age: timedelta) -> str:
    """How long ago something was, for people.

    >>> [age_text(timedelta(seconds=s)) for s in (5, 90, 7200, 200_000)]
    ['5 seconds', '1 minute', '2 hours', '2 days']
    """
    seconds = max(0, int(age.total_seconds()))
    for noun, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            return count(seconds // length, noun)
    return count(seconds, "second")


def size(size_bytes: float) -> str:
    """A number of bytes for people, in powers of 1000.

    >>> size(999), size(1_234_567)
    ('999 B', '1.2 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if round(size_bytes, 1) < THOUSAND:
            return f"{size_bytes:.0f} B" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= THOUSAND
    return f"{size_bytes:.1f} TB"


def count(number: int, noun: str) -> str:
    """A number with its noun.

    >>> count(1, "alert"), count(1234, "alert")
    ('1 alert', '1,234 alerts')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def cut(text: str, most: int) -> str:
    """The text, cut to `most` characters where it is longer.

    >>> cut("lasair_2kilonova", 8)
    'lasair_…'
    """
    return text if len(text) <= most else f"{text[: most - 1]}…"


def moment(when: datetime | None) -> str:
    """A time to the second; nothing for None.

    >>> moment(datetime(2026, 2, 14, 13, 41, 2, 5))
    '2026-02-14 13:41:02'
    """
    return "" if when is None else f"{when:%Y-%m-%d %H:%M:%S}"


def close_match(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known name that is most like this one, for "did you mean", or None.

    >>> close_match("lasair_2kilonva", ["lasair_2kilonova", "lasair_3agn"])
    'lasair_2kilonova'
    """
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return found[0] if found else None


def is_plain(text: str) -> bool:
    r"""Return whether UTF-8 and C can hold a text: no surrogate, which other bytes become, no NUL.

    >>> is_plain("äther"), is_plain("\udcff"), is_plain("a\0")
    (True, False, False)
    """
    return not any(each == "\0" or "\ud800" <= each <= "\udfff" for each in text)
