import logging

import pytest

from etl.errors import (
    DATA_AT_RISK,
    LAKE_NOT_WRITABLE,
    OK,
    TRY_LATER,
    BrokerUnreachable,
    DataAtRisk,
    EtlError,
    LakeNotWritable,
)
from etl.jobs import findings
from etl.jobs.findings import Finding, Findings
from etl.records import Figures, Gap, Span


def test_nothing_found() -> None:
    """A run that finds nothing ends with 0 and without a message."""
    assert (Findings().exit_code, Findings().sentences, Findings().message) == (OK, (), None)


def test_the_gravest_code_and_all_sentences(caplog: pytest.LogCaptureFixture) -> None:
    """Several findings have the gravest code, all their sentences in order, and a log line each."""
    found = Findings()
    with caplog.at_level(logging.WARNING):
        found.add(Finding(TRY_LATER, "silent"), Finding(DATA_AT_RISK, "lost"), Finding(OK, "new"))
    assert found.exit_code == DATA_AT_RISK
    assert found.sentences == ("silent", "lost", "new")
    assert found.message == "silent; lost; new"
    assert caplog.messages == ["silent", "lost", "new"]


def test_each_gap_is_a_finding() -> None:
    """A gap puts data at risk, and its sentence has the place and the offsets."""
    gaps = [Gap(Span("t", 1, 3, 5, 9), "retention"), Gap(Span("t", 1, 4, 0, 1), "retention")]
    found = list(findings.lost_offsets(gaps))
    assert [each.code for each in found] == [DATA_AT_RISK, DATA_AT_RISK]
    assert found[0].sentence.startswith("t[3]: offsets 5 to 9 are lost: retention")


@pytest.mark.parametrize(("rejects", "codes"), [(0, []), (10, []), (11, [DATA_AT_RISK])])
def test_rejects_up_to_the_limit_are_no_finding(rejects: int, codes: list[int]) -> None:
    """Only more rejects than the limit, in percent of all messages, put data at risk."""
    figures = Figures(alerts=100 - rejects, rejects=rejects)
    assert [each.code for each in findings.too_many_rejects(figures, 10)] == codes


def test_a_run_without_messages_has_no_share_of_rejects() -> None:
    """Nothing read is not too many rejects, even where the limit is zero."""
    assert list(findings.too_many_rejects(Figures(), 0)) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LakeNotWritable("disk full"), LAKE_NOT_WRITABLE),
        (DataAtRisk("damaged"), DATA_AT_RISK),
        (BrokerUnreachable("silent"), OK),
    ],
)
def test_a_failed_compaction_does_not_undo_a_drain(error: EtlError, code: int) -> None:
    """Only a full lake and a damaged file change the exit code of the drain before it."""
    assert findings.failed_compaction(error) == Finding(code, f"not compacted: {error}")


def test_a_long_list_is_cut() -> None:
    """Many offsets that the group has moved are named in part, with the number of the others."""
    (found,) = findings.moved_group("g", [f"t[{n}]" for n in range(9)])
    assert "(t[0], t[1], t[2], t[3], t[4] and 4 more)" in found.sentence
    assert list(findings.moved_group("g", [])) == []
