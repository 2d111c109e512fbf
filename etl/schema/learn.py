"""A topic's schema, learnt from its alerts; what does not fit it is rescued, never changed."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from etl.schema.columns import leaves
from etl.schema.keyed import Keys, json_text
from etl.schema.paths import ELEMENT, Path, path_text
from etl.schema.types import (
    ARROW_TYPES,
    EPOCH,
    EXACT_LIMIT,
    SQL_TYPES,
    SURROGATE,
    UNTYPED,
    TopicSchema,
    is_id_path,
    is_null,
    is_reserved,
    typed,
)

MAX_FIELDS = 2000
MAX_DEPTH = 32
MAX_NAME_CHARS = 255
UTC_FORM = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?")

# The Python types of which every value fits a column of the SQL type, and teaches nothing new.
PLAIN_TYPES = {"VARCHAR": str, "BOOLEAN": bool, "DOUBLE": float}


def count_fields(arrow: pa.DataType) -> int:
    """Count the fields of a type, nested ones and list elements included."""
    return sum(1 for _ in leaves(arrow))


class _Node:
    """One field of a schema, unfolded for a walk along an alert's values.

    `widen` learns from a value, `fit` sorts values into what fits and what is rescued.
    """

    __slots__ = ("element", "fields", "identifier", "kind", "lowered", "plain", "typed", "wide")

    def __init__(self, arrow: pa.DataType, path: Path, wide: frozenset[Path]) -> None:
        self.kind = SQL_TYPES.get(arrow, "")
        self.wide = path in wide
        self.plain = None if self.wide else PLAIN_TYPES.get(self.kind)
        self.identifier = is_id_path(path)
        self.typed = typed(arrow) is not None
        self.fields: dict[str, _Node] | None = None
        self.element: _Node | None = None
        self.lowered: set[str] = set()
        if pa.types.is_struct(arrow):
            self.fields = {f.name: _Node(f.type, (*path, f.name), wide) for f in arrow}
            self.lowered = {name.lower() for name in self.fields}
        elif pa.types.is_list(arrow):
            self.element = _Node(arrow.value_type, (*path, ELEMENT), wide)

    def to_arrow(self) -> pa.DataType:
        if self.fields is not None:
            return pa.struct([pa.field(n, node.to_arrow()) for n, node in self.fields.items()])
        if self.element is not None:
            return pa.list_(self.element.to_arrow())
        return ARROW_TYPES.get(self.kind, UNTYPED)

    def wide_paths(self, path: Path = ()) -> Iterator[Path]:
        """Walk through the paths of the wide fields; see `TopicSchema`."""
        if self.wide:
            yield path
        for name, node in (self.fields or {}).items():
            yield from node.wide_paths((*path, name))
        if self.element is not None:
            yield from self.element.wide_paths((*path, ELEMENT))

    def widen(self, value: Any, path: Path, room: "_Room") -> None:
        """Learn from `value`; on conflict stay as it is."""
        if is_null(value):
            return
        if not self.kind and self._gives_way_to(value):
            self.fields = self.element = None
            room.changed = True
        untyped = not self.kind and self.fields is None and self.element is None
        if isinstance(value, dict):
            if untyped and path in room.keys.wishes.json_columns:
                self._become_text(room)
            elif untyped and len(path) <= MAX_DEPTH:
                self.fields = {}
                room.changed = True
            if self.fields is not None:
                self._widen_fields(value, path, room)
        elif isinstance(value, list):
            if untyped and len(path) < MAX_DEPTH and room.take():
                self.element = _Node(UNTYPED, (*path, ELEMENT), frozenset())
                room.changed = True
            self._widen_element(value, path, room)
        elif untyped or self.kind == "BIGINT":
            self._widen_scalar(value, room)

    def _widen_element(self, value: list[Any], path: Path, room: "_Room") -> None:
        if self.element is not None:
            for inner in value:
                self.element.widen(inner, (*path, ELEMENT), room)

    def _gives_way_to(self, value: Any) -> bool:
        """Return whether this had only empty lists or objects so far, and `value` is another."""
        fits = isinstance(value, list if self.fields is None else dict)
        return not fits and self.is_empty() and _brings_type(value)

    def is_empty(self) -> bool:
        """Return whether nothing of this has a type."""
        inner = self.fields.values() if self.fields is not None else (self.element,)
        return not self.kind and all(node is None or node.is_empty() for node in inner)

    def _widen_scalar(self, value: Any, room: "_Room") -> None:
        kind, wide = self.kind, self.wide
        if not kind and not (self.identifier and isinstance(value, float)):
            self.kind = _kind(value)
        if kind == "BIGINT" and isinstance(value, float) and not wide and not self.identifier:
            self.kind = "DOUBLE"
        elif self.kind == "BIGINT" and _is_integer(value) and abs(value) > EXACT_LIMIT:
            self.wide = True
        if (self.kind, self.wide) != (kind, wide):
            room.changed = True

    def _widen_fields(self, value: dict[str, Any], path: Path, room: "_Room") -> None:
        assert self.fields is not None
        before = len(self.fields)
        for name, inner in value.items():
            node = self.fields.get(name)
            if node is None:
                if self.wide or not _is_acceptable(name, path, self.lowered) or not room.take():
                    continue
                node = self.fields[name] = _Node(UNTYPED, (*path, name), frozenset())
                self.lowered.add(name.lower())
                room.changed = True
            if inner is not None and type(inner) is not node.plain:
                node.widen(inner, (*path, name), room)
        fields = len(self.fields)
        if not self.wide and room.keys.are_data(path, len(value), fields - before, fields):
            self._stop_learning(path, room)

    def _stop_learning(self, path: Path, room: "_Room") -> None:
        """Leave an object whose keys are data as files have it, or else make it JSON text."""
        self.wide = room.changed = True
        if not room.keys.is_stored(path):
            self._become_text(room)

    def _become_text(self, room: "_Room") -> None:
        self.fields, self.kind, self.plain = None, "VARCHAR", None
        self.wide = room.changed = True

    def fit(self, value: Any, path: tuple[str | int, ...], rescued: dict[str, Any]) -> Any:
        """Return `value` as its column stores it; put into `rescued` what does not fit."""
        if is_null(value):
            return None
        if self.fields is not None and isinstance(value, dict) and (self.typed or not path):
            return self._fit_fields(value, path, rescued)
        if self.element is not None and isinstance(value, list) and self.typed:
            return self._fit_list(value, path, rescued)
        if self.kind == "DOUBLE" and (isinstance(value, float) or _is_exact_integer(value)):
            return float(value)
        if self.kind == "BIGINT" and _is_integer(value):
            return value
        if self.kind == "VARCHAR" and isinstance(value, dict if self.wide else str):
            return json_text(value) if self.wide else value
        if self.kind == "BOOLEAN" and isinstance(value, bool):
            return value
        if self.kind == "TIMESTAMP" and isinstance(value, str):
            micros = parse_utc(value)
            if micros is not None:
                return micros
        rescued[path_text(path)] = value
        return None

    def _fit_list(
        self, value: list[Any], path: tuple[str | int, ...], rescued: dict[str, Any]
    ) -> list[Any]:
        """Fit the elements in place: beside a large list, there is no memory for a second one."""
        assert self.element is not None
        for i, inner in enumerate(value):
            value[i] = self.element.fit(inner, (*path, i), rescued)
        return value

    def _fit_fields(
        self, value: dict[str, Any], path: tuple[str | int, ...], rescued: dict[str, Any]
    ) -> dict[str, Any]:
        assert self.fields is not None
        row = {}
        for name, inner in value.items():
            node = self.fields.get(name)
            if node is not None:
                if type(inner) is node.plain:
                    row[name] = inner if inner == inner else None  # noqa: PLR0124 - NaN is not
                    continue
                fitted = node.fit(inner, (*path, name), rescued)
                if node.typed:
                    row[name] = fitted
            elif not is_null(inner):
                rescued[path_text((*path, name))] = inner
        return row


class _Room:
    """The number of fields that a topic may still learn: no message widens it without bound."""

    def __init__(self, used: int, keys: Keys) -> None:
        self.keys = keys
        self.left = MAX_FIELDS - used
        self.changed = False

    def take(self) -> bool:
        self.left -= 1
        return self.left >= 0


def _brings_type(value: Any) -> bool:
    """Return whether anything in a value has a type; it may be nested deeper than Python calls."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict | list):
            left += one.values() if isinstance(one, dict) else one
        elif not is_null(one) and _kind(one):
            return True
    return False


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _is_exact_integer(value: Any) -> bool:
    return _is_integer(value) and abs(value) <= EXACT_LIMIT


