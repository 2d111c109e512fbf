from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.arrival import Arrival, ClusterDecision
from etl.config.settings import PARSERS, Settings, load
from etl.config.topics import TOPIC_NAME, check_case, check_topic, lasair_topic
from etl.errors import WrongSettings
from etl.librdkafka import REFUSED

FLAGS: Mapping[str, object] = {
    "bootstrap_servers": "b:1",
    "group_id": "g",
    "topics": ("t",),
    "lake": "/lake",
}


def written(folder: Path, text: str) -> Path:
    """Write a settings file."""
    path = folder / "a.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_setting_has_a_parser() -> None:
    """Each field of Settings can be set, and nothing else can."""
    assert set(PARSERS) | {"kafka"} == set(Settings.__dataclass_fields__)


def test_a_flag_wins_over_environment_over_file_over_default(tmp_path: Path) -> None:
    """Each source wins over those behind it, setting by setting."""
    path = written(tmp_path, "poll_timeout = 1\nconnect_timeout = 1\nmax_seconds = 1\n")
    environment = {"LASAIR_ETL_POLL_TIMEOUT": "2", "LASAIR_ETL_CONNECT_TIMEOUT": "2"}
    found = load({**FLAGS, "poll_timeout": 3.0}, environment, path)
    assert found.poll_timeout == timedelta(seconds=3)
    assert found.connect_timeout == timedelta(seconds=2)
    assert found.max_seconds == timedelta(seconds=1)
    assert found.night_starts == timedelta(hours=12)


def test_what_is_not_given_is_not_a_value(tmp_path: Path) -> None:
    """A flag that was not given leaves the file's value alone."""
    path = written(tmp_path, "topics = ['from_file']\npoll_timeout = 0\n")
    flags = {**FLAGS, "topics": (), "poll_timeout": None}
    assert load(flags, {}, path).topics == ("from_file",)
    assert load(flags, {}, path).poll_timeout == timedelta(0)


@pytest.mark.parametrize("source", ["file", "environment"])
def test_a_typo_is_named_with_the_nearest_right_name(tmp_path: Path, source: str) -> None:
    """An unknown setting is refused, with the place and the name that was meant."""
    path = written(tmp_path, "pol_timeout = 1\n" if source == "file" else "")
    environment = {"LASAIR_ETL_POL_TIMEOUT": "1"} if source == "environment" else {}
    place = str(path) if source == "file" else "environment"
    with pytest.raises(WrongSettings, match="did you mean poll_timeout") as caught:
        load(FLAGS, environment, path)
    assert str(caught.value).startswith(place)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("bootstrap_servers", 1),
        ("bootstrap_servers", " "),
        ("group_id", ""),
        ("topics", []),
        ("topics", 5),
        ("topics", [1]),
        ("topics", "a b"),
        ("topics", "a" * 244),
        ("lake", ""),
        ("poll_timeout", -1),
        ("poll_timeout", "soon"),
        ("poll_timeout", True),
        ("poll_timeout", "nan"),
        ("poll_timeout", "inf"),
        ("connect_timeout", 0),
        ("max_messages", 0),
        ("max_messages", 1.5),
        ("max_messages", True),
        ("max_messages", float("inf")),
        ("max_seconds", 0),
        ("night_starts", 24),
        ("night_starts", -1),
        ("night_starts", 10**400),
        ("max_reject_percent", 101),
        ("compact", "yes"),
        ("compact", 1),
        ("keep_retired", -1),
        ("cluster_changed", "moved"),
        ("cluster_changed", "another:"),
        ("cluster_changed", "same:id"),
        ("cluster_changed", True),
        ("keep_retired", True),
        ("max_reject_percent", -0.1),
        ("public_root", ""),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(key: str, value: object) -> None:
    """A value of the wrong kind or out of range is refused with its setting's name."""
    with pytest.raises(WrongSettings, match=key):
        load({**FLAGS, key: value}, {})


@pytest.mark.parametrize(
    ("key", "value", "read"),
    [
        ("topics", "a, b,a", ("a", "b")),
        ("topics", ["b", "a"], ("b", "a")),
        ("topics", "a" * 243, ("a" * 243,)),
        ("poll_timeout", "0", timedelta(0)),
        ("connect_timeout", 0.5, timedelta(seconds=0.5)),
        ("max_messages", "10", 10),
        ("max_messages", 10.0, 10),
        ("night_starts", 0, timedelta(0)),
        ("max_reject_percent", "0", 0.0),
        ("compact", False, False),
        ("compact", "True", True),
        ("keep_retired", "0.5", timedelta(hours=12)),
        ("cluster_changed", "moved:a:b", ClusterDecision(Arrival.MOVED, "a:b")),
        ("cluster_changed", "another:-c", ClusterDecision(Arrival.ANOTHER, "-c")),
        ("public_root", "/mnt", Path("/mnt")),
    ],
)
def test_what_makes_sense_is_read(key: str, value: object, read: object) -> None:
    """Texts of the environment and values of TOML come out as the same types."""
    assert getattr(load({**FLAGS, key: value}, {}), key) == read


def test_missing_settings_are_all_named(tmp_path: Path) -> None:
    """What is missing is named at once, with the file to add it to."""
    with pytest.raises(WrongSettings, match="missing setting: group_id, topics; lasair-etl init"):
        load({"bootstrap_servers": "b", "lake": "l"}, {})
    path = written(tmp_path, "lake = 'l'\n")
    with pytest.raises(WrongSettings, match="bootstrap_servers, group_id, topics; add it to"):
        load({}, {}, path)


