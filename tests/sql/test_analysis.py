"""The worked queries, on real and on simulated alerts, against what plain Python says of them."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from etl.config.settings import Settings
from etl.demo.alerts import alerts
from etl.jobs.compact import compact
from etl.lake.layout import Lake
from etl.read.published import Published
from etl.read.worked_queries import analyses
from tests.sql.lakes import Writer, altered

NOW = datetime(2026, 2, 20, tzinfo=UTC)
SIMULATED = {"plain": 300, "lite": 90, "full": 9}
Key = tuple[str, int, str]


@dataclass(frozen=True, slots=True)
class Kept:
    """A lake, and what was put into it: each topic's alerts, in order."""

    lake: Lake
    sent: dict[str, list[dict[str, Any]]]

    def ask(self, name: str, **variables: Any) -> list[dict[str, Any]]:
        """Run a worked query."""
        chosen = {key: str(value) for key, value in variables.items()}
        with Published(self.lake) as published:
            answer = published.ask(analyses()[name].sql, chosen)
            names = answer.schema.names
            return [dict(zip(names, row, strict=True)) for row in answer.rows()]

    def passed(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Go through the alerts that are no examples, the newest first."""
        for topic, found in self.sent.items():
            yield from ((topic, each) for each in reversed(found) if "UTC" in each)

    def points(self, listed: str = "diaSourcesList") -> dict[Key, list[dict[str, Any]]]:
        """Gather the measurements of each topic, object and band, in order of time."""
        taken: set[tuple[Any, ...]] = set()
        found: dict[Key, list[dict[str, Any]]] = defaultdict(list)
        for topic, alert in self.passed():
            new = set()
            for number, each in enumerate(alert.get("alert", {}).get(listed, ())):
                ident = each.get("diaSourceId", each.get("diaForcedSourceId"))
                same = ident or (each["midpointMjdTai"], each["band"])
                if (topic, alert["diaObjectId"], same) not in taken:
                    new.add((topic, alert["diaObjectId"], same))
                    found[topic, alert["diaObjectId"], each["band"]].append(each | {"n": number})
            taken |= new
        for each in found.values():
            each.sort(key=lambda point: point["midpointMjdTai"])
        return dict(found)

    def nights(self) -> dict[Key, list[tuple[int, float, float, float]]]:
        """Average detections over each night: number, time, flux and its error."""
        averaged = {}
        for key, points in self.points().items():
            night: dict[int, list[tuple[float, float, float]]] = defaultdict(list)
            for each in points:
                mjd, flux, error = each["midpointMjdTai"], each["psfFlux"], each["psfFluxErr"]
                if flux is not None and error and math.isfinite(flux + error):
                    night[math.floor(mjd - 0.5)].append((mjd, flux, error))
            averaged[key] = [
                (
                    number,
                    sum(mjd for mjd, _, _ in seen) / len(seen),
                    sum(f / e**2 for _, f, e in seen) / sum(1 / e**2 for _, _, e in seen),
                    sum(1 / e**2 for _, _, e in seen) ** -0.5,
                )
                for number, seen in sorted(night.items())
            ]
        return averaged


def mag(flux_njy: float) -> float:
    """Return an AB magnitude."""
    return 31.4 - 2.5 * math.log10(flux_njy)


def kept(root: Path, sent: dict[str, list[bytes]]) -> Kept:
    """Write each topic in three runs, a day apart."""
    writer = Writer(root)
    for topic, values in sent.items():
        third = -(-len(values) // 3)
        for turn in range(3):
            values_now = values[turn * third : (turn + 1) * third]
            writer.run(values_now, topic=topic, hours=24 * turn)
    expected = {topic: [json.loads(value) for value in values] for topic, values in sent.items()}
    return Kept(writer.close(), expected)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """Make a lake of simulated alerts."""
    sent = {f"lasair_{k}": list(alerts(k, n, now=NOW)) for k, n in SIMULATED.items()}
    return kept(tmp_path_factory.mktemp("simulated") / "lake", sent)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, real_alerts: dict[str, list[bytes]]) -> Kept:
    """Make a lake of real alerts."""
    sent = {f"lasair_{name}": values for name, values in real_alerts.items()}
    return kept(tmp_path_factory.mktemp("real") / "lake", sent)


@pytest.fixture(params=["real", "simulated"])
def held(request: pytest.FixtureRequest) -> Kept:
    """Return one lake after the other."""
    found: Kept = request.getfixturevalue(request.param)
    return found


def object_of(alert: dict[str, Any]) -> str:
    """Name the object of an alert."""
    return str(alert.get("diaObjectId") or alert["objectId"])


def test_alerts_per_night(held: Kept) -> None:
    """Each topic's alerts are counted, without the examples."""
    counted: Counter[str] = Counter()
    for row in held.ask("alerts_per_night"):
        counted[row["kafka_topic"]] += row["alerts"]
        assert 0 < row["objects"] <= row["alerts"]
    assert counted == Counter(topic for topic, _ in held.passed())


def test_new_with_host(held: Kept) -> None:
    """The objects first seen since a time are given with their class, if that means a galaxy."""
    expected = {
        (topic, object_of(alert))
        for topic, alert in reversed(list(held.passed()))
        if alert.get("classification") in ("SN", "NT", "AGN")
    }
    rows = held.ask("new_with_host", since="2000-01-01")
    assert {(row["kafka_topic"], row["object_id"]) for row in rows} == expected
    assert expected
    few = held.ask("new_with_host", since="2000-01-01", classes="SN")
    assert {row["classification"] for row in few} == {"SN"}
    tonight = held.ask("new_with_host")
    assert len(tonight) < len(rows)
    assert held.ask("new_with_host", since="2100-01-01") == []


def test_brightening(held: Kept) -> None:
    """An object is named if its flux rose fast enough to the newest night from the one before."""
    expected = {}
    for key, nights in held.nights().items():
        for before, after in pairwise(nights[-2:]):
            if before[2] < 5 * before[3] or after[2] < 5 * after[3]:
                continue
            expected[key] = (mag(before[2]) - mag(after[2])) / (after[1] - before[1])
    rates = sorted(expected.values())
    low = rates[len(rates) * 2 // 3]
    limit = (low + min(rate for rate in rates if rate > low + 1e-6)) / 2  # on none of them
    rows = held.ask("brightening", mag_per_day=limit)
    found = {
        (row["kafka_topic"], int(row["object_id"]), row["band"]): row["mag_per_day"] for row in rows
    }
    assert found == pytest.approx({k: v for k, v in expected.items() if v > limit})
    assert found


def test_colour_evolution(held: Kept) -> None:
    """A colour is given for each night in which both bands have a positive flux."""
    nights = held.nights()
    expected = {}
    for (topic, ident, band), seen in nights.items():
        red = {night[0]: night for night in nights.get((topic, ident, "r"), ())}
        for number, _, flux, _ in seen:
            if band == "g" and number in red and flux > 0 and red[number][2] > 0:
                expected[topic, ident, number] = mag(flux) - mag(red[number][2])
    rows = held.ask("colour_evolution")
    found = {(r["kafka_topic"], int(r["object_id"]), r["mjd_night"]): r["colour_mag"] for r in rows}
    assert found == pytest.approx(expected)
    assert found
    one = rows[0]["object_id"]
    chosen = held.ask("colour_evolution", object=one)
    assert [r["mjd_night"] for r in chosen] == [
        r["mjd_night"] for r in rows if r["object_id"] == one
    ]
    turned = held.ask("colour_evolution", object=one, blue="r", red="g")
    assert turned[0]["colour_mag"] == pytest.approx(-rows[0]["colour_mag"])


def test_came_back(held: Kept) -> None:
    """Each return of an object after a long quiet is one row, with its length."""
    times: dict[tuple[str, int], list[float]] = defaultdict(list)
    for (topic, ident, _), points in held.points().items():
        times[topic, ident] += [point["midpointMjdTai"] for point in points]
    gaps = [
        (topic, ident, after, after - before)
        for (topic, ident), seen in times.items()
        for before, after in pairwise(sorted(seen))
    ]
    limit = sorted(gap[3] for gap in gaps)[-6]
    rows = held.ask("came_back", quiet_days=limit)
    found = [
        (r["kafka_topic"], int(r["object_id"]), r["back_mjd_tai"], r["quiet_days"]) for r in rows
    ]
    assert sorted(found) == sorted(gap for gap in gaps if gap[3] >= limit)
    assert len(held.ask("came_back")) == sum(gap[3] >= 30 for gap in gaps)


def test_latency(held: Kept) -> None:
    """The medians are those of the times in the alerts; a topic without them has NULL."""
    expected: dict[str, list[float]] = defaultdict(list)
    for topic, alert in held.passed():
        if "lastDiaSourceMjdTai" in alert:
            sent = datetime.fromisoformat(alert["UTC"]).replace(tzinfo=UTC).timestamp()
            seen = (alert["lastDiaSourceMjdTai"] - 40587) * 86400 - 37
            expected[topic].append(sent - seen)
    for row in held.ask("latency"):
        steps = [row["observed_to_sent_s"], row["sent_to_broker_s"], row["broker_to_stored_s"]]
        if row["kafka_topic"] not in expected:
            assert row["observed_to_stored_s"] is None
            continue
        low, high = min(expected[row["kafka_topic"]]), max(expected[row["kafka_topic"]])
        assert low - 1e-3 <= steps[0] <= high + 1e-3
        if row["alerts"] == 1:
            assert row["observed_to_stored_s"] == pytest.approx(sum(steps))


def test_completeness(held: Kept) -> None:
    """Where all is well, every message that is expected is stored."""
    rows = held.ask("completeness")
    assert sum(row["stored"] for row in rows) == sum(map(len, held.sent.values()))
    assert all(row["expected"] == row["stored"] and row["missing"] == 0 for row in rows)


def test_completeness_tells_what_is_not_there(lake: Path) -> None:
    """Rejects and losses stand in their night; what the catalog has and no file, is missing."""
    writer = Writer(lake)
    writer.run([b'{"n": 1}', b"not json"])
    writer.run([b'{"n": 2}', b'{"n": 3}', b'{"n": 4}'], hours=24, lost=7)
    writer.catalog.publish()
    found = Kept(writer.lake, {}).ask("completeness")
    columns = ("expected", "stored", "rejected", "lost", "missing")
    assert [[row[name] for name in columns] for row in found] == [[10, 3, 0, 7, 0], [2, 1, 1, 0, 0]]
    writer.catalog.define("UPDATE etl.files SET rows = rows + 5 WHERE kind = 'alerts'")
    writer.catalog.publish()
    assert [row["missing"] for row in Kept(writer.lake, {}).ask("completeness")] == [5, 5]
    writer.close()


def test_completeness_is_that_of_each_night_where_files_hold_several(lake: Path) -> None:
    """Compaction changes no night's figures; what is missing then shows in its month."""
    writer = Writer(lake)
    for night in range(3):
        for turn in range(4):
            writer.run([b'{"n": 1}', b"not json"] * (night + 1), hours=24 * night + turn)
    writer.close()
    before = Kept(writer.lake, {}).ask("completeness")
    assert compact(Settings("", "", (), lake)).files_after == 2
    assert Kept(writer.lake, {}).ask("completeness") == before
    with altered(writer.lake) as public:
        public.execute("UPDATE etl.files SET rows = rows + 5 WHERE last_night IS NOT NULL")
    missing = [row["missing"] for row in Kept(writer.lake, {}).ask("completeness")]
    assert missing == [0, 0, 10]


def test_rising_and_fading(held: Kept) -> None:
    """Each step of an object from night to night is rising, fading or steady."""
    expected: Counter[tuple[str, int, str, str]] = Counter()
    for (topic, _, band), nights in held.nights().items():
        for before, after in pairwise(nights):
            change = (after[2] - before[2]) / math.hypot(before[3], after[3])
            kind = "rising" if change >= 2 else "fading" if change <= -2 else "steady"
            expected[topic, after[0], band, kind] += 1
    found: Counter[tuple[str, int, str, str]] = Counter()
    for row in held.ask("rising_and_fading", sigma=2):
        for kind in ("rising", "fading", "steady"):
            found[row["kafka_topic"], row["mjd_night"], row["band"], kind] += row[kind]
    assert found == expected
    assert {key[3] for key in +found} == {"rising", "fading", "steady"}


def test_busiest_sky(held: Kept) -> None:
    """Every alert that has a place is counted in one cell; a cell's mean place lies in it."""
    rows = held.ask("busiest_sky")
    placed = [a for _, a in held.passed() if "ra" in a or "ramean" in a]
    assert sum(row["alerts"] for row in rows) == len(placed)
    assert [row["alerts"] for row in rows] == sorted((r["alerts"] for r in rows), reverse=True)
    assert all(-90 <= row["galactic_latitude"] <= 90 for row in rows)
    whole = held.ask("busiest_sky", order=0)
    assert len(whole) <= 12
    assert sum(row["alerts"] for row in whole) == len(placed)
    assert held.ask("busiest_sky", order=40) == []  # there are no cells so small


def test_detections_and_forced(held: Kept) -> None:
    """Detections are compared with the forced photometry of the same time and band."""
    forced = held.points("diaForcedSourcesList")
    differences: dict[tuple[str, str], list[float]] = defaultdict(list)
    for (topic, ident, band), points in held.points().items():
        for each in points:
            differences[topic, band] += [
                each["psfFlux"] - other["psfFlux"]
                for other in forced.get((topic, ident, band), ())
                if other["midpointMjdTai"] == each["midpointMjdTai"]
            ]
    rows = held.ask("detections_and_forced")
    found = {(r["kafka_topic"], r["band"]): (r["pairs"], r["median_difference_njy"]) for r in rows}
    expected = {key: (len(each), median(each)) for key, each in differences.items() if each}
    assert found == {key: (n, pytest.approx(m)) for key, (n, m) in expected.items()}
    assert found


EMPTY_LAKES: dict[str, Callable[[Writer], object]] = {
    "nothing yet": lambda writer: writer.run([], topic="lasair_none"),
    "other fields": lambda writer: writer.run([b'{"UTC": "2026-02-14 13:41:02", "x": 1}']),
    "other types": lambda writer: writer.run(
        [
            json.dumps(
                {
                    "UTC": "2026-02-14 13:41:02",
                    "diaObjectId": 5,
                    "classification": {"a": 1},
                    "lastDiaSourceMjdTai": [1],
                    "change": "x",
                    "days": {},
                }
            ).encode()
        ]
    ),
    "no UTC": lambda writer: writer.run([b'{"diaObjectId": 5, "ra": "x", "utc": [1]}']),
}


@pytest.mark.parametrize("case", EMPTY_LAKES)
def test_worked_queries_answer_on_any_lake(lake: Path, case: str) -> None:
    """A lake without the fields that a query is about gives no rows or NULL, and no error."""
    writer = Writer(lake)
    EMPTY_LAKES[case](writer)
    held = Kept(writer.close(), {})
    for name in analyses():
        held.ask(name)


def test_there_are_ten() -> None:
    """Each worked query says in its first sentence what it answers, and names its variables."""
    found = analyses()
    assert len(found) == 10
    for each in found.values():
        assert "?" in each.answers
        for variable in each.variables:
            assert f"`{variable}`" in each.answers
