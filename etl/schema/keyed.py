"""Objects whose keys are data, such as one keyed by the ids of its neighbours.

Each key would become a column of its own. Such an object is kept as JSON text in one column; where
it is a STRUCT already in older files, it learns no more keys, and their values are rescued.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from etl.schema.paths import Path, path_text
from etl.schema.types import TopicSchema, typed
from etl.schema.wishes import NO_WISHES, Wishes

# So many keys are needed to judge by, in so many objects ...
FEWEST_KEYS = 32
FEWEST_OBJECTS = 16

# ... or that an object had before it is enough that no key comes again.
MANY_KEYS = 256


@dataclass(slots=True)
class _Tally:
    """The keys of one object of the alerts, as one batch has them."""

    objects: int = 0
    new: int = 0
    again: int = 0


@dataclass(slots=True)
class Keys:
    """Judges objects by their keys, while one batch is read; `base` is what files have already."""

    base: TopicSchema
    wishes: Wishes = NO_WISHES
    _tallies: dict[Path, _Tally] = field(default_factory=lambda: defaultdict(_Tally))

    def are_data(self, path: Path, keys: int, new: int, fields: int) -> bool:
        """Judge an object after one more of it: `new` of its `keys` were not among the fields."""
        tally = self._tallies[path]
        tally.objects += 1
        tally.new += new
        tally.again += keys - new
        if not new or not path or path in self.wishes.struct_columns:
            return False
        if tally.objects >= FEWEST_OBJECTS and fields >= FEWEST_KEYS:
            share = 1 if fields >= MANY_KEYS else 4
            return share * tally.again <= tally.new
        return fields - tally.new >= MANY_KEYS and not tally.again

    def is_stored(self, path: Path) -> bool:
        """Say whether files have the object as a STRUCT already."""
        arrow: pa.DataType = self.base.fields if self.base.version else pa.struct([])
        for name in path:
            if pa.types.is_list(arrow):
                arrow = arrow.value_type
            elif pa.types.is_struct(arrow) and arrow.get_field_index(name) >= 0:
                arrow = arrow.field(name).type
            else:
                return False
        return typed(arrow) is not None


_TEXT_OR_NAN = re.compile(r'"(?:[^"\\]|\\.)*"|NaN')


def json_text(value: object) -> str:
    """Write an object as text that `json.loads` reads as the same, but for NaN, which is null.

    >>> json_text({"a": 1.50, "b": float("nan"), "NaN": "NaN"})
    '{"a": 1.5, "b": null, "NaN": "NaN"}'
    """
    text = json.dumps(value, ensure_ascii=False)
    if "NaN" not in text:
        return text
    return _TEXT_OR_NAN.sub(lambda found: "null" if found[0] == "NaN" else found[0], text)


def keyed_paths(schema: TopicSchema) -> Iterator[tuple[Path, pa.DataType]]:
    """Go through the objects with keys that are data: text, or a STRUCT that learns no more."""
    for path in schema.wide:
        arrow = type_at(schema, path)
        if not pa.types.is_integer(arrow):
            yield path, arrow


def keyed_names(schema: TopicSchema, known: frozenset[Path]) -> list[tuple[str, bool]]:
    """List the objects whose keys are data, but for those `known`, and whether each is text."""
    return sorted(
        (path_text(path), pa.types.is_string(arrow))
        for path, arrow in keyed_paths(schema)
        if path not in known
    )


def type_at(schema: TopicSchema, path: Path) -> pa.DataType:
    """Return the type of the field at a path."""
    arrow: pa.DataType = schema.fields
    for name in path:
        arrow = arrow.value_type if name is None else arrow.field(name).type
    return arrow
