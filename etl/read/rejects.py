"""One reject, read from the lake."""

from dataclasses import dataclass
from datetime import date, datetime

from etl.errors import WrongUsage
from etl.read.published import Published


@dataclass(frozen=True, slots=True)
class StoredReject:
    """A message that could not be decoded, as the lake has it."""

    topic: str
    partition: int
    offset: int
    incarnation: int
    timestamp: datetime | None
    night: date
    run_id: str
    reason: str
    value: bytes


def reject(
    published: Published, topic: str, partition: int, offset: int, incarnation: int | None = None
) -> StoredReject:
    """Read one reject, by default of the topic's newest incarnation that has one there.

    Raises
    ------
    WrongUsage
        There is none at these coordinates.
    """
    rows = published.rows(
        "queries/reject", topic=topic, partition=partition, offset=offset, incarnation=incarnation
    )
    if not rows:
        raise WrongUsage(
            f"{topic}[{partition}]: no reject at offset {offset}; lasair-etl rejects lists them"
        )
    return StoredReject(*rows[0])
