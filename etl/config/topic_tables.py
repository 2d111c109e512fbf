"""The settings that speak of one topic: `[topic."lasair_2x"]` in the settings file."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from etl.config.topics import check_topic
from etl.schema.paths import Path, parse_path, path_text
from etl.schema.wishes import Wishes

KNOWN = tuple(field.name for field in fields(Wishes))


def topic_tables(value: Any) -> dict[str, Wishes]:
    """Read the tables of all topics; raises `TypeError` and `ValueError`."""
    if not isinstance(value, Mapping):
        raise TypeError('must be tables, one for each topic: [topic."lasair_2x"]')
    for name in value:
        check_topic(name)
    return {name: _wishes(name, table) for name, table in value.items()}


def _wishes(topic: str, table: Any) -> Wishes:
    if not isinstance(table, Mapping):
        raise TypeError(f'must be a table: [topic."{topic}"]')
    for key in table:
        if key not in KNOWN:
            raise ValueError(f"unknown setting {key} of {topic}; known: {', '.join(KNOWN)}")
    wishes = Wishes(**{key: _columns(key, names) for key, names in table.items()})
    both = wishes.json_columns & wishes.struct_columns
    if both:
        raise ValueError(f"{path_text(min(both))} of {topic} can't be both")
    return wishes


def _columns(key: str, names: Any) -> frozenset[Path]:
    if not isinstance(names, list):
        raise TypeError(f"{key} must be a list of fields")
    for name in names:
        if not isinstance(name, str) or not name or path_text(parse_path(name)) != name:
            raise ValueError(f'{key}: {name!r} is no field, as in "near" or "alert.near"')
    return frozenset(map(parse_path, names))
