"""Light curves and sky maps as matplotlib figures, on a light or dark background.

Nothing here uses pyplot or global settings: a figure is freed with its last reference.
"""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from matplotlib.ticker import AutoMinorLocator, MaxNLocator, ScalarFormatter

from etl import astro
from etl.errors import WrongUsage
from etl.text.tables import shown_text

# Rubin's symbols of its bands, from its technote RTN-045.
SYMBOLS = dict(zip(astro.BANDS, "o^vs*p", strict=True))
GREY = "#808080"

# Okabe and Ito's colours (2008), which differ for every kind of colour vision.
TOPICS_ON_LIGHT = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
TOPICS_ON_DARK = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00")
TOPIC_SYMBOLS = "o^sDvP"

# ZTF's advice: a flux of 3 sigma is a measurement; a fainter one is shown as its 5 sigma limit.
SHOWN_SIGMA, LIMIT_SIGMA = 3.0, 5.0
SIGMA = "\N{GREEK SMALL LETTER SIGMA}"
MJD_MINUS_DATE_D = astro.UNIX_EPOCH_MJD + astro.TAI_MINUS_UTC_S / 86400
MOMENT_D = 1e-3
LIGHT = 0.5
SKIES = ("mollweide", "aitoff", "hammer")
LEGEND: Any = {"frameon": False, "fontsize": "small"}

# An arrow that hangs from the limit.
LIMIT = Path(
    [(-0.5, 0), (0.5, 0), (0, 0), (0, -1.6), (-0.35, -1.1), (0, -1.6), (0.35, -1.1)],
    [Path.MOVETO, Path.LINETO, Path.MOVETO, Path.LINETO, Path.MOVETO, Path.LINETO, Path.LINETO],
)


class Picture(Figure):
    """A figure that a notebook shows as the result of a cell."""

    def _repr_png_(self) -> bytes:
        out = BytesIO()
        self.savefig(out, format="png", dpi=100, pil_kwargs={"optimize": True})
        return out.getvalue()


def light_curve(
    rows: pa.Table, title: str, *, magnitudes: bool, forced: bool, axes: Axes | None
) -> Figure:
    """Draw rows of `light_curve(object)`: flux in nJy or AB magnitudes over MJD in TAI."""
    if axes is None:
        axes = Picture(figsize=(7.5, 4.2), layout="constrained").add_subplot()
    points = _Points(rows, forced=forced)
    if magnitudes:
        omitted = _draw_magnitudes(axes, points)
    else:
        axes.axhline(0, color=GREY, linewidth=0.8, zorder=0)
        _draw_fluxes(axes, points)
        omitted = []
    axes.set_title(shown_text(title).replace("$", r"\$"), fontsize="medium")
    axes.set_xlabel("MJD (TAI)")
    _two_time_axes(axes)
    _legend_of_bands(axes, points, omitted)
    return _figure_of(axes)


class _Points:
    """A light curve in columns; a point without time or flux can't be drawn.

    An error below zero counts as missing: some surveys write it so.
    """

    def __init__(self, rows: pa.Table, *, forced: bool) -> None:
        numbers = ("midpointMjdTai", "psfFlux", "psfFluxErr")
        self.mjd, self.flux, self.err = (rows[name].to_numpy().astype(float) for name in numbers)
        self.err[~(self.err >= 0)] = np.nan
        self.is_forced = np.array(rows["forced"].to_pylist(), dtype=bool)
        self.band = np.array([shown_text(band, "?") for band in rows["band"].to_pylist()])
        self.drawable = np.isfinite(self.mjd) & np.isfinite(self.flux)
        if not forced:
            self.drawable &= ~self.is_forced
        odd = set(self.band) - set(astro.BANDS)
        self.bands = [band for band in (*astro.BANDS, *sorted(odd)) if (self.band == band).any()]

    def chosen(self, band: str, *, forced: bool) -> Any:
        return self.drawable & (self.band == band) & (self.is_forced == forced)


def _draw_fluxes(axes: Axes, points: _Points) -> None:
    axes.set_ylabel("Difference flux (nJy)")
    for band in points.bands:
        for forced in (True, False):
            at = points.chosen(band, forced=forced)
            _draw(axes, points.mjd[at], points.flux[at], points.err[at], band, forced=forced)


