"""The type that holds the values of two types exactly."""

from collections.abc import Iterable

import pyarrow as pa

from etl.schema.paths import ELEMENT, Path
from etl.schema.types import INTEGER, NUMBER, is_id_path


def merge_exact(
    left: pa.DataType, right: pa.DataType, wide: frozenset[Path], path: Path
) -> pa.DataType | None:
    """Give the type that holds the values of both exactly, None where there is none."""
    if left == right:
        return left
    if pa.types.is_struct(left) and pa.types.is_struct(right):
        types = {f.name: f.type for f in left}
        lowered = {name.lower(): name for name in types}
        for field in right:
            if lowered.get(field.name.lower(), field.name) != field.name:
                return None
            both = types.get(field.name)
            merged = (
                field.type
                if both is None
                else merge_exact(both, field.type, wide, (*path, field.name))
            )
            if merged is None:
                return None
            types[field.name] = merged
        return pa.struct([pa.field(n, t) for n, t in types.items()])
    if pa.types.is_list(left) and pa.types.is_list(right):
        element = merge_exact(left.value_type, right.value_type, wide, (*path, ELEMENT))
        return None if element is None else pa.list_(element)
    numbers = {left, right} == {INTEGER, NUMBER}
    return NUMBER if numbers and path not in wide and not is_id_path(path) else None


def merge_fields(
    structs: Iterable[Iterable[pa.Field]], wide: frozenset[Path], path: Path = ()
) -> dict[str, pa.DataType | None]:
    """Join the fields of one struct, at `path`, as several topics have it.

    A field has None for its type where two topics have no common type that keeps every value,
    or spell it differently in upper and lower case.
    """
    merged: dict[str, pa.DataType | None] = {}
    spelled: dict[str, str] = {}
    for field in (field for struct in structs for field in struct):
        first = spelled.setdefault(field.name.lower(), field.name)
        if first not in merged:
            merged[first] = field.type
            continue
        before = merged[first]
        merged[first] = (
            merge_exact(before, field.type, wide, (*path, first))
            if before is not None and first == field.name
            else None
        )
    return merged
