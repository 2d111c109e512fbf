"""Objects whose keys are data, cut out of messages before Arrow's parser sees them.

The parser needs a field for every key. An object kept as JSON text is put in as that text, and one
that learns no more fields without the keys that it has no field for. Whether a cut lies where its
field is, is seen afterwards: each leaves a mark that no message can know, and the marks found in
those fields are counted.
"""

import json
import re
import secrets
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from etl.decode.json_exact import is_deeper
from etl.schema.keyed import json_text, keyed_paths
from etl.schema.paths import ELEMENT, Path, path_text
from etl.schema.types import TopicSchema, is_null

# An object's text begins with it, and an object with fields has it as a field.
MARK = f"{secrets.token_hex(8)}:"

# Objects nested deeper go the careful way, which knows how deep they lie in the message.
MAX_OBJECT_NESTING = 400
_scan = json.JSONDecoder().raw_decode


class Uncut(Exception):
    """A message that can't be cut exactly; the careful way reads it."""


class Cutter:
    """What is cut out of messages of one schema: `texts` become texts, `structs` lose keys."""

    def __init__(self, schema: TopicSchema) -> None:
        self.texts: set[Path] = set()
        self.structs: dict[Path, frozenset[str]] = {}
        for path, arrow in keyed_paths(schema):
            if pa.types.is_string(arrow):
                self.texts.add(path)
            elif ELEMENT not in path:  # else a rescued value's path would need a number
                self.structs[path] = frozenset(field.name for field in arrow)
        texts = {path[-1] for path in self.texts} - {ELEMENT}
        ends = [path[-1] for path in self.structs]
        self._struct_named = {
            path[-1]: path
            for path in self.structs
            if ends.count(path[-1]) == 1 and path[-1] not in texts
        }
        names = [json.dumps(name, ensure_ascii=False) for name in {*texts, *self._struct_named}]
        self._start = re.compile(
            rf"(?<!\\)({'|'.join(map(re.escape, names))})[ \t\r\n]*:[ \t\r\n]*{{"
        )
        self.is_needed = bool(names)

    def cut(self, values: Sequence[bytes]) -> tuple[list[bytes], "Cuts"]:
        """Cut the objects out of all of these messages; raises `Uncut`.

        Notes
        -----
        In a message that is JSON, the key in its quotes and a colon are only found where an
        object has that key: a quote inside a text has a backslash before it. A message that is
        none is none without the cut either, since what is cut out is an object by itself.
        """
        cuts = Cuts()
        try:
            return [self._cut(value.decode(), row, cuts) for row, value in enumerate(values)], cuts
        except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, too deep
            raise Uncut from error

    def _cut(self, text: str, row: int, cuts: "Cuts") -> bytes:
        kept: list[str] = []
        at = 0
        for match in self._start.finditer(text):
            start = match.end() - 1
            if start < at:
                continue  # inside of what was cut out before
            found, end = _scan(text, start)
            openings = text.count("[", start, end) + text.count("{", start, end)
            if openings > MAX_OBJECT_NESTING and is_deeper(found, MAX_OBJECT_NESTING):
                raise Uncut
            path = self._struct_named.get(json.loads(match[1]))
            if path is None:
                put: Any = MARK + json_text(found)
            else:
                put = cuts.take_out(found, path, self.structs[path], row)
            kept += [text[at:start], json.dumps(put, ensure_ascii=False)]
            cuts.made += 1
            at = end
        kept.append(text[at:])
        return "".join(kept).encode()


class Cuts:
    """What was cut out of some messages; `rescued` has, by message, the keys without a field."""

    def __init__(self) -> None:
        self.made = 0
        self.found = 0
        self.rescued: dict[int, list[str]] = {}

    def take_out(self, found: dict[str, Any], path: Path, fields: frozenset[str], row: int) -> Any:
        """Return what a STRUCT takes of an object, and rescue the rest."""
        rest = {
            path_text((*path, name)): value
            for name, value in found.items()
            if name not in fields and not is_null(value)
        }
        if rest:
            members = json.dumps(rest, ensure_ascii=False)[1:-1]
            members.encode()  # half a surrogate pair makes the message a reject
            self.rescued.setdefault(row, []).append(members)
        return {name: value for name, value in found.items() if name in fields} | {MARK: MARK}