def _draw_magnitudes(axes: Axes, points: _Points) -> list[str]:
    """Draw magnitudes, and limits for what has none; return how many points have neither."""
    axes.set_ylabel("AB magnitude of the difference flux")
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = points.flux / points.err
        mag = astro.ZERO_POINT_MAG - 2.5 * np.log10(points.flux)
        mag_err = 2.5 / np.log(10) / snr
        limit = astro.ZERO_POINT_MAG - 2.5 * np.log10(LIMIT_SIGMA * points.err)
    known = (snr >= SHOWN_SIGMA) | (np.isnan(points.err) & (points.flux > 0))
    limited = np.abs(snr) < SHOWN_SIGMA
    for band in points.bands:
        at = points.drawable & (points.band == band) & limited
        if at.any():
            colour = _colours(axes).get(band, GREY)
            (line,) = axes.plot(points.mjd[at], limit[at], color=colour, label=f"_limit {band}")
            line.set(linestyle="", marker=LIMIT, markersize=13, fillstyle="none")
            line.set(alpha=0.7, zorder=1)
        for forced in (True, False):
            at = points.chosen(band, forced=forced) & known
            _draw(axes, points.mjd[at], mag[at], mag_err[at], band, forced=forced)
    if not axes.yaxis_inverted():
        axes.invert_yaxis()
    left = points.drawable & ~known & ~limited
    unsure = int((left & np.isnan(points.err)).sum())
    negative = int(left.sum()) - unsure
    omitted = {f"below -{SHOWN_SIGMA:g}{SIGMA}": negative, "not positive, without error": unsure}
    return [f"{number} {kind}" for kind, number in omitted.items() if number]


def _draw(axes: Axes, x: Any, y: Any, err: Any, band: str, *, forced: bool) -> None:
    if not len(x):
        return
    colour = _colours(axes).get(band, GREY)
    axes.errorbar(
        x,
        y,
        yerr=np.nan_to_num(err, nan=0.0),
        linestyle="",
        marker=SYMBOLS.get(band, "D"),
        markersize=(7.5 if forced else 5) * (1.35 if band == "z" else 1),  # a star looks smaller
        markerfacecolor="none" if forced else colour,
        markeredgecolor=colour,
        markeredgewidth=0.8,
        ecolor=colour,
        elinewidth=0.7 if forced else 1.0,
        alpha=0.7 if forced else 1.0,
        label=f"_{band} {'forced' if forced else 'detected'}",
        zorder=3 if forced else 2,  # a ring around the detection of the same moment
    )


def _legend_of_bands(axes: Axes, points: _Points, omitted: Sequence[str]) -> None:
    """Explain the bands' colours and symbols, and then the kinds of points."""
    ink = axes.xaxis.label.get_color()

    def key(label: str, marker: Any, colour: Any, fill: Any, size: float = 5.5) -> Any:
        (line,) = axes.plot([], [], linestyle="", marker=marker, color=colour, markersize=size)
        line.set(markerfacecolor=fill, markeredgecolor=colour, label=label)
        return line

    colours = _colours(axes)
    keys = [
        key(band, SYMBOLS.get(band, "D"), colours.get(band, GREY), colours.get(band, GREY))
        for band in points.bands
        if (points.drawable & (points.band == band)).any()
    ]
    artists: tuple[Any, ...] = (*axes.containers, *axes.get_lines())
    drawn = [str(each.get_label()) for each in artists]
    if any(label.endswith(" detected") for label in drawn):
        keys.append(key("detection", "o", ink, ink))
    if any(label.endswith(" forced") for label in drawn):
        keys.append(key("forced", "o", ink, "none", 7.5))
    if any(label.startswith("_limit") for label in drawn):
        keys.append(key(f"{LIMIT_SIGMA:g}{SIGMA} limit", LIMIT, ink, "none", 13))
    if omitted:
        keys.append(key("\n".join(["not shown:", *omitted]), "", ink, "none"))
    axes.legend(handles=keys, loc="upper left", bbox_to_anchor=(1, 1), handletextpad=0.2, **LEGEND)


def _two_time_axes(axes: Axes) -> None:
    """Label MJD in TAI below, and the date in UTC above."""
    low, high = axes.get_xlim()
    if high - low < MOMENT_D:  # a single moment, which has no scale of its own
        axes.set_xlim(low - 0.5, high + 0.5)
    plain = ScalarFormatter(useOffset=False)
    plain.set_scientific(False)
    axes.xaxis.set_major_formatter(plain)
    axes.xaxis.set_major_locator(MaxNLocator(7))
    above = axes.secondary_xaxis("top", functions=(_to_date, _to_mjd))
    locator = AutoDateLocator(minticks=4, maxticks=8)
    above.xaxis.set_major_locator(locator)
    above.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    above.set_xlabel("Date (UTC)")
    above.tick_params(which="both", direction="in")
    axes.xaxis.set_minor_locator(AutoMinorLocator())
    axes.yaxis.set_minor_locator(AutoMinorLocator())
    axes.tick_params(which="both", direction="in", right=True)


def _to_date(mjd_tai: Any) -> Any:
    """Turn MJD in TAI into matplotlib's dates: days since 1970 in UTC."""
    return mjd_tai - MJD_MINUS_DATE_D


