"""Memory stays bounded whatever the backlog, and the largest alerts pass."""

import json
from datetime import UTC, datetime

import duckdb
import pytest

from etl.demo.alerts import alerts
from tests.flow import checker
from tests.flow.drains import arguments, drain, measured

MILLION = 1_000_000
FEWER = 200_000
MOST_MB = 600


@pytest.mark.parametrize("backlog", [FEWER, pytest.param(MILLION, marks=pytest.mark.soak)])
def test_a_large_backlog_drains_in_bounded_memory(kafka, broker, topic, lake, tmp_path, backlog):
    """A backlog of plain alerts, however large, is drained with less than 600 MB at the peak."""
    some = list(alerts("plain", 20_000, now=datetime(2026, 3, 1, tzinfo=UTC)))
    kafka.publish(
        topic, (value for _ in range(backlog // len(some)) for value in some), reports=False
    )
    done = measured(tmp_path, arguments(broker, lake, topic))
    assert (done.code, done.closing["figures"]["alerts"]) == (0, backlog), done.said
    assert done.peak_mb < MOST_MB, f"{done.peak_mb:.0f} MB"
    with duckdb.connect(str(lake / "alerts.duckdb"), read_only=True) as public:
        one = public.execute(
            f"SELECT count(*), count(DISTINCT kafka_partition * 10000000 + kafka_offset), "
            f'max(kafka_offset) FROM "{topic}"'
        ).fetchall()
    assert one == [(backlog, backlog, backlog // 8 - 1)]
    checker.check_tiling(checker.read_catalog(lake))


def test_full_alert_of_eight_megabytes_passes(kafka, broker, topic, lake):
    """An alert near the broker's limit arrives whole, between small ones."""
    sources = [
        {"diaSourceId": 313637935709683761 + n, "psfFlux": n / 7, "note": "x" * 1000}
        for n in range(8_000)
    ]
    big = json.dumps({"diaObjectId": 5, "alert": {"diaSourcesList": sources}}).encode()
    assert len(big) > 8_000_000
    small = list(alerts("full", 2, now=datetime(2026, 3, 1, tzinfo=UTC)))
    kafka.publish(topic, [small[0], big, small[1]], partitions=1)
    drain(broker, lake, topic)
    log = checker.read_topic(broker, topic)
    assert checker.check(lake, {(topic, 1): log}).alerts == 3
