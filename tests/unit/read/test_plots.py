import gc
import math
import weakref
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import Galactic, SkyCoord
from astropy.time import Time
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.dates import date2num
from matplotlib.figure import Figure

from etl.astro import BAND_ON_DARK, BAND_ON_LIGHT
from etl.errors import WrongUsage
from etl.read import plots

NAN = math.nan
ROWS: list[tuple[bool, float | None, str | None, float | None, float | None]] = [
    # forced, MJD, band, flux and its error in nJy
    (False, 61000.25, "g", 10000.0, 100.0),
    (False, 61001.25, "g", 20000.0, 150.0),
    (False, 61001.5, "r", 5000.0, None),
    (False, 61002.0, "i", -4000.0, 200.0),
    (True, 60990.0, "g", 250.0, 100.0),
    (True, 60991.0, "g", -120.0, 100.0),
    (True, 60992.0, "z", 900.0, 100.0),
    (True, 60993.0, "z", None, 100.0),
    (True, None, "z", 900.0, 100.0),
    (False, 61003.0, None, 700.0, 10.0),
]
COLUMNS = {
    "forced": pa.bool_(),
    "midpointMjdTai": pa.float64(),
    "band": pa.string(),
    "psfFlux": pa.float64(),
    "psfFluxErr": pa.float64(),
}


@pytest.fixture(autouse=True)
def _no_trace() -> Iterator[None]:
    """See that no drawing changes matplotlib's settings or leaves pyplot a figure."""
    before = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []


def table(rows: list[Any]) -> pa.Table:
    """Make what `light_curve(object)` gives."""
    return pa.Table.from_pylist(
        [dict(zip(COLUMNS, row, strict=True)) for row in rows], pa.schema(COLUMNS)
    )


def drawn(
    rows: list[Any] = ROWS, *, magnitudes: bool = False, forced: bool = True, title: str = "1"
) -> Axes:
    """Draw, and give the axes."""
    figure = plots.light_curve(table(rows), title, magnitudes=magnitudes, forced=forced, axes=None)
    return figure.axes[0]


def points(axes: Axes) -> dict[str, list[tuple[float, float, float]]]:
    """Read back what stands in the picture: (x, y, half the error bar) of each kind."""
    found = {}
    for each in axes.containers:
        assert isinstance(each, ErrorbarContainer)
        line, _, (bars,) = each.lines
        halves = [(s[1][1] - s[0][1]) / 2 for s in bars.get_segments()]
        x, y = (np.asarray(v, dtype=float).tolist() for v in line.get_data())
        found[str(each.get_label())[1:]] = list(zip(x, y, halves, strict=True))
    return found


def test_the_picture_shows_the_rows() -> None:
    """Every measurement with a time and a flux stands where its numbers say, with its error."""
    assert points(drawn()) == {
        "g detected": [(61000.25, 10000, 100), (61001.25, 20000, 150)],
        "g forced": [(60990, 250, 100), (60991, -120, 100)],
        "r detected": [(61001.5, 5000, 0)],
        "i detected": [(61002, -4000, 200)],
        "z forced": [(60992, 900, 100)],
        "? detected": [(61003, 700, 10)],
    }


def test_forced_photometry_can_be_left_out() -> None:
    """Without forced photometry only detections are drawn and named."""
    axes = drawn(forced=False)
    assert not [kind for kind in points(axes) if "forced" in kind]
    assert "forced" not in legend(axes)


def legend(axes: Axes) -> list[str]:
    """Read the legend."""
    found = axes.get_legend()
    assert found
    return [text.get_text() for text in found.get_texts()]


def test_the_legend_names_what_is_drawn() -> None:
    """The legend has the bands that are there in the order of wavelength, and the kinds."""
    assert legend(drawn()) == ["g", "r", "i", "z", "?", "detection", "forced"]
    only = [row for row in ROWS if row[0] and row[2] == "z"]
    assert legend(drawn(only)) == ["z", "forced"]


