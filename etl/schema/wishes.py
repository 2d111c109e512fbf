"""What the owner of a topic has said of its columns."""

from dataclasses import dataclass

from etl.schema.paths import Path


@dataclass(frozen=True, slots=True)
class Wishes:
    """Objects to keep as JSON text from the start, and objects whose keys are always columns."""

    json_columns: frozenset[Path] = frozenset()
    struct_columns: frozenset[Path] = frozenset()


NO_WISHES = Wishes()
