import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import astropy.units as u
import duckdb
import pyarrow as pa
import pytest

from etl.catalog.topic_views import type_text
from etl.demo import alerts
from etl.lake.layout import Lake
from etl.schema.types import EMPTY, TopicSchema
from etl.statements import sql_text
from tests.conftest import SHARED_ALERTS
from tests.sql.lakes import Writer

SCRIPT = "dictionary/dictionary"
ROW = re.compile(r"^    \('(\w+)', '(\w+)', '(\w+)', ", re.MULTILINE)
LISTS = {"diaSourcesList": "diaSource", "diaForcedSourcesList": "diaForcedSource"}
LASAIR = ("objects", "sherlock_classifications")
OUR_OWN = {"UTC", "alert"}


def real(kind: str) -> list[bytes]:
    """Return the real alerts of one kind."""
    path = SHARED_ALERTS / f"lsst_{kind}.ndjson"
    if not path.exists():
        pytest.skip(f"no {path}: the real alerts are not part of this repository")
    return path.read_bytes().splitlines()


def simulated(kind: str) -> list[bytes]:
    """Return simulated alerts of one kind."""
    return list(alerts.alerts(kind, 12, now=datetime(2026, 3, 1, tzinfo=UTC)))


ALERTS = {
    **{f"real {kind}": (real, kind) for kind in ("plain", "lite", "full", "objects_row")},
    **{f"simulated {kind}": (simulated, kind) for kind in alerts.KINDS},
}


@pytest.fixture(scope="module")
def dictionary() -> Iterator[duckdb.DuckDBPyConnection]:
    """Run the script where nothing else is."""
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA etl")
        connection.execute(sql_text(SCRIPT))
        yield connection


def learnt(alerts: Sequence[bytes], root: Path) -> TopicSchema:
    """Have the writer learn the types of some alerts."""
    writer = Writer(root)
    writer.run(alerts)
    writer.catalog.close()
    return writer.schemas.get("lasair_one", EMPTY)


def fields_of(schema: TopicSchema) -> dict[tuple[str, str], str]:
    """Return every field that has a type, with the dictionary's table for it."""
    tops = {field.name: field.type for field in schema.fields}
    found = {("objects", name): arrow for name, arrow in tops.items() if name not in OUR_OWN}
    alert = tops.get("alert", pa.struct([]))
    for field in alert:
        if field.name in LISTS and pa.types.is_struct(field.type.value_type):
            found |= {(LISTS[field.name], f.name): f.type for f in field.type.value_type}
        if field.name == "diaObject":
            found |= {("diaObject", f.name): f.type for f in field.type}
        if field.name == "ebv":
            found["objects", "ebv"] = field.type
    return {key: type_text(arrow) for key, arrow in found.items() if not pa.types.is_null(arrow)}


@pytest.mark.parametrize("kind", ALERTS)
def test_every_field_of_the_alerts_is_explained(
    dictionary: duckdb.DuckDBPyConnection, tmp_path: Path, kind: str
) -> None:
    """The dictionary has each field of the real and the simulated alerts, with the type it has."""
    give, name = ALERTS[kind]
    known = {
        ("objects" if table in LASAIR else table, field): sql_type
        for table, field, sql_type in dictionary.execute(
            "SELECT source_table, field, type FROM etl.dictionary"
        ).fetchall()
    }
    found = fields_of(learnt(give(name), tmp_path / "lake"))
    assert len(found) > 5
    for key, sql_type in found.items():
        assert known.get(key) in {sql_type, "DOUBLE" if sql_type == "BIGINT" else None}, key


def test_all_attributes_of_an_objects_row_are_explained(
    dictionary: duckdb.DuckDBPyConnection,
) -> None:
    """Also the attributes that were NaN or null in the one real row that we have."""
    (row,) = real("objects_row")
    fields = dictionary.execute(
        "SELECT field FROM etl.dictionary WHERE source_table = 'objects'"
    ).fetchall()
    assert set(json.loads(row)) - OUR_OWN - {field for (field,) in fields} == set()


def test_a_field_is_explained_once(dictionary: duckdb.DuckDBPyConnection) -> None:
    """No two rows speak of one field of one table, in whatever case it is spelled."""
    assert not dictionary.execute(
        "SELECT survey, source_table, lower(field) FROM etl.dictionary GROUP BY ALL "
        "HAVING count(*) > 1"
    ).fetchall()


def test_the_script_is_sorted() -> None:
    """One line a field, in the order of table and field, so that changes can be read as a diff."""
    rows = ROW.findall(sql_text(SCRIPT))
    keys = [(survey, table.lower(), field.lower()) for survey, table, field in rows]
    assert len(keys) > 300
    assert keys == sorted(keys)


def test_every_row_is_complete(dictionary: duckdb.DuckDBPyConnection) -> None:
    """Each field has a type of the lake, a meaning and a source; astropy can read its unit."""
    rows = dictionary.execute("SELECT field, type, unit, meaning, source FROM etl.dictionary")
    for field, sql_type, unit, meaning, source in rows.fetchall():
        assert sql_type in {"BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR"}, field
        assert u.Unit(unit or "").to_string() is not None, field
        assert len(meaning) > 5, field
        assert re.search(r"\d", source), field


# ----------------------------------------------------------------------------- comments on columns
@pytest.fixture(scope="module")
def commented(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Publish a lake with simulated alerts of all kinds, and one topic with odd columns."""
    writer = Writer(tmp_path_factory.mktemp("dictionary") / "lake")
    for kind in alerts.KINDS:
        writer.run(simulated(kind), topic=f"lasair_{kind}")
    writer.run([b'{"diaObjectId": "one", "ra": 5, "mine": 1.5}'], topic='lasair_"odd"')
    writer.run(simulated("plain"), topic="lasair_plain")
    return writer.close()


def comments(lake: Lake, view: str) -> dict[str, str | None]:
    """Read the comments that a user sees."""
    with duckdb.connect(str(lake.public), read_only=True) as connection:
        return dict(
            connection.execute(
                "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = ?", [view]
            ).fetchall()
        )


def test_columns_of_views_say_what_they_are(commented: Lake) -> None:
    """The published file explains the columns of topics and of the views over them, with units."""
    for view in ("lasair_plain", "lasair_full", "alerts", "sightings"):
        found = comments(commented, view)
        assert found["decl"] == "Declination of the object, ICRS [deg]", view
        assert found["nDiaSources"] == "Number of detections", view
        assert found["kafka_topic"] == "The Lasair topic that the alert came from", view
    assert comments(commented, "lasair_plain")["g_psfFlux"] == (
        "Difference flux of the latest g detection [nJy]"
    )


def test_measurements_say_what_they_are(commented: Lake) -> None:
    """A detection's flux and a forced one's have the meaning of their own lists."""
    detections, forced = (comments(commented, view) for view in ("detections", "forced"))
    assert detections["psfFlux"] == "Point-source flux in the difference image [nJy]"
    assert forced["psfFlux"] == (
        "Point-source flux in the difference image at the object's place [nJy]"
    )
    assert detections["midpointMjdTai"] == "Middle of the exposure; MJD, TAI [d]"
    assert sum(comment is not None for comment in detections.values()) > 80


def test_a_column_of_another_type_is_not_explained(commented: Lake) -> None:
    """A name alone is no meaning: text under an id's name, or an unknown field, has no comment."""
    found = comments(commented, 'lasair_"odd"')
    assert found["diaObjectId"] is None
    assert found["mine"] is None
    assert found["ra"] == "Right ascension of the object, ICRS [deg]"