def test_detections_are_filled_and_forced_are_open() -> None:
    """Forced photometry has open symbols; each band has Rubin's colour and symbol."""
    for each in drawn().containers:
        assert isinstance(each, ErrorbarContainer)
        line: Any = each.lines[0]
        band, kind = str(each.get_label())[1:].split()
        assert line.get_marker() == plots.SYMBOLS.get(band, "D")
        assert line.get_markeredgecolor() == BAND_ON_LIGHT.get(band, plots.GREY)
        assert (line.get_markerfacecolor() == "none") == (kind == "forced")


def test_magnitudes_are_ab_and_grow_downwards() -> None:
    """Magnitudes follow astropy's AB scale, with their errors, on an axis that is turned over."""
    axes = drawn(magnitudes=True)
    assert axes.yaxis_inverted()
    shown = points(axes)
    assert set(shown) == {"g detected", "r detected", "z forced", "? detected"}
    for x, mag, half in shown["g detected"]:
        flux, err = {row[1]: row[3:] for row in ROWS}[x]
        assert mag == pytest.approx((flux * u.nJy).to_value(u.ABmag), abs=1e-9)
        assert half == pytest.approx(2.5 / math.log(10) * err / flux)  # type: ignore[operator]


def test_what_is_too_faint_is_a_limit() -> None:
    """Below 3 sigma the 5 sigma limit stands for the magnitude, also where the flux is negative."""
    axes = drawn(magnitudes=True)
    (limits,) = [line for line in axes.get_lines() if line.get_label() == "_limit g"]
    expected = (500 * u.nJy).to_value(u.ABmag)
    x, y = (np.asarray(v).tolist() for v in limits.get_data())
    assert x == [60990, 60991]
    assert y == pytest.approx([expected, expected], abs=1e-9)
    assert f"5{plots.SIGMA} limit" in legend(axes)


def test_a_negative_flux_has_no_magnitude_and_is_counted() -> None:
    """What is far below zero is not drawn as a magnitude; the picture says how many there are."""
    assert legend(drawn(magnitudes=True))[-1] == f"not shown:\n1 below -3{plots.SIGMA}"
    unsure = drawn([*ROWS, (False, 61002.5, "r", -5000.0, None)], magnitudes=True)
    said = f"not shown:\n1 below -3{plots.SIGMA}\n1 not positive, without error"
    assert legend(unsure)[-1] == said
    for whole in (drawn(ROWS[:2], magnitudes=True), drawn()):
        assert not [text for text in legend(whole) if "not shown" in text]


def test_an_error_below_zero_is_none() -> None:
    """A measurement whose error is -999 is drawn without error bars, in either unit."""
    rows = [*ROWS, (False, 61002.5, "r", 6000.0, -999.0)]
    for magnitudes in (False, True):
        assert legend(drawn(rows, magnitudes=magnitudes)) == legend(drawn(magnitudes=magnitudes))


def test_the_date_stands_above() -> None:
    """The axis above tells UTC where the one below tells MJD in TAI."""
    axes = drawn()
    (above,) = axes.child_axes
    axes.get_figure(root=True).draw_without_rendering()  # type: ignore[union-attr]
    time = Time(61000.25, format="mjd", scale="tai").utc
    expected = date2num(time.to_datetime())
    to_mjd = above.xaxis.get_transform()
    assert to_mjd.transform([expected]) == pytest.approx([61000.25], abs=1e-8)
    assert to_mjd.inverted().transform([61000.25]) == pytest.approx([expected], abs=1e-8)
    assert to_mjd.transform(above.get_xlim()) == pytest.approx(axes.get_xlim(), abs=1e-8)
    assert (above.get_xlabel(), axes.get_xlabel()) == ("Date (UTC)", "MJD (TAI)")


def test_one_measurement_is_a_picture_too() -> None:
    """A single point, or none that can be drawn, gives a picture that can be saved."""
    for rows in (ROWS[:1], ROWS[7:8]):
        for magnitudes in (False, True):
            figure = drawn(rows, magnitudes=magnitudes).get_figure(root=True)
            assert isinstance(figure, plots.Picture)
            assert figure._repr_png_().startswith(b"\x89PNG")


