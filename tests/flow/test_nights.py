"""Few alerts on many nights land in few files, and all that holds of a file holds of those."""

from datetime import UTC, datetime

import duckdb
import pytest

from etl.audit.verify import verify
from etl.lake.layout import Lake
from tests.flow import checker
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
