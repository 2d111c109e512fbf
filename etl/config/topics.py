"""The names that a topic may have."""

import re
from collections.abc import Sequence
from typing import Any

from etl.errors import WrongSettings, WrongUsage
from etl.statements import GENERATED_VIEWS, sql_names

# Kafka takes 249, but a folder `kafka_topic=<name>` may have 255 characters.
TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]{1,243}")
LASAIR_NAME_CHARS = 128
LONGEST_FILTER = 128

# What means another folder, and what DuckDB reads as NULL in a folder's name.
FOLDER_NAMES = {".", "..", "null", "__hive_default_partition__"}


def check_topic(name: Any) -> None:
    """Refuse what can't be the name of a topic here; raises `WrongSettings`."""
    if not isinstance(name, str) or not TOPIC_NAME.fullmatch(name):
        raise WrongSettings(
            f"topics: {name!r} can't be a topic: letters, digits, '_', '-' and '.', 243 at most"
        )
    if name.lower() in FOLDER_NAMES | own_names():
        raise WrongSettings(f"topics: {name!r} has a meaning of its own here and in DuckDB")


def own_names() -> set[str]:
    """Name the views and macros of this project, which stand beside those of the topics."""
    files = [*sql_names("views"), *sql_names("macros")]
    return GENERATED_VIEWS | {name.partition("/")[2] for name in files}


def check_case(names: list[str]) -> None:
    """Refuse topics that differ only in case: DuckDB can't tell their views apart."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise WrongSettings(
                f"topics: {other} and {name} differ only in case, which DuckDB can't tell apart; "
                f"use a lake for each"
            )


def lasair_topic(user_id: int, filter_name: str) -> str:
    """Name the topic of a Lasair filter, by Lasair's own rule.

    Notes
    -----
    `topic_name` of Lasair's web server drops every character but letters, digits, `_`, `-` and
    `.`, and cuts what is left, where it is longer than 128, to its first and last 64
    (lsst-uk/lasair-lsst, webserver/lasair/apps/filter_query). Letters are those of any script
    there: such a name is none that Kafka allows, and `check_topic` refuses it.

    >>> lasair_topic(2, "SN-like candidates")
    'lasair_2SN-likecandidates'
    """
    name = "".join(c for c in filter_name if c.isalnum() or c in "_-.")
    half = LONGEST_FILTER // 2
    return f"lasair_{user_id}{name if len(name) <= LONGEST_FILTER else name[:half] + name[-half:]}"


def topics_of(user_id: int | None, filters: Sequence[str], topics: Sequence[str]) -> list[str]:
    """Name the topics of Lasair filters, by Lasair's rule, and those named outright."""
    if filters and user_id is None:
        raise WrongUsage("a filter's topic needs your Lasair user id too: --user-id")
    derived = {lasair_topic(user_id or 0, each): each for each in filters}
    for topic, each in derived.items():
        if not TOPIC_NAME.fullmatch(topic):
            raise WrongUsage(
                f"filter {each!r}: Lasair would name its topic {topic}, which Kafka does not "
                f"allow; rename the filter with plain letters"
            )
    wanted = list(dict.fromkeys([*derived, *topics]))
    for topic in wanted:
        check_topic(topic)
    check_case(wanted)
    return wanted