def test_an_id_is_not_read_as_a_formula() -> None:
    """A title with dollars is shown as it is, not as TeX that fails."""
    axes = drawn(title="$\\nope$\x1b")
    assert axes.get_title() == "\\$\\nope\\$\\x1b"
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()


def test_colours_suit_the_ground() -> None:
    """On a dark ground the bands have Rubin's colours for it."""
    with plt.style.context("dark_background"):
        dark = drawn()
    line: Any = dark.containers[0].lines[0]  # type: ignore[attr-defined]
    assert line.get_markeredgecolor() == BAND_ON_DARK["g"]


def test_own_axes_are_drawn_into() -> None:
    """Axes that are given are drawn into, twice too, and their figure comes back."""
    figure = Figure()
    for axes in figure.subplots(1, 2):
        for _ in range(2):
            again = plots.light_curve(table(ROWS), "1", magnitudes=True, forced=True, axes=axes)
            assert again is figure
        assert axes.yaxis_inverted()
    with pytest.raises(WrongUsage, match="mollweide"):
        plots.sky(places([]), axes=figure.axes[0])


def test_a_figure_goes_with_its_last_user() -> None:
    """A hundred plots in a loop hold no more memory than one: nothing keeps their figures."""
    figure = drawn().get_figure(root=True)
    gone = weakref.ref(figure)
    del figure
    gc.collect()
    assert gone() is None


PLACES = [
    ("lasair_a", 0.0, 0.0),
    ("lasair_a", 90.0, 45.0),
    ("lasair_a", 270.0, -45.0),
    ("lasair_$b", 359.0, 10.0),
    ("lasair_$b", None, 10.0),
    ("lasair_a", 12.0, NAN),
]


def places(rows: list[Any]) -> pa.Table:
    """Make what a map of the sky is drawn from."""
    columns = {"kafka_topic": pa.string(), "object_ra": pa.float64(), "object_decl": pa.float64()}
    return pa.Table.from_pylist(
        [dict(zip(columns, row, strict=True)) for row in rows], pa.schema(columns)
    )


def test_the_map_has_ra_to_the_left() -> None:
    """Each object stands at its place, RA 0 in the middle and growing to the left."""
    figure = plots.sky(places(PLACES), axes=None)
    axes = figure.axes[0]
    assert axes.name == "mollweide"
    found = {c.get_label(): np.degrees(c.get_offsets()).tolist() for c in axes.collections}
    assert found == {
        "lasair_a (3)": [[0, 0], [-90, 45], [90, -45]],
        "lasair_\\$b (1)": [pytest.approx([1, 10])],
    }
    assert "without a position: 2" in legend(axes)
    figure.draw_without_rendering()


def test_the_map_has_its_meridians_named() -> None:
    """The label of each meridian stands at the RA that it names."""
    axes = plots.sky(places(PLACES), axes=None).axes[0]
    for label in axes.texts:
        ra = float(label.get_text().rstrip("°"))
        assert label.xy[0] == pytest.approx(-np.radians((ra + 180) % 360 - 180))  # type: ignore[attr-defined]
    assert len(axes.texts) == 5


def test_the_galactic_plane_is_where_astropy_has_it() -> None:
    """The plane that is drawn has latitude 0 within 0.1 arcsec, and begins at its centre."""
    ra, decl = plots.galactic_plane_deg()
    there = SkyCoord(ra * u.deg, decl * u.deg).transform_to(Galactic())
    assert np.abs(there.b.arcsec).max() < 0.1
    assert there[0].l.wrap_at(180 * u.deg).arcsec == pytest.approx(0, abs=0.1)
    lines = {line.get_label(): line for line in plots.sky(places([]), axes=None).axes[0].lines}
    x = np.asarray(lines["galactic plane"].get_xdata())
    assert (np.diff(x) > 0).all()
    assert len(x) == len(ra)
