import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from etl.astro import BANDS
from etl.demo.alerts import KINDS, alerts

NOW = datetime(2026, 3, 1, 15, tzinfo=UTC)
MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
REAL = Path(__file__).resolve().parents[4] / "shared" / "alerts"
SELECTED_TOO = {"*_psfFlux"}  # simulated plain alerts select fluxes that the real ones don't

needs_real_alerts = pytest.mark.skipif(not REAL.is_dir(), reason="the real alerts are not here")
every_kind = pytest.mark.parametrize("kind", KINDS)


@cache
def objects(kind: str, count: int, **settings: int) -> list[dict[str, Any]]:
    """Decode simulated alerts; tests share them and leave them as they are."""
    return [json.loads(value) for value in alerts(kind, count, now=NOW, **settings)]


@cache
def real(name: str) -> list[dict[str, Any]]:
    """Decode the real alerts of one file."""
    lines = (REAL / f"{name}.ndjson").read_text().splitlines()
    return [json.loads(line) for line in lines]


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Walk through all values that are no containers; the six bands count as one."""
    if isinstance(value, dict):
        for name, inner in value.items():
            renamed = "decl" if name == "dec" else re.sub("^[ugrizy]_", "*_", name)
            yield from leaves(inner, f"{path}.{renamed}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, f"{path}[]")
    else:
        yield path, value


def types(messages: list[dict[str, Any]]) -> dict[str, set[type]]:
    """Collect the types that each path has."""
    found: dict[str, set[type]] = defaultdict(set)
    for message in messages:
        for path, value in leaves(message):
            found[path].add(type(value))
    return found


def sources(alert: dict[str, Any]) -> list[dict[str, Any]]:
    """Return an alert's detections, newest first."""
    return list(alert["alert"]["diaSourcesList"])


def forced(alert: dict[str, Any]) -> list[dict[str, Any]]:
    """Return an alert's forced measurements, newest first."""
    return list(alert["alert"]["diaForcedSourcesList"])


def by_object(kind: str, count: int) -> dict[int, list[dict[str, Any]]]:
    """Collect the alerts of each object, in the order in which they are sent."""
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for alert in objects(kind, count):
        found[alert["diaObjectId"]].append(alert)
    return found


@every_kind
def test_the_same_arguments_give_the_same_bytes(kind: str) -> None:
    """Kind, count, seed and time determine every byte."""
    assert list(alerts(kind, 15, 7, now=NOW)) == list(alerts(kind, 15, 7, now=NOW))


def test_a_time_is_the_same_time_in_every_zone() -> None:
    """An aware `now` means a moment, in whatever zone it is written."""
    abroad = NOW.astimezone(timezone(timedelta(hours=13)))
    assert list(alerts("plain", 50, now=abroad)) == list(alerts("plain", 50, now=NOW))


@every_kind
def test_another_seed_gives_other_objects(kind: str) -> None:
    """No object of one seed is an object of another."""
    one, other = ({a["diaObjectId"] for a in objects(kind, 15, seed=s)} for s in (1, 2))
    assert not one & other


def test_kinds_share_no_objects() -> None:
    """Topics of different kinds never tell different stories about one object."""
    ids = [{alert["diaObjectId"] for alert in objects(kind, 10)} for kind in KINDS]
    assert len(set.union(*ids)) == sum(map(len, ids))


@pytest.mark.parametrize("count", [0, 1, 4, 5, 11, 59, 60, 61, 1003])
def test_as_many_alerts_as_asked_for(count: int) -> None:
    """The count is exact, also where it doesn't divide into nights."""
    assert len(list(alerts("plain", count, now=NOW))) == count


@every_kind
@pytest.mark.parametrize("examples", [0, 3, 10, 40])
def test_exactly_the_examples_lack_utc(kind: str, examples: int) -> None:
    """The first alerts, and only they, have no `UTC`, like Lasair's examples."""
    with_utc = ["UTC" in alert for alert in objects(kind, 25, examples=examples)]
    assert with_utc == [n >= examples for n in range(25)]


def test_examples_change_nothing_but_utc() -> None:
    """An example has the same content as the alert that it would otherwise be."""
    plain, examples = objects("plain", 30, examples=0), objects("plain", 30, examples=30)
    assert [{k: v for k, v in a.items() if k != "UTC"} for a in plain] == examples


@needs_real_alerts
@every_kind
def test_every_value_has_a_type_of_the_real_one(kind: str) -> None:
    """Path by path, a simulated value is of a type that the real alerts have there."""
    known = types(real(f"lsst_{kind}") + real("lsst_objects_row"))
    for path, found in types(objects(kind, 40)).items():
        assert found <= known[path], path


