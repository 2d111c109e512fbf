"""The text of the views of objects and measurements, over all topics.

Topics differ in their columns, and a filter's author may give a column any type. Each topic has an
arm of its own, made from its learnt schema. A field without the type that the view promises is NULL
or left out, so that no topic can spoil the view for the others.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import pyarrow as pa

from etl.catalog.topic_views import View, empty, type_text
from etl.schema.merge import merge_fields
from etl.schema.own_columns import ADDED_COLUMNS, ARRIVAL, NEWEST
from etl.schema.paths import ELEMENT, Path
from etl.schema.types import INTEGER, NUMBER, TEXT, TopicSchema, file_schema
from etl.statements import DETECTIONS_VIEW, FORCED_VIEW, literal, quoted

SIGHTINGS_VIEW = "etl.sightings"

# Each view of measurements: the list of `alert` that holds them, and their id.
MEASUREMENTS = {
    DETECTIONS_VIEW: ("diaSourcesList", "diaSourceId"),
    FORCED_VIEW: ("diaForcedSourcesList", "diaForcedSourceId"),
}
OBJECT_COLUMNS = {"object_id": "VARCHAR", "diaObjectId": "BIGINT", "objectId": "VARCHAR"}
ID_TYPES = {"diaObjectId": INTEGER, "objectId": TEXT}
PLACE_COLUMNS = {"object_ra": "DOUBLE", "object_decl": "DOUBLE"}

# Names that an alert's field can't have in `etl.sightings`, nor in the views and macros over it.
TAKEN = (*OBJECT_COLUMNS, *PLACE_COLUMNS, "separation_arcsec")

# The fields with an object's place in Rubin's alerts, and in ZTF's: degrees, ICRS.
PLACES = (("ra", "decl"), ("ramean", "decmean"))
ALERT_COLUMNS = {name: ADDED_COLUMNS[name] for name in ("night", "kafka_timestamp")}
LIGHT_COLUMNS = {"midpointMjdTai": NUMBER, "band": TEXT, "psfFlux": NUMBER, "psfFluxErr": NUMBER}


@dataclass(frozen=True, slots=True)
class _Struct:
    """The fields of one topic's alerts, or of the elements of a list in them."""

    types: Mapping[str, pa.DataType]
    wide: frozenset[Path]
    path: Path = ()
    prefix: str = ""

    @classmethod
    def of(
        cls, fields: Iterable[pa.Field], wide: frozenset[Path], path: Path = (), prefix: str = ""
    ) -> Self:
        return cls({field.name: field.type for field in fields}, wide, path, prefix)

    def read(self, name: str, wanted: pa.DataType) -> str | None:
        """Return SQL that reads a field as the type wanted; None where that is not exact."""
        found = self.types.get(name)
        if found == wanted:
            return self.prefix + quoted(name)
        widens = (found, wanted) == (INTEGER, NUMBER) and (*self.path, name) not in self.wide
        return f"{self.prefix}{quoted(name)}::DOUBLE" if widens else None

    def column(self, name: str, wanted: pa.DataType) -> str:
        """Return a column of the type wanted, NULL where the field does not fit it."""
        return f"{self.read(name, wanted) or f'NULL::{type_text(wanted)}'} AS {quoted(name)}"


def generated_views(schemas: Mapping[str, TopicSchema], alerts: View) -> list[View]:
    """Define the views that sql/views and sql/macros build on; `alerts` is the view of that name.

    They do not depend on the files, so that most checkpoints leave them unchanged.
    """
    topics = {topic: _Struct.of(file_schema(s), s.wide) for topic, s in schemas.items()}
    return [
        sightings_view(topics, alerts),
        *(measurements_view(name, *which, topics) for name, which in MEASUREMENTS.items()),
    ]


def sightings_view(topics: Mapping[str, _Struct], alerts: View) -> View:
    """Define the view of all alerts but the examples, with their objects' ids and places.

    A look-up by `diaObjectId`, or for ZTF by `object_id`, and a range of `object_decl`, reach the
    files' own columns unchanged, so that DuckDB skips row groups.
    """
    shared = _without(alerts.columns, TAKEN)
    columns = OBJECT_COLUMNS | PLACE_COLUMNS | shared
    arms = [empty(columns)]
    for topic, alert in topics.items():
        names = [name for name in shared if name in alert.types or name in ADDED_COLUMNS]
        chosen = [*_object(alert), *_place(alert), *map(quoted, names)]
        # this view is not in the topics' schema
        source = f"main.{quoted(topic)}"
        arms.append(f"SELECT {', '.join(chosen)} FROM {source} WHERE NOT etl_example")
    return View(SIGHTINGS_VIEW, " UNION ALL BY NAME ".join(arms), columns)


