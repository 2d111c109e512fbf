import re
from itertools import pairwise, permutations

import pytest

from etl import errors
from etl.errors import PRECEDENCE, EtlError, gravest

ERRORS = [
    error
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, EtlError)
]


def test_one_code_stands_for_several():
    """Of several exit codes the one that stands last in the documented table is given."""
    table = (0, 75, 65, 77, 78, 74, 64, 70)
    assert table == PRECEDENCE
    for lower, higher in pairwise(table):
        for codes in permutations((0, lower, higher)):
            assert gravest(codes) == higher


def test_nothing_went_wrong():
    """A run in which nothing went wrong ends with 0."""
    assert gravest([]) == gravest([0, 0]) == 0


def test_unknown_code_is_no_answer():
    """A code that is not in the table can't stand for a run."""
    with pytest.raises(ValueError, match="not in tuple"):
        gravest([0, 1])


@pytest.mark.parametrize("error", ERRORS)
def test_each_error_has_a_code_that_cron_knows(error: type[EtlError]):
    """Every error has one of the documented exit codes, never 0, and a promise in words."""
    assert error.exit_code in PRECEDENCE[1:]
    assert re.fullmatch(r"[A-Z].*\.", (error.__doc__ or "").splitlines()[0])


def test_codes_of_the_documented_table():
    """Each exit code stands for what the table says."""
    assert {error.__name__: error.exit_code for error in ERRORS} == {
        "EtlError": 70,
        "TryLater": 75,
        "BrokerUnreachable": 75,
        "LakeBusy": 75,
        "OffsetsMoved": 75,
        "DataAtRisk": 65,
        "AccessDenied": 77,
        "WrongSettings": 78,
        "UnknownCluster": 78,
        "LakeNotWritable": 74,
        "WrongUsage": 64,
    }
