"""Made-up alerts for tests of the flow, small, large and odd ones."""

import json
from itertools import count

FIRST_ID = 313637935709683761
"""As long as Rubin's ids: above 2^53, where a DOUBLE would be wrong."""

_numbers = count()


def small_alerts(size: int) -> list[bytes]:
    """Make alerts that no other call makes, with all that a plain alert has."""
    return [
        b'{"diaObjectId": %d, "ra": %d.25, "decl": -%d.5, "nDiaSources": %d, "g_psfFlux": %s, '
        b'"classification": "SN", "UTC": "2026-02-14 13:%02d:%02d"}'
        % (FIRST_ID + n, n % 360, n % 60, n % 9, b"null" if n % 3 else b"17.5", n % 60, n % 60)
        for n in (next(_numbers) for _ in range(size))
    ]


def sources(megabytes: float) -> bytes:
    """Make an alert of so many megabytes, most of it a list of detections."""
    one = {"diaSourceId": 313637935709683761, "psfFlux": 1 / 7, "band": "r", "note": "x" * 40}
    number = int(megabytes * 1e6) // len(json.dumps(one) + ", ")
    rows = [one | {"diaSourceId": 313637935709683761 + n, "psfFlux": n / 7} for n in range(number)]
    return json.dumps({"diaObjectId": 5, "alert": {"diaSourcesList": rows}}).encode()


def texts(megabytes: float) -> bytes:
    """Make an alert of so many megabytes, most of it one text."""
    return json.dumps({"diaObjectId": 5, "cutout": "x" * int(megabytes * 1e6)}).encode()


def small_objects(megabytes: float, more: bytes = b"") -> bytes:
    """Make an alert of so many megabytes that takes 20 times as many as Python's objects."""
    return b'{%s"l": [' % more + b", ".join([b'{"a":1}'] * int(megabytes * 1e6 / 9)) + b"]}"


def keyed(count: int) -> list[bytes]:
    """Make alerts that each have an object keyed by an id of their own."""
    return [
        b'{"objectId": "ZTF%09d", "near": {"ZTF%09d": 1.5}}' % (n, n * 7919 % 10**9)
        for n in range(count)
    ]
