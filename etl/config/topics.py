"""The names that a topic may have."""

import re
from collections.abc import Sequence
from typing import Any

from etl.errors import WrongSettings, WrongUsage
from etl.statements import GENERATED_VIEWS, sql_names
from etl.text.words import cut

# Kafka takes 249, but a folder `kafka_topic=<name>` may have 255 characters.
TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]{1,243}")

# Lasair shortens the names of filters that are longer.
LONGEST_FILTER = 128

# Names that mean another folder, or that DuckDB reads as NULL in the name of a folder.
FOLDER_NAMES = {".", "..", "null", "__hive_default_partition__"}


def check_topic(name: Any) -> None:
    """Raise `WrongSettings` where a topic can't have this name here."""
    if not isinstance(name, str) or not TOPIC_NAME.fullmatch(name):
        raise WrongSettings(
            f"topics: {cut(repr(name), 300)} is not a topic name: 243 letters, digits, '_', '-' "
            f"and '.' at most"
        )
    if name.lower() in FOLDER_NAMES | own_names():
        raise WrongSettings(f"topics: {name!r} is a reserved name, here or in DuckDB")


def own_names() -> set[str]:
    """The names of this project's views and macros, which no topic can have."""
    files = [*sql_names("views"), *sql_names("macros")]
    return GENERATED_VIEWS | {name.partition("/")[2] for name in files}


def check_case(names: list[str]) -> None:
    """Raise `WrongSettings` where topics differ only in case, which DuckDB ignores in names."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise WrongSettings(
                f"topics: {other} and {name} differ only in case, which DuckDB ignores; "
                f"use a lake for each"
            )


def lasair_topic(user_id: int, filter_name: str) -> str:
    """Return the topic of a Lasair filter, by Lasair's own rule.

    Notes
    -----
    `topic_name` of Lasair's web server keeps only letters, digits, `_`, `-` and `.`, and of a
    name longer than 128 the first and last 64 (lsst-uk/lasair-lsst,
    webserver/lasair/apps/filter_query). It keeps letters of any script, but Kafka allows only
    plain ones, so `check_topic` refuses the others.

    >>> lasair_topic(2, "SN-like candidates")
    'lasair_2SN-likecandidates'
    """
    name = "".join(c for c in filter_name if c.isalnum() or c in "_-.")
    half = LONGEST_FILTER // 2
    return f"lasair_{user_id}{name if len(name) <= LONGEST_FILTER else name[:half] + name[-half:]}"


def topics_of(user_id: int | None, filters: Sequence[str], topics: Sequence[str]) -> list[str]:
    """Return the topics of these Lasair filters, and those named directly."""
    if filters and user_id is None:
        raise WrongUsage("--filter needs your Lasair user id too: --user-id")
    derived = {lasair_topic(user_id or 0, each): each for each in filters}
    for topic, each in derived.items():
        if not TOPIC_NAME.fullmatch(topic):
            raise WrongUsage(
                f"filter {each!r}: its topic would be {topic}, which Kafka does not allow; "
                f"rename the filter with plain letters"
            )
    wanted = list(dict.fromkeys([*derived, *topics]))
    for topic in wanted:
        check_topic(topic)
    check_case(wanted)
    return wanted
