"""The files that hold each alert once, for programs that read Parquet without DuckDB's views."""

from dataclasses import dataclass

from etl.errors import WrongUsage
from etl.read.published import Published


@dataclass(frozen=True, slots=True)
class LiveFiles:
    """Absolute paths: of the live files that are there, and of those that are gone."""

    there: list[str]
    gone: list[str]

    @property
    def complaint(self) -> str | None:
        """What is wrong with the list; None where it holds every alert."""
        if not self.gone:
            return None
        more = f" and {len(self.gone) - 1} more" if len(self.gone) > 1 else ""
        return (
            f"{self.gone[0]}{more}: gone, and left out of the list; lasair-etl verify names all "
            f"that is missing"
        )


def live_files(published: Published, topic: str | None = None) -> LiveFiles:
    """List the files of a topic's alerts, or of all alerts.

    A topic's files with its newest schema come first: many programs take the columns of the first.

    Raises
    ------
    WrongUsage
        The lake has no such topic.
    """
    if topic is not None:
        check_topic(published, topic)
    found = published.rows("queries/alert_files", topic=topic)
    paths = [published.lake.root / path for (path,) in found]
    there: list[str] = []
    gone: list[str] = []
    for path in paths:
        (there if path.exists() else gone).append(str(path))
    return LiveFiles(there, gone)


def check_topic(published: Published, topic: str) -> None:
    """Refuse a topic that the lake does not have; name those that it has.

    Raises
    ------
    WrongUsage
        The lake has no such topic.
    """
    topics = [name for name, *_ in published.rows("queries/status_topics")]
    if topic not in topics:
        raise WrongUsage(f"{topic}: no such topic here; there are {', '.join(topics)}")
