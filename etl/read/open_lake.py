"""A lake open for reading, which `etl.open` returns to notebooks and programs."""

import warnings
from datetime import UTC, datetime, timedelta
from html import escape
from operator import index
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, SupportsIndex

from etl.errors import DataAtRisk, WrongSettings, WrongUsage
from etl.lake.layout import lake_at
from etl.read.live_files import check_topic, live_files
from etl.read.published import Published
from etl.read.selection import Selection, needing
from etl.statements import literal, quoted
from etl.text.tables import aligned, html_table, shown_text
from etl.text.words import age_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUMPY_NUMBERS = ("b", "i", "u", "f")

# So far two machines' clocks may differ and nothing is said.
AHEAD = timedelta(minutes=1)
OVERVIEW = ("topic", "alerts", "rejects", "lost", "last_night", "last_seen")


class OpenLake:
    """One snapshot of a lake; `refresh` moves on to the newest.

    It holds only the published file, which each drain replaces as a whole. So it never waits for a
    drain, and no drain waits for it.
    """

    def __init__(self, path: str | PathLike[str], *, sandboxed: bool = False) -> None:
        self._path = Path(path)
        self._sandboxed = sandboxed
        self._lake = lake_at(self._path)
        self._open()

    def _open(self) -> None:
        mark = self._mark()
        published = Published(self._lake, sandboxed=self._sandboxed)
        try:
            moved = published.misplaced()
            if moved is not None:
                raise WrongSettings(f"this lake has moved: {moved}")  # noqa: TRY301
            ((self._seen_at,),) = published.rows("queries/snapshot")
        except BaseException:
            published.close()
            raise
        self._mark_then, self._published = mark, published

    def _mark(self) -> tuple[int, int] | None:
        """Return what identifies this published file among those before and after it."""
        try:
            found = self._lake.public.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; no query can run afterwards."""
        self._published.close()

    def refresh(self) -> Self:
        """Show the newest snapshot from now on.

        Where that can't be opened, the old one stays open. Temporary tables and variables of SQL go
        with the old snapshot.
        """
        before = self._published
        self._open()
        before.close()
        return self

    @property
    def snapshot_at(self) -> datetime | None:
        """When the last drain of this snapshot was at work (UTC); None where there was none."""
        seen: datetime | None = self._seen_at
        return seen and seen.replace(tzinfo=UTC)

    @property
    def age(self) -> timedelta | None:
        """How old the snapshot is; 0 where it is of a time that this clock has not reached."""
        return max(timedelta(), datetime.now(UTC) - self.snapshot_at) if self.snapshot_at else None

    @property
    def is_newest(self) -> bool:
        """Whether no drain has published anything since."""
        return self._mark() == self._mark_then

    @property
    def topics(self) -> list[str]:
        """The names of all topics."""
        return [topic for topic, *_ in self._published.rows("queries/status_topics")]

    def sql(self, query: str, **parameters: object) -> Selection:
        """Select rows with DuckDB's SQL; `parameters` are the values of its `$name`s.

        A statement that does more than select, such as CREATE TEMP TABLE, runs once, at once.

        >>> lake.sql("FROM alerts WHERE night = $night", night="2026-11-20")  # doctest: +SKIP

        Raises
        ------
        WrongUsage
            DuckDB refuses it. With parameters it does so only when rows are wanted.
        """
        values = {name: _plain(value) for name, value in parameters.items()}
        found = Selection(lambda: self._published, query, values)
        if not self._published.is_question(query):
            return found.kept()
        if not values:
            self._published.bind(query)
        return found

    def alerts(self, topic: str | None = None) -> Selection:
        """Select the alerts of one topic with all of its columns, or of all with common ones.

        Raises
        ------
        WrongUsage
            The lake has no such topic.
        """
        if topic is None:
            return self.sql("FROM alerts")
        check_topic(self._published, topic)
        return self.sql(f"FROM {quoted(topic)}")

    def files(self, topic: str | None = None) -> list[str]:
        """List the Parquet files that hold each alert of a topic, or of all topics, once.

        For programs that read Parquet themselves: a wildcard over the lake's folders also finds
        retired files. A topic's first file has all of its columns. Files that are gone are left
        out, with a warning.

        Raises
        ------
        WrongUsage
            The lake has no such topic.
        DataAtRisk
            Files are gone that this snapshot names, and a newer one may not.
        """
        found = live_files(self._published, topic)
        if found.complaint and not self.is_newest:
            raise DataAtRisk(
                f"{found.gone[0]}: gone since this snapshot; lake.refresh() opens the newest"
            )
        if found.complaint:
            warnings.warn(shown_text(found.complaint), stacklevel=2)
        return found.there

    def latest(self) -> Selection:
        """Select the newest alert of each object in each topic."""
        return self.sql("FROM latest")

    def light_curve(self, object_id: SupportsIndex | str) -> Selection:
        """Select an object's detections and forced measurements, in the order of time.

        Parameters
        ----------
        object_id
            Rubin's diaObjectId or ZTF's objectId, as a number or as text.
        """
        return self.sql(f"FROM light_curve({literal(_id_text(object_id))})")

    def plot_light_curve(
        self,
        object_id: SupportsIndex | str,
        *,
        magnitudes: bool = False,
        forced: bool = True,
        axes: "Axes | None" = None,
    ) -> "Figure":
        """Draw an object's light curve: filled symbols are detections, open ones forced.

        Parameters
        ----------
        object_id
            Rubin's diaObjectId or ZTF's objectId, as a number or as text.
        magnitudes
            AB magnitudes instead of nJy. A flux below 3 times its error is shown as its 5 sigma
            limit. A significantly negative one has no magnitude; the legend counts them.
        forced
            Whether to show forced photometry too.
        axes
            Where to draw, by default in a new figure. There are other colours for a dark
            background.
        """
        with needing("matplotlib"):
            from etl.read import plots
        rows = self.light_curve(object_id).arrow()
        if not rows.num_rows:
            raise WrongUsage(
                f"{_id_text(object_id)}: the lake has no measurement of it; lake.latest() lists "
                f"the objects, and only lite and full alerts carry light curves"
            )
        return plots.light_curve(
            rows, _id_text(object_id), magnitudes=magnitudes, forced=forced, axes=axes
        )

    def plot_sky(self, query: str = "FROM latest", *, axes: "Axes | None" = None) -> "Figure":
        """Draw objects on a map of the whole sky (Mollweide, ICRS), a colour for each topic.

        Parameters
        ----------
        query
            SQL that selects `object_ra` and `object_decl` in degrees, and `kafka_topic`.
        axes
            Where to draw, in a projection such as Mollweide; by default in a new figure.
        """
        with needing("matplotlib"):
            from etl.read import plots
        wanted = "SELECT kafka_topic, object_ra, object_decl FROM ({}\n)"
        return plots.sky(self.sql(wanted.format(query.rstrip("; \n"))).arrow(), axes=axes)

    def _overview(self) -> tuple[str, list[list[Any]]]:
        topics = self._published.records("queries/status_topics")
        seen = "never drained"
        if self.snapshot_at is not None and self.age is not None:
            ahead = self.snapshot_at > datetime.now(UTC) + AHEAD
            ago = "which this clock has not reached" if ahead else f"{age_text(self.age)} ago"
            seen = f"as of {self.snapshot_at:%Y-%m-%d %H:%M:%S} UTC, {ago}"
        newer = "" if self.is_newest else "; a newer snapshot is there: lake.refresh() shows it"
        return f"lake {self._path}, {seen}{newer}", [
            [topic[name] for name in OVERVIEW] for topic in topics
        ]

    def __repr__(self) -> str:
        title, rows = self._overview()
        return "\n".join([shown_text(title), *aligned(OVERVIEW, rows)])

    def _repr_html_(self) -> str:
        title, rows = self._overview()
        return f"<p>{escape(shown_text(title))}</p>{html_table(OVERVIEW, rows)}"


def _plain(value: object) -> object:
    """Turn a number of numpy, from a column of pandas or astropy, into one of Python."""
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    is_number = kind in NUMPY_NUMBERS and getattr(value, "ndim", None) == 0
    return value.item() if is_number else value  # type: ignore[attr-defined]


def _id_text(object_id: SupportsIndex | str) -> str:
    """Return an id as text; refuse a float, which may have lost the id's last digits."""
    if isinstance(object_id, str):
        return object_id
    try:
        return str(index(object_id))
    except TypeError:
        raise WrongUsage(
            f"{object_id!r} is no object id: pass an integer or a text; a 64-bit id is not exact "
            f"as a float"
        ) from None
