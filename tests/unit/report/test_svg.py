import math
from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etl.report import svg
from etl.report.svg import Bar, Measurement

DAY = date(2026, 2, 14)


@example(180.0, 0.0)
@example(179.7, 0.0)
@example(179.4, 0.0)
@given(st.floats(0, 359), st.floats(-89, 88))
def test_the_sky_map_keeps_areas(ra: float, decl: float) -> None:
    """Mollweide's projection gives every square degree of the sky the same area."""
    across = 179.5 if 179.5 < ra <= 180 else ra  # no cell over the map's edge
    corners = [svg.mollweide(across + a, decl + b) for a, b in ((0, 0), (0.5, 0), (0.5, 1), (0, 1))]
    drawn = abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise([*corners, corners[0]])) / 2)
    on_sky = math.radians(0.5) * (math.sin(math.radians(decl + 1)) - math.sin(math.radians(decl)))
    whole = math.pi * svg.SKY_HALF_WIDTH**2 / 2
    assert drawn / whole == pytest.approx(on_sky / (4 * math.pi), rel=0.02)


def test_right_ascension_grows_to_the_left() -> None:
    """As one sees the sky: RA 90 is left of the middle, RA 270 right of it, north is up."""
    assert svg.mollweide(90, 0)[0] == pytest.approx(-180)
    assert svg.mollweide(270, 0)[0] == pytest.approx(180)
    assert svg.mollweide(0, 90) == pytest.approx((0, -180))
    assert svg.mollweide(400, 0) == svg.mollweide(40, 0)


def test_the_galactic_plane_crosses_the_map_once() -> None:
    """The plane is one line from edge to edge, without a stroke across the map."""
    assert svg.galactic_plane().count("M") == 1


@given(
    st.dictionaries(
        st.dates(date(2000, 1, 1), date(2030, 1, 1)),
        st.lists(st.integers(0, 9), min_size=2, max_size=2),
        min_size=1,
    )
)
def test_bars_lose_no_alert(counts: dict[date, list[int]]) -> None:
    """At most 120 bars stand for any number of nights, tile them, and hold every alert once."""
    width, drawn = svg.bars(counts, 2, min(counts), max(counts))
    assert len(drawn) <= svg.MOST_BINS
    assert [bar.start for bar in drawn[1:]] == [bar.end for bar in drawn[:-1]]
    assert (drawn[0].start, drawn[-1].end) == (min(counts), max(counts) + timedelta(days=1))
    assert all((bar.end - bar.start).days == width for bar in drawn[:-1])
    assert [sum(parts) for parts in zip(*(bar.parts for bar in drawn), strict=True)] == [
        sum(parts) for parts in zip(*counts.values(), strict=True)
    ]


def test_parts_stand_on_each_other() -> None:
    """The parts of a bar fill it from below in the order of the series, to the axis' scale."""
    drawn = [Bar(DAY, DAY + timedelta(days=1), (1, 0, 3)), Bar(DAY, DAY, (0, 0, 0))]
    assert svg.stack(drawn, 5) == [[(0, 50, 80, 400, 20), (2, 50, 20, 400, 60)], []]


def test_light_curves_stay_in_their_box() -> None:
    """Any flux that is finite, and any error, is drawn inside the chart."""
    curve = svg.light_curve(
        [
            Measurement(False, 61000.0, "r", -1.7e308, 1e308, None),
            Measurement(False, 61000.5, "<b>", 1.7e308, math.inf, None),
            Measurement(True, 61001.0, None, 0.0, math.nan, None),
        ]
    )
    assert curve.points == {"r": "M5.0 91.0h0", "other": "M150.0 5.0h0"}
    assert curve.forced == {"other": "M295.0 48.0h0"}
    assert curve.errors == {"r": "M5.0 65.7V96.0"}
    assert curve.zero == 48.0


def test_one_measurement_stands_in_the_middle() -> None:
    """A light curve of one point is a point."""
    curve = svg.light_curve([Measurement(False, 61000.0, "g", 100.0, None, 26.4)])
    assert (curve.points, curve.errors, curve.zero) == ({"g": "M150.0 48.0h0"}, {}, None)


def test_denser_cells_have_levels_of_their_own() -> None:
    """Cells of 1, 2 to 9, 10 to 99 and more objects are told apart."""
    levels = svg.sky_levels((n, 0.0, 0.0) for n in (1, 2, 9, 10, 99, 100, 10**6))
    assert [level.count("M") for level in levels] == [1, 2, 2, 2]