def _kind(value: Any) -> str:
    """Return the SQL type of a scalar, empty for an integer beyond 64 bits."""
    if isinstance(value, bool):
        return "BOOLEAN"
    if isinstance(value, str):
        return "VARCHAR"
    if isinstance(value, float):
        return "DOUBLE"
    return "BIGINT" if _is_integer(value) else ""


def _is_acceptable(name: str, path: Path, lowered: set[str]) -> bool:
    return (
        0 < len(name) <= MAX_NAME_CHARS
        and "\0" not in name
        and not SURROGATE.search(name)
        and name.lower() not in lowered
        and (len(path) > 0 or not is_reserved(name))
    )


def observe(schema: TopicSchema, alerts: Iterable[Mapping[str, Any]]) -> TopicSchema:
    """Widen a schema by the fields of these alerts; on conflict the first type stays.

    The version stays too: `settle` numbers the result.

    >>> from etl.schema.types import EMPTY
    >>> observe(EMPTY, [{"mag": 5}, {"mag": 5.5}]).fields.field("mag").type
    DataType(double)
    """
    return Learner(schema).learn(alerts).schema


def settle(schema: TopicSchema, base: TopicSchema) -> TopicSchema:
    """Number a schema that was widened in several steps from `base` as one new version.

    In every struct the fields stand in the order in which they got their type, so that all
    files of one version, also those of later runs, have one and the same schema.
    """
    fields = _in_order_of_typing(schema.fields, base.fields)
    changed = base.version == 0 or typed(fields) != typed(base.fields)
    wide = schema.wide & frozenset(_wide_paths(fields)) if schema.wide else schema.wide
    return TopicSchema(base.version + 1 if changed else base.version, fields, wide)


