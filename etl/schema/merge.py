"""Types that hold the values of several types exactly."""

from collections.abc import Iterable

import pyarrow as pa

from etl.schema.paths import ELEMENT, Path
from etl.schema.types import INTEGER, NUMBER, is_id_path


def merge_exact(
    left: pa.DataType, right: pa.DataType, wide: frozenset[Path], path: Path
) -> pa.DataType | None:
    """Return the type that holds the values of both exactly, None where there is none."""
    if left == right:
        return left
    if pa.types.is_struct(left) and pa.types.is_struct(right):
        types = merge_fields((left, right), wide, path)
        return None if None in types.values() else pa.struct(list(types.items()))
    if pa.types.is_list(left) and pa.types.is_list(right):
        element = merge_exact(left.value_type, right.value_type, wide, (*path, ELEMENT))
        return None if element is None else pa.list_(element)
    numbers = {left, right} == {INTEGER, NUMBER}
    return NUMBER if numbers and path not in wide and not is_id_path(path) else None


def merge_fields(
    structs: Iterable[Iterable[pa.Field]], wide: frozenset[Path], path: Path = ()
) -> dict[str, pa.DataType | None]:
    """Merge the fields of the struct at `path` over several topics.

    The type of a field is None where two topics have no common type that keeps every value,
    or spell it differently in upper and lower case.
    """
    merged: dict[str, pa.DataType | None] = {}
    spelled: dict[str, str] = {}
    for field in (field for struct in structs for field in struct):
        first = spelled.setdefault(field.name.lower(), field.name)
        if first not in merged:
            merged[first] = field.type
            continue
        before, merged[first] = merged[first], None
        if before is not None and first == field.name:
            merged[first] = merge_exact(before, field.type, wide, (*path, first))
    return merged
