"""What can be wrong with the world, each with the exit code that tells cron what to do.

Bad messages are not errors here: they are data, see `etl.records.Reject`.
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
PRECEDENCE = (
    OK,
    TRY_LATER,
    DATA_AT_RISK,
    ACCESS_DENIED,
    WRONG_SETTINGS,
    LAKE_NOT_WRITABLE,
    WRONG_USAGE,
    BUG,
)


def gravest(codes: Iterable[int]) -> int:
    """Say the one exit code that stands for several: the last of them in `PRECEDENCE`.

    >>> gravest([0, 75, 65])
    65
    """
    return max(codes, key=PRECEDENCE.index, default=OK)


class EtlError(Exception):
    """Something outside the data is broken; the message names the next step."""

    exit_code = BUG


class TryLater(EtlError):
    """Nothing is lost, and the same command may work in a while."""

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


class LakeNotWritable(EtlError):
    """The lake's file system refuses to take data: full, read-only, no permission."""

    exit_code = LAKE_NOT_WRITABLE


class WrongUsage(EtlError):
    """The command line asks for something that does not exist."""

    exit_code = WRONG_USAGE