def test_a_verb_may_need_less() -> None:
    """A verb that only reads the lake needs no broker."""
    assert load({"lake": "/l"}, {}, required=("lake",)).bootstrap_servers == ""


def test_a_lake_in_a_file_is_beside_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative lake of the file is relative to the file, since cron starts in $HOME."""
    folder = tmp_path / "etc"
    folder.mkdir()
    path = written(folder, "lake = 'lake'\n")
    monkeypatch.chdir(tmp_path)
    flags = {key: value for key, value in FLAGS.items() if key != "lake"}
    assert load(flags, {}, path).lake == folder / "lake"
    assert load({**flags, "lake": "lake"}, {}, path).lake == tmp_path / "lake"
    assert load(flags, {"LASAIR_ETL_LAKE": "lake"}, path).lake == tmp_path / "lake"


def test_the_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --config the environment names the file, else it is the one in this folder."""
    (tmp_path / "lasair-etl.toml").write_text("poll_timeout = 1\n")
    other = written(tmp_path, "poll_timeout = 2\n")
    monkeypatch.chdir(tmp_path)
    assert load(FLAGS, {}).poll_timeout == timedelta(seconds=1)
    assert load(FLAGS, {"LASAIR_ETL_CONFIG": str(other)}).poll_timeout == timedelta(seconds=2)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"a = ", "not valid TOML"), (b"\xff", "not valid TOML"), (None, "No such file")],
)
def test_a_file_that_can_not_be_read(tmp_path: Path, content: bytes | None, said: str) -> None:
    """A broken or missing settings file is named with the reason."""
    path = tmp_path / "a.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WrongSettings, match=said) as caught:
        load(FLAGS, {}, path)
    assert str(path) in str(caught.value)


def test_librdkafka_settings_pass_through(tmp_path: Path) -> None:
    """A [kafka] table is handed on, quoted or dotted, and the environment wins over it."""
    path = written(
        tmp_path,
        "[kafka]\n'sasl.username' = 'me'\nsecurity.protocol = 'ssl'\n"
        "'fetch.wait.max.ms' = 7\n'socket.keepalive.enable' = true\n",
    )
    found = load(FLAGS, {"LASAIR_ETL_KAFKA_SASL_USERNAME": "you"}, path).kafka
    assert found == {
        "sasl.username": "you",
        "security.protocol": "ssl",
        "fetch.wait.max.ms": 7,
        "socket.keepalive.enable": "true",
    }


@pytest.mark.parametrize("key", sorted(REFUSED))
def test_settings_that_the_promise_stands_on_are_refused(tmp_path: Path, key: str) -> None:
    """What this program sets itself can't be set from outside: it is refused by name."""
    path = written(tmp_path, f"[kafka]\n'{key}' = 'x'\n")
    with pytest.raises(WrongSettings, match=key.replace(".", r"\.")):
        load(FLAGS, {}, path)


def test_secrets_are_not_shown() -> None:
    """Settings that are printed by mistake show no librdkafka setting."""
    found = load(FLAGS, {"LASAIR_ETL_KAFKA_SASL_PASSWORD": "hunter2"})
    assert found.kafka["sasl.password"] == "hunter2"
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a b",
        "ü",
        "a/b",
        "a'b",
        'a"b',
        "x" * 250,
        ".",
        "..",
        "Alerts",
        "latest",
        "Detections",
        "FORCED",
        "objects",
        "examples",
        "light_curve",
        "njy_to_ab",
        "NULL",
        "__HIVE_DEFAULT_PARTITION__",
    ],
)
def test_a_name_that_can_be_no_topic_is_refused(name: str) -> None:
    """What Kafka does not allow, or what means something else here or in DuckDB, is refused."""
    with pytest.raises(WrongSettings, match="topics"):
        check_topic(name)


def test_names_that_differ_in_case_are_refused() -> None:
    """DuckDB could not tell their views apart."""
    with pytest.raises(WrongSettings, match="differ only in case"):
        check_case(["lasair_1SN", "b", "lasair_1sn"])
    check_case(["a", "a"])


@pytest.mark.parametrize(
    ("user_id", "name", "topic"),
    [
        (2, "SN-like candidates", "lasair_2SN-likecandidates"),
        (42, "a.b_c-d", "lasair_42a.b_c-d"),
        (1, "ether / (test) 100%", "lasair_1ethertest100"),
        (77, "a" * 64 + "b" * 64, "lasair_77" + "a" * 64 + "b" * 64),
        (77, "a" * 64 + "?!" + "x" + "b" * 64, "lasair_77" + "a" * 64 + "b" * 64),
        (1, "Äther", "lasair_1Äther"),
    ],
)
def test_topics_follow_lasairs_rule(user_id: int, name: str, topic: str) -> None:
    """A filter's topic is named as Lasair names it."""
    assert lasair_topic(user_id, name) == topic


@given(st.integers(0, 10**9), st.text(st.characters(codec="ascii")))
def test_every_plain_filter_has_a_topic_that_kafka_takes(user_id: int, name: str) -> None:
    """Whatever a filter is called in plain letters, its topic is one that Kafka allows."""
    topic = lasair_topic(user_id, name)
    assert TOPIC_NAME.fullmatch(topic)
    assert len(topic) <= len(f"lasair_{user_id}") + 128
