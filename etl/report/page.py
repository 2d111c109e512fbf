"""The report: one page that needs no other file, made from the published file.

The page has no script and sends no request. Jinja2 escapes all values, and the filter `shown`
escapes control characters; the template is page.html.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from etl.astro import BAND_ON_DARK, BAND_ON_LIGHT, from_galactic
from etl.errors import EXIT_MEANINGS
from etl.read.published import Published
from etl.report import svg
from etl.report.completeness import Beginning, Hole, Night, Reading, Recreated, Rows, nights
from etl.text.tables import shown_text
from etl.text.words import count, cut, moment, size
from etl.version import __version__

Named = Mapping[str, Any]

# So many topics have their own colour in the chart; the others share one.
SERIES = 6
MINUS = "\N{MINUS SIGN}"
SUMMED = ("offsets", "alerts", "rejects", "tombstones", "absent", "lost", "bytes")

# Longer texts of an alert or a decoder are cut: a reason may quote a whole message.
NAME_CHARS = 120
CHART_NIGHTS = 1100
GRID_DAYS = 14
OBJECTS, CURVES, RUNS, WRONG_RUNS, REASONS, GAPS = 8, 12, 10, 6, 10, 20

# A lake that is drained at least once a day had a run in this time.
STALE = timedelta(hours=26)


@dataclass(frozen=True, slots=True)
class Chart:
    """Alerts per night and topic: bars of `width` nights; `outside` counts the other alerts."""

    series: tuple[str | None, ...]
    sums: Sequence[int]
    bars: Sequence[svg.Bar]
    marks: Sequence[Sequence[tuple[int, float, float, float, float]]]
    width: int
    top: int
    outside: int


@dataclass(frozen=True, slots=True)
class Curve:
    """An object, and its light curve if it has one."""

    about: Named
    drawn: svg.LightCurve | None
    measured: Sequence[svg.Measurement]
    brightest: svg.Measurement | None


def page(published: Published, made_at: datetime, night_starts: timedelta) -> str:
    """Write the report on one snapshot of the published file.

    Parameters
    ----------
    made_at : datetime
        The present time (UTC, without a zone).
    night_starts : timedelta
        How far a night's date lags behind UTC, as set when the lake was drained.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "n": _number,
        "shown": shown_text,
        "cut": lambda text, most=NAME_CHARS: cut(text, most),
        "size": size,
        "utc": _time,
        "degrees": _degrees,
        "flux": _flux,
        "exit": _exit,
    }
    template = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
    return environment.from_string(template).render(values(published, made_at, night_starts))


def values(published: Published, made_at: datetime, night_starts: timedelta) -> dict[str, Any]:
    """Read all values of the page."""
    today = made_at.replace(hour=0, minute=0, second=0, microsecond=0)
    since = today - timedelta(days=GRID_DAYS - 1)
    totals = published.records("report/totals")
    rows = [Rows(*row) for row in published.rows("report/nights")]
    holes = [Hole(*row) for row in published.rows("report/holes")]
    recreated = [Recreated(*row) for row in published.rows("report/recreated")]
    until: dict[str, datetime | None] = dict(published.rows("report/read_until"))
    readings = [Reading(t["topic"], until.get(t["topic"]), t["last_seen"]) for t in totals]
    sums = {name: sum(topic[name] for topic in totals) for name in SUMMED}
    runs = published.records("report/runs", wrong=False, most=RUNS)
    bright = published.records("report/newest", light=True, most=CURVES)
    sky = published.rows("report/sky")
    beginnings = [Beginning(*row) for row in published.rows("report/beginnings")]
    accounts = nights(rows, holes, recreated, beginnings, readings, night_starts)
    as_of = f"lasair-etl {__version__}, as of {_time(runs[0]['started_at'])} UTC" if runs else ""
    return {
        "version": __version__,
        "band_on_light": BAND_ON_LIGHT,
        "band_on_dark": BAND_ON_DARK,
        "made_at": made_at,
        "lake": published.lake.root.name,
        "notices": _notices(runs, sums, holes, made_at),
        "totals": totals,
        "sum": sums,
        "until": until,
        "runs": runs,
        "wrong_runs": published.records("report/runs", wrong=True, most=WRONG_RUNS),
        "exits": published.records("report/exits"),
        "grid": published.records(
            "report/hours", since=since, until=since + timedelta(days=GRID_DAYS)
        ),
        "grid_days": [since + timedelta(days=n) for n in range(GRID_DAYS)],
        "chart": _chart(rows, made_at.date()),
        "objects": sum(objects for _, objects, _, _ in sky),
        "placeless": sum(objects for cell, objects, _, _ in sky if cell is None),
        "sky": [*svg.sky_levels(each[1:] for each in sky if each[0] is not None)],
        "sky_labels": svg.sky_labels(),
        "graticule": svg.graticule(),
        "galactic_plane": svg.galactic_plane(),
        "galactic_centre": svg.mollweide(*from_galactic(0, 0)),
        "newest": published.records("report/newest", light=False, most=OBJECTS),
        "curves": [_curve(published, each) for each in bright],
        "rejects": published.records("report/rejects", most=REASONS),
        "gaps": published.records("report/gaps", most=GAPS),
        "nights": accounts,
        "undated": [hole for hole in holes if not hole.is_dated],
        "statement": statement(sums, len(totals), accounts),
        "night_starts": night_starts,
        "as_of": as_of,
    }


