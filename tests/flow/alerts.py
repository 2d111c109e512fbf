"""Small made-up alerts for tests of the flow; what alerts look like is for other tests."""

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
