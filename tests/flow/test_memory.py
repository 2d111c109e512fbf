"""Memory stays bounded, and every value exact, for messages that are large or odd."""

from collections.abc import Callable

import duckdb
import pytest

from etl.audit.verify import verify
from etl.lake.layout import Lake
from tests.flow import checker
from tests.flow.alerts import keyed, small_objects, sources, texts
from tests.flow.drains import arguments, measured

pytestmark = pytest.mark.soak  # some hundred megabytes of messages

MOST_MB = 600


LARGE: dict[str, Callable[[], list[bytes]]] = {
    "40 of 9.7 MB, a text": lambda: [texts(9.7)] * 40,
    "24 of 8.1 MB, a list": lambda: [sources(8.1)] * 24,
    "8 of 9.7 MB, small objects": lambda: [small_objects(9.7)] * 8,
    "3 of 9.7 MB, each with a new field": lambda: [
        small_objects(9.7, b'"f%d": 1, ' % n) for n in range(3)
    ],
    "3 of 9.7 MB, two with a text for a number": lambda: [
        small_objects(9.7, b'"mag": %s, ' % mag) for mag in (b"1.5", b'"faint"', b'"faint"')
    ],
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", LARGE)
def test_large_messages_drain_in_bounded_memory(kafka, broker, topic, lake, tmp_path, name):
    """Whatever is in messages near the broker's limit, 600 MB are enough."""
    values = LARGE[name]()
    assert max(map(len, values)) < 9_999_000
    kafka.publish(topic, values, reports=False)
    done = measured(tmp_path, arguments(broker, lake, topic, connect_timeout=90))
    assert (done.code, done.closing["figures"]["alerts"]) == (0, len(values)), done.said
    assert done.peak_mb < MOST_MB, f"{done.peak_mb:.0f} MB"


@pytest.mark.timeout(300)
def test_object_keyed_by_ids_drains_in_bounded_memory(kafka, broker, topic, lake, tmp_path):
    """30,000 alerts with a new key each are one column of JSON text, and that is said once."""
    values = keyed(30_000)
    kafka.publish(topic, values, reports=False)
    done = measured(tmp_path, arguments(broker, lake, topic))
    assert (done.code, done.closing["figures"]["alerts"]) == (0, len(values)), done.said
    assert done.peak_mb < MOST_MB, f"{done.peak_mb:.0f} MB"
    assert sum("near" in note for note in done.closing["notes"]) == 1
    again = measured(tmp_path, arguments(broker, lake, topic))
    assert not any("near" in note for note in again.closing["notes"])
    with duckdb.connect(str(lake / "alerts.duckdb"), read_only=True) as public:
        types = dict(row[:2] for row in public.execute(f'DESCRIBE "{topic}"').fetchall())
        found = public.execute(
            f"SELECT count(*), count(DISTINCT json_keys(near)[1]), min((near->>'$.*')[1])"
            f' FROM "{topic}"'
        ).fetchall()
    assert types["near"] == "VARCHAR"
    assert found == [(30_000, 30_000, "1.5")]


@pytest.mark.timeout(300)
def test_object_keyed_by_ids_takes_no_longer_than_fields(kafka, broker, new_topic, tmp_path):
    """Such alerts take less than 3 times the processor's time of the same bytes in known fields."""
    taken = {}
    for name, values in {"fields": [*keyed(1)] * 30_000, "keys": keyed(30_000)}.items():
        topic = new_topic()
        kafka.publish(topic, values, reports=False)
        done = measured(tmp_path, arguments(broker, tmp_path / name, topic))
        assert done.code == 0, done.said
        taken[name] = done.cpu_s
    assert taken["keys"] < 3 * taken["fields"], taken


@pytest.mark.timeout(300)
def test_object_with_columns_learns_no_more_keys(kafka, broker, topic, lake, tmp_path):
    """Where the first run met few alerts, their keys are columns, and later ones are rescued."""
    kafka.publish(topic, keyed(10))
    measured(tmp_path, arguments(broker, lake, topic))
    kafka.publish(topic, keyed(10_000)[10:], reports=False)
    done = measured(tmp_path, arguments(broker, lake, topic))
    assert done.peak_mb < MOST_MB, f"{done.peak_mb:.0f} MB"
    (note,) = [note for note in done.closing["notes"] if "near" in note]
    assert "etl_rescued" in note
    found = checker.check(lake, {(topic, 1): checker.read_topic(broker, topic)})
    assert found.alerts == 10_000
    assert verify(Lake(lake)).complaints == ()


@pytest.mark.timeout(300)
def test_owner_of_a_topic_decides_what_is_text(kafka, broker, topic, lake, tmp_path):
    """What a topic's table in the settings names is JSON text from the first alert."""
    kafka.publish(topic, keyed(3))
    settings = tmp_path / "lasair-etl.toml"
    settings.write_text(f'[topic."{topic}"]\njson_columns = ["near"]\n', encoding="utf-8")
    measured(tmp_path, arguments(broker, lake, topic, config=settings))
    found = checker.check(lake, {(topic, 1): checker.read_topic(broker, topic)})
    assert found.alerts == 3
    with duckdb.connect(str(lake / "alerts.duckdb"), read_only=True) as public:
        rows = public.execute(f'SELECT near FROM "{topic}" ORDER BY objectId').fetchall()
    assert rows[0] == ('{"ZTF000000000": 1.5}',)