def _to_mjd(date: Any) -> Any:
    return date + MJD_MINUS_DATE_D


def sky(rows: pa.Table, *, axes: Axes | None) -> Figure:
    """Draw `object_ra` and `object_decl` (degrees, ICRS) by `kafka_topic`, RA to the left."""
    if axes is None:
        axes = Picture(figsize=(7.5, 4.7), layout="constrained").add_subplot(projection="mollweide")
    if axes.name not in SKIES:
        raise WrongUsage(
            f"a map of the sky needs axes in a projection, not {axes.name} ones: "
            f"figure.add_subplot(projection={SKIES[0]!r})"
        )
    ra, decl = (rows[name].to_numpy().astype(float) for name in ("object_ra", "object_decl"))
    placed = np.isfinite(ra) & np.isfinite(decl)
    topic = np.array([shown_text(name) for name in rows["kafka_topic"].to_pylist()], dtype=str)
    names, counts = np.unique(topic[placed], return_counts=True)
    _grid(axes)
    colours = TOPICS_ON_DARK if _is_dark(axes) else TOPICS_ON_LIGHT
    by_size = sorted(zip(counts.tolist(), names.tolist(), strict=True), reverse=True)
    for number, (count, name) in enumerate(by_size):  # the rare ones on top
        at = placed & (topic == name)
        turn = number % len(colours)
        axes.scatter(
            *_on_map(ra[at], decl[at]),
            s=float(np.clip(8000 / count, 2, 22)),
            marker=TOPIC_SYMBOLS[turn],
            color=colours[turn],
            alpha=0.8,
            linewidths=0,
            label=f"{name} ({count:,})".replace("$", r"\$"),
            rasterized=True,
            zorder=3 + number,
        )
    missing = int((~placed).sum())
    if missing:
        axes.plot([], [], linestyle="", label=f"without a position: {missing:,}")
    _galactic_plane(axes)
    below: Any = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.06), "ncols": 2}
    legend = axes.legend(handletextpad=0.4, **below, **LEGEND)
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([22])
    return _figure_of(axes)


def _on_map(ra_deg: Any, decl_deg: Any) -> tuple[Any, Any]:
    """Turn degrees into the map's radians: RA 0 in the middle, growing to the left."""
    return np.radians((180.0 - np.asarray(ra_deg)) % 360.0 - 180.0), np.radians(decl_deg)


def _grid(axes: Axes) -> None:
    """Draw meridians and parallels, with their labels above the points."""
    halo = withStroke(linewidth=2.5, foreground=_background(axes))
    for ra_deg in (120, 60, 0, 300, 240):
        axes.annotate(
            f"{ra_deg}°", _on_map(ra_deg, 0), xytext=(0, -3), textcoords="offset points",
            ha="center", va="top", fontsize="small", path_effects=[halo], zorder=1000,
        )  # fmt: skip
    axes.set_xticks(np.radians([-120, -60, 0, 60, 120]), [])
    axes.set_yticks(np.radians([-60, -30, 0, 30, 60]))
    axes.tick_params(labelsize="small")
    axes.set_longitude_grid_ends(90)  # type: ignore[attr-defined]  # only maps have it
    axes.grid(visible=True, color=GREY, linewidth=0.4, alpha=0.6)
    axes.set_xlabel("RA", labelpad=2)
    axes.set_ylabel("Decl")


def galactic_plane_deg() -> tuple[Any, Any]:
    """Return RA and declination (ICRS, degrees) along the galactic equator, from its centre on."""
    ra, decl = np.transpose([astro.from_galactic(along / 2, 0.0) for along in range(720)])
    return ra, decl


def _galactic_plane(axes: Axes) -> None:
    ink = axes.xaxis.label.get_color()
    x, y = _on_map(*galactic_plane_deg())
    order = np.argsort(x)  # one declination for each RA: no line back across the map
    axes.plot(x[order], y[order], color=ink, linewidth=1, label="galactic plane", zorder=900)
    axes.plot(x[:1], y[:1], "x", color=ink, label="galactic centre", zorder=900)


def _background(axes: Axes) -> tuple[float, float, float]:
    own = to_rgba(axes.get_facecolor())
    return to_rgb(own if own[3] else _figure_of(axes).get_facecolor())


def _is_dark(axes: Axes) -> bool:
    red, green, blue = _background(axes)
    return 0.299 * red + 0.587 * green + 0.114 * blue < LIGHT


def _colours(axes: Axes) -> dict[str, str]:
    return astro.BAND_ON_DARK if _is_dark(axes) else astro.BAND_ON_LIGHT


def _figure_of(axes: Axes) -> Figure:
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Figure)
    return figure
