"""Exit codes, and the errors that end with them.

A message that can't be decoded is no error but data, see `etl.records.Reject`.
"""

from collections.abc import Iterable

OK = 0
TRY_LATER = 75
DATA_AT_RISK = 65
ACCESS_DENIED = 77
WRONG_SETTINGS = 78
LAKE_NOT_WRITABLE = 74
WRONG_USAGE = 64
BUG = 70
# What each code means, in a few words. Where several apply, the last one in this table wins. The
# help text and the report show these words; a test holds the README's table against them.
EXIT_MEANINGS = {
    OK: "done",
    TRY_LATER: "try later",
    DATA_AT_RISK: "data at risk",
    ACCESS_DENIED: "access denied",
    WRONG_SETTINGS: "wrong settings",
    LAKE_NOT_WRITABLE: "the lake can't be written",
    WRONG_USAGE: "wrong usage",
    BUG: "a bug",
}
PRECEDENCE = tuple(EXIT_MEANINGS)


def gravest(codes: Iterable[int]) -> int:
    """Return the one exit code that stands for several: the last of them in `PRECEDENCE`.

    >>> gravest([0, 75, 65])
    65
    """
    return max(codes, key=PRECEDENCE.index, default=OK)


class EtlError(Exception):
    """Something other than the data is broken; the message names the next step."""

    exit_code = BUG


class TryLater(EtlError):
    """Nothing is lost, and the same command may work later."""

    exit_code = TRY_LATER


class BrokerUnreachable(TryLater):
    """The broker can't be reached, or does not answer."""


class LakeBusy(TryLater):
    """Another run holds the lake's lock."""


class OffsetsMoved(TryLater):
    """The catalog's offsets are not where this run found them."""


class DataAtRisk(EtlError):
    """Alerts are lost, or what is stored does not add up."""

    exit_code = DATA_AT_RISK


class AccessDenied(EtlError):
    """The broker refuses this user, or this user may not read this topic."""

    exit_code = ACCESS_DENIED


class WrongSettings(EtlError):
    """A setting, or the lake that it names, is not usable as it is."""

    exit_code = WRONG_SETTINGS


class UnknownCluster(WrongSettings):
    """The settings lead to a cluster that the lake does not know, and the user has to say why."""


class LakeNotWritable(EtlError):
    """The lake's file system refuses to take data: full, read-only, no permission."""

    exit_code = LAKE_NOT_WRITABLE


class WrongUsage(EtlError):
    """The command line asks for something that does not exist."""

    exit_code = WRONG_USAGE
