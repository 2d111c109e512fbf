"""Few alerts on many nights land in few files, and all that holds of a file holds of those."""

from datetime import UTC, datetime

import duckdb
import pytest

from etl.audit.verify import verify
from etl.lake.layout import Lake
from tests.flow import checker
from tests.flow.alerts import small_alerts
from tests.flow.drains import drain
from tests.sampling import one_in

DAY_MS = 86_400_000
FIRST_MS = round(datetime(2020, 1, 1, 15, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize("step_days", one_in(3, [40, 1, 1300]))
def test_messages_on_2000_days_become_a_few_files(kafka, broker, topic, lake, step_days):
    """However far apart their nights are, few alerts are few files, each row in its night."""
    values = [b'{"n": %d}' % n if n % 100 else b"not json" for n in range(2000)]
    kafka.publish(
        topic, values, timestamp_ms=lambda n: FIRST_MS + n * step_days * DAY_MS, partitions=1
    )
    drain(broker, lake, topic)
    log = checker.read_topic(broker, topic)
    found = checker.check(lake, {(topic, 1): log})
    assert (found.alerts, found.rejects) == (1980, 20)
    assert found.files <= 12
    report = verify(Lake(lake))
    assert report.complaints == ()
    with duckdb.connect(str(lake / "alerts.duckdb"), read_only=True) as public:
        wrong = public.execute(
            f'SELECT count(*), count(DISTINCT night) FROM "{topic}"'
            " WHERE night = (kafka_timestamp - INTERVAL 12 HOURS)::DATE"
        ).fetchall()
    assert wrong == [(1980, 1980)]


def test_changed_night_starts_is_said_once_and_misfiles_nothing(
    kafka, broker, topic, lake, tmp_path
):
    """What is stored keeps its night, what comes is filed by the new hour, and both compact."""
    said = []
    for hours in (12, 20, 20, 0):
        config = tmp_path / f"{hours}.toml"
        config.write_text(f"night_starts = {hours}\n", encoding="utf-8")
        kafka.publish(
            topic,
            [*small_alerts(16), b"no json"],
            partitions=1,
            timestamp_ms=lambda n: FIRST_MS + n * DAY_MS // 8,
        )
        said.append("night_starts" in drain(broker, lake, topic, config=config).err)
    assert said == [False, True, False, True]
    catalog = checker.read_catalog(lake)
    checker.check_tiling(catalog)
    assert any(file["retired_at"] for file in catalog.files), "nothing was compacted"
    assert verify(Lake(lake)).complaints == ()
    with duckdb.connect(str(lake / "alerts.duckdb"), read_only=True) as public:
        (counted,) = public.execute(
            "SELECT count(*), count(DISTINCT kafka_offset), count_if(night IS DISTINCT FROM"
            " (kafka_timestamp - to_seconds(night_starts * 3600))::DATE)"
            f' FROM "{topic}" JOIN etl.runs ON run_id = etl_run_id'
        ).fetchall()
        assert counted == (64, 64, 0)
        for night, rows in public.execute(
            f'SELECT night, count(*) FROM "{topic}" GROUP BY night'
        ).fetchall():
            (asked,) = public.execute(
                f'SELECT count(*) FROM "{topic}" WHERE night = ?', [night]
            ).fetchall()
            assert asked == (rows,)