def statement(sums: Named, topics: int, accounts: Sequence[Night]) -> str:
    """Return the account of the whole lake, in one sentence that a paper can cite."""
    if not accounts:
        return "The lake holds no alert yet."
    return (
        f"From observing night {accounts[-1].night} to {accounts[0].night} the lake accounts for "
        f"{count(sums['offsets'], 'Kafka offset')} of {count(topics, 'topic')}: "
        f"{count(sums['alerts'], 'stored alert')}, "
        f"{count(sums['rejects'], 'undecodable message')}, "
        f"{count(sums['tombstones'], 'tombstone')}, "
        f"{count(sums['absent'], 'offset')} without a message, and "
        f"{sums['lost']:,} lost before they were read."
    )


def _number(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"


def _time(when: datetime | None) -> str:
    return moment(when) or "unknown"


def _degrees(angle: float | None) -> str:
    return "unknown" if angle is None else f"{angle:.5f}".replace("-", MINUS)


def _flux(flux_njy: float) -> str:
    text = f"{flux_njy:,.0f}" if 100 <= abs(flux_njy) < 1e9 else f"{flux_njy:.3g}"  # noqa: PLR2004
    return text.replace("-", MINUS)


def _exit(run: Named) -> str:
    """Return how a run ended, with its exit code where it has one."""
    code = run["exit_code"]
    if code is None:
        return "at work, or killed" if run["state"] == "open" else "killed"
    return f"{code} {EXIT_MEANINGS.get(code, 'unknown')}"


def _notices(
    runs: Sequence[Named], sums: Named, holes: Iterable[Hole], made_at: datetime
) -> list[str]:
    if not runs:
        return ["No run yet."]
    last, notices = runs[0], []
    if made_at - last["started_at"] > STALE:
        notices.append(f"No run since {moment(last['started_at'])} UTC.")
    if last["started_at"] > made_at:
        notices.append(f"The last run began at {moment(last['started_at'])} UTC by a clock ahead.")
    if last["state"] == "open":
        notices.append("The last run has not ended: it is at work, or was killed.")
    elif last["exit_code"] != 0:
        notices.append(f"The last run did not end well: {_exit(last)}.")
    if last["lag"] is None:
        notices.append("How much was left on the broker when the last run ended is not known.")
    elif last["lag"]:
        left = count(last["lag"], "message")
        notices.append(f"{left} left on the broker when the last run ended.")
    if sums["lost"]:
        newest = max((f", the last by night {h.last_night}" for h in holes if h.lost), default="")
        notices.append(f"{count(sums['lost'], 'offset')} lost before they were read{newest}.")
    return notices


def _chart(rows: Sequence[Rows], today: date) -> Chart | None:
    """Stack the alerts of the largest topics by night; count those of odd times."""
    known = [each for each in rows if each.alerts]
    past = [each.night for each in known if each.night <= today]
    if not past:
        return None
    sums: dict[str, int] = {}
    for each in rows:
        sums[each.topic] = sums.get(each.topic, 0) + each.alerts
    ordered = sorted(sums, key=lambda topic: (-sums[topic], topic))
    own = ordered if len(ordered) <= SERIES + 1 else ordered[:SERIES]
    series = (*own, None) if len(own) < len(ordered) else (*own,)
    at = {topic: own.index(topic) if topic in own else len(own) for topic in ordered}
    last = max(past)
    first = max(min(past), last - timedelta(days=CHART_NIGHTS - 1))
    counts: dict[date, list[int]] = {}
    for each in known:
        counts.setdefault(each.night, [0] * len(series))[at[each.topic]] += each.alerts
    width, drawn = svg.bars(counts, len(series), first, last)
    top = svg.ceiling(max(bar.total for bar in drawn))
    outside = sum(sums.values()) - sum(bar.total for bar in drawn)
    shares = [sum(n for t, n in sums.items() if at[t] == place) for place in range(len(series))]
    return Chart(series, shares, drawn, svg.stack(drawn, top), width, top, outside)


def _curve(published: Published, about: Named) -> Curve:
    rows = published.rows("report/light_curve", object=about["object_id"])
    measured = [svg.Measurement(*row) for row in rows]
    bright = [each for each in measured if each.ab_mag is not None and not each.forced]
    brightest = min(bright, key=lambda each: each.ab_mag or 0.0, default=None)
    return Curve(about, svg.light_curve(measured) if measured else None, measured, brightest)