@needs_real_alerts
@every_kind
def test_fields_are_those_of_the_real_alerts(kind: str) -> None:
    """No field of the real alerts is missing, and none is made up."""
    wanted = set(types(real(f"lsst_{kind}")))
    found = set(types(objects(kind, 40)))
    assert found - (SELECTED_TOO if kind == "plain" else set()) == wanted


@needs_real_alerts
def test_full_alerts_have_the_order_of_the_real_one() -> None:
    """Fields of a packet, an object and a source come in the order in which Lasair sends them."""
    wanted, found = real("lsst_full")[0], objects("full", 15, examples=0)[0]
    assert [name for name in found if name != "nDiaSources"] == list(wanted)
    assert list(found["alert"]) == list(wanted["alert"])
    assert list(found["alert"]["diaObject"]) == list(wanted["alert"]["diaObject"])
    assert list(sources(found)[0]) == list(sources(wanted)[0])


@needs_real_alerts
def test_nan_stands_only_where_the_real_alerts_have_it() -> None:
    """NaN tokens mark missing statistics and unfitted figures, as in the real full alert."""

    def nans(messages: list[dict[str, Any]]) -> set[str]:
        return {p for message in messages for p, v in leaves(message) if v != v}  # noqa: PLR0124

    assert nans(objects("full", 40)) <= nans(real("lsst_full") + real("lsst_objects_row")) | {
        f"alert.diaObject.{path}" for path in nans(real("lsst_objects_row"))
    }


def test_full_alerts_hold_nan_tokens() -> None:
    """Each full alert is JSON only to those who accept `NaN`; the other kinds are strict JSON."""
    assert all(b": NaN" in value for value in alerts("full", 10, now=NOW))
    assert not any(b"NaN" in value for value in alerts("lite", 20, now=NOW))


def test_nulls_come_with_numbers() -> None:
    """Where a real value may be null, some are, and some are not."""
    fluxes = [alert["g_psfFlux"] for alert in objects("plain", 200)]
    trails = [s["trailFlux"] for alert in objects("full", 40) for s in sources(alert)]
    for values in fluxes, trails:
        assert 0 < values.count(None) < len(values)


@every_kind
def test_ids_are_exact_and_need_more_than_a_double(kind: str) -> None:
    """Ids are integers of 18 digits, written as such, and not what a double makes of them."""
    values = list(alerts(kind, 20, now=NOW))
    ids = [json.loads(value)["diaObjectId"] for value in values]
    assert all(b'{"diaObjectId": %d, ' % i in v for i, v in zip(ids, values, strict=True))
    assert all(len(str(i)) == 18 for i in ids)
    assert any(int(float(i)) != i for i in ids)


def test_source_ids_are_unique_and_tell_their_object() -> None:
    """No two measurements share an id, and each names the object of its alert."""
    seen: dict[int, int] = {}
    for alert in objects("full", 40):
        for source in sources(alert):
            assert source["diaObjectId"] == alert["diaObjectId"]
            owner = seen.setdefault(source["diaSourceId"], alert["diaObjectId"])
            assert owner == alert["diaObjectId"]
    assert max(seen) < 2**63


@pytest.mark.parametrize(("kind", "count"), [("lite", 200), ("full", 40)])
def test_histories_grow_and_never_change(kind: str, count: int) -> None:
    """An object's later alert ends with all that the earlier one showed, unchanged."""
    repeated = [shown for shown in by_object(kind, count).values() if len(shown) > 1]
    assert repeated
    for shown in repeated:
        for earlier, later in pairwise(shown):
            assert later["lastDiaSourceMjdTai"] > earlier["lastDiaSourceMjdTai"] + 0.5
            assert later["firstDiaSourceMjdTai"] == earlier["firstDiaSourceMjdTai"]
            for part in sources, forced:
                old, new = json.dumps(part(earlier))[1:-1], json.dumps(part(later))[1:-1]
                assert new.endswith(old)
                assert len(new) > len(old)


@every_kind
def test_the_attributes_agree_with_the_light_curve(kind: str) -> None:
    """Count, first and last time in the attributes are those of the detections."""
    for alert in objects(kind, 40):
        assert alert["firstDiaSourceMjdTai"] <= alert["lastDiaSourceMjdTai"]
        if kind != "plain":
            times = [source["midpointMjdTai"] for source in sources(alert)]
            assert times == sorted(times, reverse=True)
            assert alert["nDiaSources"] == len(times)
            assert alert["lastDiaSourceMjdTai"] == times[0]
            assert alert["firstDiaSourceMjdTai"] == times[-1]