def _wide_paths(arrow: pa.DataType, path: Path = ()) -> Iterator[Path]:
    """Walk through the paths of the fields that may be wide."""
    if pa.types.is_struct(arrow):
        yield path
        for field in arrow:
            yield from _wide_paths(field.type, (*path, field.name))
    elif pa.types.is_list(arrow):
        yield from _wide_paths(arrow.value_type, (*path, ELEMENT))
    elif pa.types.is_int64(arrow) or pa.types.is_string(arrow):
        yield path


def _in_order_of_typing(arrow: pa.DataType, base: pa.DataType) -> pa.DataType:
    if pa.types.is_list(arrow):
        known = base.value_type if pa.types.is_list(base) else UNTYPED
        return pa.list_(_in_order_of_typing(arrow.value_type, known))
    if not pa.types.is_struct(arrow):
        return arrow
    before = {f.name: f.type for f in base} if pa.types.is_struct(base) else {}
    earlier = [name for name, inner in before.items() if typed(inner) is not None]
    later = [f.name for f in arrow if f.name not in earlier]
    later.sort(key=lambda name: typed(arrow.field(name).type) is None)
    pairs = {name: (arrow.field(name).type, before.get(name, UNTYPED)) for name in earlier + later}
    return pa.struct([(name, _in_order_of_typing(*pair)) for name, pair in pairs.items()])


def parse_utc(text: str) -> int | None:
    """Read `YYYY-MM-DD HH:MM:SS[.ffffff]` as microseconds since 1970; None if it has another form.

    >>> parse_utc("2026-02-14 13:41:02")
    1771076462000000
    """
    if UTC_FORM.fullmatch(text) is None:
        return None
    try:
        return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)
    except ValueError:
        return None


class Learner:
    """A schema unfolded for work on many alerts; unfolding costs more than a few of them."""

    def __init__(self, schema: TopicSchema, keys: Keys | None = None) -> None:
        self.schema = schema
        self._keys = keys or Keys(schema)
        self._root = _Node(schema.fields, (), schema.wide)
        self._used = count_fields(schema.fields)

    def learn(self, alerts: Iterable[Mapping[str, Any]]) -> "Learner":
        """Widen the schema by the fields of these alerts, and return the learner to go on with."""
        room = _Room(self._used, self._keys)
        for alert in alerts:
            self._root.widen(alert, (), room)
        if not room.changed:
            return self
        wide = frozenset(self._root.wide_paths())
        return Learner(replace(self.schema, fields=self._root.to_arrow(), wide=wide), self._keys)

    def fit(self, alert: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
        """Split an alert into values that fit their columns, and the others; uses up its lists.

        Returns
        -------
        row, rescued
            The values of the typed fields, times as integer microseconds; and a JSON object,
            path to original value, of everything else, None where all fits.

        >>> from etl.schema.types import EMPTY
        >>> Learner(observe(EMPTY, [{"mag": 5.5}])).fit({"mag": "bright"})
        ({'mag': None}, '{"mag": "bright"}')
        """
        rescued: dict[str, Any] = {}
        row: dict[str, Any] = self._root.fit(alert, (), rescued)
        return row, json.dumps(rescued, ensure_ascii=False) if rescued else None