def measurements_view(
    name: str, listed: str, identified_by: str, topics: Mapping[str, _Struct]
) -> View:
    """Define the view of all measurements in one list of the alerts: a long light-curve table.

    Successive alerts of an object repeat its history. Within a topic and object a measurement is
    identified by its id, or where it has none (Lasair's lite lists) by its time and band; the
    version in the newest alert counts. Two in one alert that are alike and have no id are two
    measurements: Rubin's data have such. One without an id takes the id of another at the same
    time and band, since a filter may change between lite and full. A measurement with neither id
    nor time, or of an alert that names no object, is left out.
    """
    path = ("alert", listed, ELEMENT)
    lists = {
        topic: _Struct.of(fields, alert.wide, path, "m.")
        for topic, alert in topics.items()
        if (fields := _list_fields(alert, listed)) is not None and _ids(alert)
    }
    structs = ([pa.field(*item) for item in each.types.items()] for each in lists.values())
    wide = frozenset(path for each in lists.values() for path in each.wide)
    merged = merge_fields(structs, wide, path)
    agreed = {column: type_text(arrow) for column, arrow in merged.items() if arrow is not None}
    light = {column: type_text(arrow) for column, arrow in LIGHT_COLUMNS.items()}
    own = {"kafka_topic": "VARCHAR"} | OBJECT_COLUMNS | ALERT_COLUMNS | light
    rest = _without(agreed, own)
    columns = own | rest
    arms = [empty(columns)] + [
        _measurements_arm(topic, topics[topic], each, identified_by, rest)
        for topic, each in lists.items()
    ]
    return View(name, " UNION ALL BY NAME ".join(arms), columns)


def _measurements_arm(
    topic: str, alert: _Struct, found: _Struct, identified_by: str, rest: Iterable[str]
) -> str:
    """Return the SELECT of one topic; its windows are partitioned by object, so look-ups prune."""
    listed = f"struct_extract(alert, {literal(str(found.path[1]))})"
    carried = ", ".join([*_object(alert), *ALERT_COLUMNS, *ARRIVAL, f"unnest({listed}) AS m"])
    time = found.read("midpointMjdTai", NUMBER) or "NULL::DOUBLE"
    band = found.read("band", TEXT) or "NULL::VARCHAR"
    key = found.read(identified_by, INTEGER)
    # object_id, and a column of the files: a filter on it must reach them
    parted = f"object_id, {'diaObjectId' if 'diaObjectId' in alert.types else 'objectId'}"
    twin = f"max({key}) OVER (PARTITION BY {parted}, {time}, {band})"
    identity = f"coalesce({key}, {twin})" if key else "NULL::BIGINT"
    known = f"({key} IS NOT NULL OR {time} IS NOT NULL)" if key else f"{time} IS NOT NULL"
    chosen = [
        f"{literal(topic)} AS kafka_topic",
        "object_id",
        # DuckDB skips the whole topic in a look-up by an id that is a constant NULL here
        *(name if alert.read(name, t) else alert.column(name, t) for name, t in ID_TYPES.items()),
        *ALERT_COLUMNS,
        *(found.column(name, arrow) for name, arrow in LIGHT_COLUMNS.items()),
        *(f"m.{quoted(name)}" for name in rest if name in found.types),
    ]
    return (
        f"SELECT {', '.join(chosen)} FROM (SELECT *, {identity} AS identity FROM "
        f"(SELECT {carried} FROM {quoted(topic)} WHERE NOT etl_example) "
        f"WHERE object_id IS NOT NULL AND {known}) "
        f"WINDOW same AS (PARTITION BY {parted}, identity, "
        f"CASE WHEN identity IS NULL THEN {time} END, CASE WHEN identity IS NULL THEN {band} END "
        f"ORDER BY {NEWEST}) "
        "QUALIFY CASE WHEN identity IS NULL THEN rank() OVER same ELSE row_number() OVER same END"
        " = 1"
    )


def _list_fields(alert: _Struct, listed: str) -> list[pa.Field] | None:
    """Return the fields of the elements of a list in `alert`; None where it is no such list."""
    whole = alert.types.get("alert")
    if whole is None or not pa.types.is_struct(whole) or whole.get_field_index(listed) < 0:
        return None
    found = whole.field(listed).type
    is_list = pa.types.is_list(found) and pa.types.is_struct(found.value_type)
    return list(found.value_type) if is_list else None


def _ids(alert: _Struct) -> list[str]:
    """Return SQL for the ids of an object that a topic has, as text."""
    number = alert.read("diaObjectId", INTEGER)
    texts = [f"{number}::VARCHAR" if number else alert.read("diaObjectId", TEXT)]
    return [text for text in (*texts, alert.read("objectId", TEXT)) if text]


def _object(alert: _Struct) -> list[str]:
    ids = _ids(alert)
    joined = f"coalesce({', '.join(ids)})" if len(ids) > 1 else "".join(ids) or "NULL::VARCHAR"
    return [f"{joined} AS object_id", *(alert.column(*each) for each in ID_TYPES.items())]


def _place(alert: _Struct) -> list[str]:
    """Return the columns with an object's place, both from one pair of fields."""
    pairs = [(alert.read(ra, NUMBER), alert.read(decl, NUMBER)) for ra, decl in PLACES]
    whole = [pair for pair in pairs if None not in pair]
    if len(whole) == len(PLACES):
        (ra, decl), _ = whole
        chosen = [
            f"CASE WHEN {ra} IS NOT NULL AND {decl} IS NOT NULL THEN {a} ELSE {b} END"
            for a, b in zip(*whole, strict=True)
        ]
    else:
        chosen = list(map(str, whole[0])) if whole else ["NULL::DOUBLE"] * 2
    return [f"{value} AS {name}" for value, name in zip(chosen, PLACE_COLUMNS, strict=True)]


def _without(columns: Mapping[str, str], taken: Iterable[str]) -> dict[str, str]:
    """Leave out the columns whose names are taken; for DuckDB upper and lower case are one."""
    lowered = {name.lower() for name in taken}
    return {name: kind for name, kind in columns.items() if name.lower() not in lowered}
