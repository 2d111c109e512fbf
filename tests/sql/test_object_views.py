import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from etl.read.published import Published
from tests.sampling import one_in
from tests.sql.lakes import Writer

ID = 313637935709683761
VIEWS = ("etl.sightings", "detections", "forced", "latest", "objects", "examples")
UTC = "2026-02-14 13:41:02"


def alert(**fields: Any) -> bytes:
    """Make an alert as Lasair sends it."""
    return json.dumps({"UTC": UTC, **fields}).encode()


def light(*sources: dict[str, Any], **fields: Any) -> bytes:
    """Make an alert of one object with a list of detections."""
    return alert(diaObjectId=ID, alert={"diaSourcesList": list(sources)}, **fields)


def asked(writer: Writer, *questions: str) -> list[list[tuple[Any, ...]]]:
    """Publish, and ask as a user does."""
    writer.catalog.publish()
    with Published(writer.lake) as published:
        return [list(published.ask(sql).rows()) for sql in questions]


HOSTILE: dict[str, list[dict[str, Any]]] = {
    "alert is text": [{"diaObjectId": ID, "alert": "none"}],
    "alert is a list": [{"diaObjectId": ID, "alert": [{"diaSourcesList": []}]}],
    "alert is empty": [{"diaObjectId": ID, "alert": {}}],
    "list of numbers": [{"diaObjectId": ID, "alert": {"diaSourcesList": [1, 2.5]}}],
    "list of lists": [{"diaObjectId": ID, "alert": {"diaSourcesList": [[{"psfFlux": 1}]]}}],
    "list is an object": [{"diaObjectId": ID, "alert": {"diaSourcesList": {"psfFlux": 1}}}],
    "list has holes": [
        {"diaObjectId": ID, "alert": {"diaSourcesList": [None, {}, {"psfFlux": None}]}},
        {"diaObjectId": ID, "alert": {"diaSourcesList": None}},
        {"diaObjectId": ID, "alert": None},
    ],
    "measured as text": [
        {
            "diaObjectId": ID,
            "alert": {
                "diaSourcesList": [
                    {"psfFlux": "x", "psfFluxErr": [1], "midpointMjdTai": {}, "band": 5}
                ]
            },
        }
    ],
    "typed otherwise": [
        {
            "diaObjectId": ID,
            "alert": {
                "diaSourcesList": [{"midpointMjdTai": "61000", "band": {"r": 1}, "psfFlux": True}]
            },
        }
    ],
    "ids of other types": [{"diaObjectId": "text", "objectId": 5, "ra": 1.5, "decl": 2.5}],
    "ids are objects": [{"diaObjectId": {"a": 1}, "objectId": [1]}],
    "ids are fractions": [{"diaObjectId": 1.5, "objectId": True}],
    "places are objects": [
        {"diaObjectId": ID, "ra": {"deg": 1}, "decl": [1], "ramean": "1", "decmean": True}
    ],
    "our own names": [
        {
            "diaObjectId": ID,
            "object_id": {"x": 1},
            "Object_RA": "x",
            "object_decl": [],
            "forced": 1,
            "sightings": 2,
            "m": 3,
            "identity": 4,
            "latest": 5,
            "age": 6,
            "unnest": 7,
            "objects": 8,
            "lasair_bad": {"night": 1, "alert": 2},
            "alert": {
                "diaSourcesList": [
                    {
                        "object_id": 1,
                        "kafka_topic": 2,
                        "Night": 3,
                        "m": 4,
                        "identity": 5,
                        "diaobjectid": 6,
                        "PSFFLUX": "loud",
                        "midpointMjdTai": 61000.5,
                        'a"b': 7,
                        "it's": 8,
                        "etl_example": 9,
                    }
                ]
            },
        }
    ],
    "names in other case": [
        {"DIAOBJECTID": 5, "Objectid": "x", "RA": 1.5, "DECL": 2, "Alert": {"DiaSourcesList": []}}
    ],
    "names with quotes": [{'a"b': 1, "it's": "'", "": 2, " ": 3, "a.b": {'"': [{"'": 1}]}}],
    "an id beyond a fraction": [
        {
            "diaObjectId": ID,
            "ra": 2**60,
            "decl": 1,
            "alert": {"diaSourcesList": [{"midpointMjdTai": 2**60, "psfFlux": 2**60 + 1}]},
        }
    ],
    "identified by text": [
        {
            "diaObjectId": ID,
            "alert": {"diaSourcesList": [{"diaSourceId": "a", "midpointMjdTai": 61000}]},
        }
    ],
    "nothing": [{}],
    "no message": [],
}


@pytest.mark.parametrize("bad_first", one_in(2, [True, False]))
@pytest.mark.parametrize("case", one_in(2, HOSTILE))
def test_no_topic_can_spoil_a_view(lake: Path, case: str, bad_first: bool) -> None:
    """Whatever types and names a topic brings, each view answers, and other topics stay whole."""
    writer = Writer(lake)
    good = [
        light(
            {"diaSourceId": 7, "psfFlux": 2.5, "psfFluxErr": 1, "midpointMjdTai": 61000.25,
             "band": "r", "snr": 5.5},
            ra=10, decl=-20.5,
        )
    ]  # fmt: skip
    bad = [alert(**fields) for fields in HOSTILE[case]]
    runs = [("lasair_bad", bad), ("lasair_good", good)]
    for topic, values in runs if bad_first else reversed(runs):
        writer.run(values, topic=topic)
    mine = "WHERE kafka_topic = 'lasair_good'"
    latest, detections, *_ = asked(
        writer,
        f"SELECT object_id, object_ra, object_decl FROM latest {mine}",
        f"SELECT diaObjectId, midpointMjdTai, band, psfFlux, psfFluxErr FROM detections {mine}",
        *(f"FROM {view}" for view in VIEWS),
    )
    assert latest == [(str(ID), 10.0, -20.5)]
    assert detections == [(ID, 61000.25, "r", 2.5, 1.0)]
    writer.close()


def test_views_follow_topics_that_change(lake: Path) -> None:
    """Views made once go on working when topics come, and their columns change under them."""
    writer = Writer(lake)
    cases = list(HOSTILE.values())
    for turn, topic in product(range(3), range(4)):
        case = cases[(turn * 5 + topic * 7) % len(cases)]
        writer.run([alert(**fields) for fields in case], topic=f"lasair_{topic}")
        asked(writer, *(f"FROM {view}" for view in VIEWS))
    writer.close()


def test_a_lake_without_topics_has_every_view(lake: Path) -> None:
    """Before the first alert every view can be asked, and has its columns with their types."""
    writer = Writer(lake)
    writer.run([], topic="lasair_none")
    described, *views = asked(writer, "DESCRIBE detections", *(f"FROM {view}" for view in VIEWS))
    assert views == [[]] * len(VIEWS)
    assert {name: kind for name, kind, *_ in described} == {
        "kafka_topic": "VARCHAR", "object_id": "VARCHAR", "diaObjectId": "BIGINT",
        "objectId": "VARCHAR", "night": "DATE", "kafka_timestamp": "TIMESTAMP",
        "midpointMjdTai": "DOUBLE", "band": "VARCHAR", "psfFlux": "DOUBLE", "psfFluxErr": "DOUBLE",
    }  # fmt: skip
    writer.close()