def test_a_third_of_the_alerts_are_repeats() -> None:
    """About one alert in three shows an object that was shown before."""
    found = by_object("plain", 3000)
    assert 0.28 < 1 - len(found) / 3000 < 0.38


@pytest.mark.parametrize(
    ("kind", "count", "least", "most"),
    [("plain", 1000, 280, 320), ("lite", 400, 20_000, 40_000), ("full", 80, 200_000, 450_000)],
)
def test_sizes_are_those_that_lasair_sends(kind: str, count: int, least: int, most: int) -> None:
    """Alerts are as large as described on average; light curves differ much in length."""
    sizes = [len(value) for value in alerts(kind, count, now=NOW)]
    assert least < sum(sizes) / count < most
    if kind != "plain":
        assert max(sizes) > 10 * min(sizes)
    if kind == "full":
        assert max(sizes) > 1_000_000
        assert max(sizes) < 10_000_000


def test_nothing_happens_after_now() -> None:
    """Times are those of the nights before `now`: measured first, sent minutes later, in order."""
    sent = []
    for alert in objects("plain", 2000, examples=0):
        utc = datetime.fromisoformat(alert["UTC"]).replace(tzinfo=UTC)
        measured = MJD_EPOCH + timedelta(days=alert["lastDiaSourceMjdTai"], seconds=-37)
        assert timedelta(0) < utc - measured < timedelta(hours=8)
        sent.append(utc)
    assert sent == sorted(sent)
    assert NOW - timedelta(days=14) < sent[0]
    assert NOW - timedelta(days=2) < sent[-1] < NOW


def test_a_large_stream_stays_before_now() -> None:
    """Even a stream whose runs are full ends before `now`."""
    *_, last = alerts("plain", 200_000, now=NOW)
    assert datetime.fromisoformat(json.loads(last)["UTC"]).replace(tzinfo=UTC) < NOW


def test_positions_fill_the_footprint_evenly() -> None:
    """Objects are uniform on the sphere between declinations -75 and +5."""
    places = {(a["ra"], a["decl"]) for a in objects("plain", 6000)}
    low, high = math.sin(math.radians(-75)), math.sin(math.radians(5))
    heights = [(math.sin(math.radians(decl)) - low) / (high - low) for _, decl in places]
    turns = [ra / 360 for ra, _ in places]
    for fractions in heights, turns:
        assert 0 <= min(fractions) < 0.01
        assert 0.99 < max(fractions) <= 1
        assert abs(sum(fractions) / len(fractions) - 0.5) < 0.05


def test_light_curves_are_measured_like_rubin_does() -> None:
    """Detections exceed five sigma; forced fluxes begin earlier and end later, and go below."""
    found = objects("lite", 200)
    points = [s for alert in found for s in sources(alert)]
    assert {p["band"] for p in points} == set(BANDS)
    assert all(abs(p["psfFlux"]) > 5 * p["psfFluxErr"] for p in points)
    assert all(0 <= p["reliability"] <= 1 for p in points)
    assert any(p["psfFlux"] < 0 for p in points)
    before = [a for a in found if forced(a)[-1]["midpointMjdTai"] < a["firstDiaSourceMjdTai"]]
    after = [a for a in found if forced(a)[0]["midpointMjdTai"] > a["lastDiaSourceMjdTai"]]
    assert before
    assert after
    for alert in found:
        assert {s["midpointMjdTai"] for s in sources(alert)} <= {
            f["midpointMjdTai"] for f in forced(alert)
        }


def test_forced_fluxes_scatter_by_their_errors() -> None:
    """Where an object does not shine, forced fluxes are noise of the size of their errors."""
    pulls = sorted(
        abs(point["psfFlux"]) / point["psfFluxErr"]
        for alert in objects("lite", 200)
        if alert["lastDiaSourceMjdTai"] - alert["firstDiaSourceMjdTai"] < 0.5
        for point in forced(alert)
        if point["midpointMjdTai"] < alert["firstDiaSourceMjdTai"] - 15
    )
    assert len(pulls) > 50
    assert 0.5 < pulls[len(pulls) // 2] < 0.9  # 0.67 in a normal distribution


def test_wrong_arguments_are_refused_at_once() -> None:
    """A kind that doesn't exist and a time without a zone raise before the first alert."""
    with pytest.raises(ValueError, match="plain, lite, full"):
        alerts("heavy", 1, now=NOW)
    with pytest.raises(ValueError, match="time zone"):
        alerts("plain", 1, now=NOW.replace(tzinfo=None))
