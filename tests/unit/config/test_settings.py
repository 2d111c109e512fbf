from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.arrival import Arrival, ClusterDecision
from etl.config.settings import PARSERS, Settings, load
from etl.config.topics import TOPIC_NAME, check_case, check_topic, lasair_topic
from etl.errors import WrongSettings
from etl.kafka.client import connect
from etl.librdkafka import DANGEROUS, REFUSED
from etl.schema.wishes import Wishes

FLAGS: Mapping[str, object] = {
    "bootstrap_servers": "127.0.0.1:1",
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
        ("topic", "near"),
        ("topic", {"lasair_2x": "near"}),
        ("topic", {"a b": {}}),
        ("topic", {"lasair_2x": {"json_colums": ["near"]}}),
        ("topic", {"lasair_2x": {"json_columns": "near"}}),
        ("topic", {"lasair_2x": {"json_columns": [""]}}),
        ("topic", {"lasair_2x": {"json_columns": ["near by"]}}),
        ("topic", {"lasair_2x": {"json_columns": ["a"], "struct_columns": ["a"]}}),
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


def test_tables_of_topics_stand_beside_the_list_of_topics(tmp_path: Path) -> None:
    """What is said of one topic's columns is read as paths, of a topic that is listed or not."""
    path = written(
        tmp_path,
        "topics = ['lasair_2x']\n[topic.lasair_2x]\njson_columns = ['near', 'alert.l[].near']\n"
        "[topic.'lasair_2.y']\nstruct_columns = ['flags']\n",
    )
    read = load({"bootstrap_servers": "b", "group_id": "g", "lake": "l"}, {}, path).topic
    near = frozenset({("near",), ("alert", "l", None, "near")})
    assert read == {
        "lasair_2x": Wishes(json_columns=near),
        "lasair_2.y": Wishes(struct_columns=frozenset({("flags",)})),
    }


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
    [(b"a = ", "not valid TOML"), (b"\xff", "not UTF-8"), (None, "No such file")],
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


ODD = [
    "", " ", "-1", "nan", "inf", "-inf", "1e400", "9" * 5000, "a\0b", "\udcff", "~nobody-here/x",
    "\x1b[31m", "?", "\\", "=", "$HOME/x", "s3://bucket/x", "https://a:1", "a b", "x" * 70_000,
    "true", -1, 0, 2**31, 10**30, 16**4000, True, -0.0, 1e308, float("nan"), float("inf"),
    [], [[]], [1], ["a", ["b"]], {}, {"a": 1}, datetime(2026, 1, 1), date(2026, 1, 1), time(1),
]  # fmt: skip
"""Values of every type that TOML has, and of every kind of wrong that a text can be."""


def outcome(flags: Mapping[str, object], environment: Mapping[str, str]) -> str:
    """Return what is said of settings; empty where they are taken, by Kafka's client too."""
    try:
        with connect(load(flags, environment)):
            return ""
    except WrongSettings as error:
        return str(error)


@pytest.mark.parametrize("key", PARSERS)
def test_no_value_is_a_bug(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting takes a value, or refuses it by name, wherever it comes from."""
    monkeypatch.chdir(tmp_path)
    for value in ODD:
        said = outcome({**FLAGS, key: value}, {})
        assert not said or key in said, (value, said)
        assert len(said) < 1000
        if isinstance(value, str):
            flags = {name: given for name, given in FLAGS.items() if name != key}
            said = outcome(flags, {f"LASAIR_ETL_{key.upper()}": value})
            assert not said or key in said, (value, said)


@pytest.mark.parametrize("key", ["bootstrap_servers", "group_id", "topics", "lake", "public_root"])
@pytest.mark.parametrize(
    "value", [5, True, 1.5, {"a": 1}, date(2026, 1, 1), [["a"]], "a\0b", "\udcff"]
)
def test_what_is_no_text_is_refused(key: str, value: object) -> None:
    """A number, a table, a date or bytes that are not UTF-8 don't become a name or a folder."""
    with pytest.raises(WrongSettings, match=f"{key}|topics"):
        load({**FLAGS, key: value}, {})


@pytest.mark.parametrize("key", ["poll_timeout", "connect_timeout", "max_seconds"])
def test_a_time_fits_into_librdkafka(key: str) -> None:
    """Milliseconds have 31 bits there: a longer time is refused here, with the longest."""
    assert getattr(load({**FLAGS, key: 2_147_483}, {}), key) == timedelta(seconds=2_147_483)
    with pytest.raises(WrongSettings, match=rf"{key} = 3000000: .* to 2147483"):
        load({**FLAGS, key: 3_000_000}, {})


def test_the_mark_of_an_editor_is_read_over(tmp_path: Path) -> None:
    """A UTF-8 file may start with a byte order mark, as Windows' editors write it."""
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xef\xbb\xbfpoll_timeout = 1\r\nmax_messages = 2\r\n")
    assert load(FLAGS, {}, path).poll_timeout == timedelta(seconds=1)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_another_encoding_is_named(tmp_path: Path, encoding: str) -> None:
    """A file that is not UTF-8 is refused with what to do."""
    path = tmp_path / "a.toml"
    path.write_bytes("lake = 'Äther'".encode(encoding))
    with pytest.raises(WrongSettings, match=r"UTF.*; save it as UTF-8") as caught:
        load(FLAGS, {}, path)
    assert ("UTF-16" in str(caught.value)) == (encoding != "latin-1")


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 50_000,
        "a = " + "{b=" * 50_000,
        "[kafka]\n" + "a." * 5_000 + "b = 1",
        "poll_timeout = " + "9" * 5_000,
        "poll_timeout = 0x" + "f" * 5_000,
    ],
    ids=["lists", "tables", "dots", "digits", "hexadecimal digits"],
)
def test_a_file_that_python_can_not_hold_is_refused(tmp_path: Path, text: str) -> None:
    """Nesting and numbers beyond Python's limits are a wrong file, in a short sentence."""
    with pytest.raises(WrongSettings) as caught:
        load(FLAGS, {}, written(tmp_path, text))
    assert len(str(caught.value)) < 10_500


@pytest.mark.parametrize("name", ["~nobody-here/lasair-etl.toml", "~nobody-here"])
def test_nobodys_home_is_refused(name: str) -> None:
    """A `~` that no home belongs to is named, in --config as in a setting."""
    with pytest.raises(WrongSettings, match=r"~nobody-here.*nobody's home"):
        load(FLAGS, {}, Path(name))
    with pytest.raises(WrongSettings, match=r"CONFIG|config.*nobody's home"):
        load(FLAGS, {"LASAIR_ETL_CONFIG": name})
    for key in ("lake", "public_root"):
        with pytest.raises(WrongSettings, match=rf"{key} = .*~nobody-here.*nobody's home"):
            load({**FLAGS, key: name}, {})


@pytest.mark.parametrize(
    ("key", "said"),
    [
        *((key, "function") for key in ("stats_cb", "oauth_cb", "throttle_cb", "rebalance_cb")),
        *((key, "function") for key in ("on_delivery", "ssl.certificate.verify_cb", "opaque")),
        ("test.mock.num.brokers", "tests"),
        ("internal.termination.signal", "itself"),
        ("offset.store.path", "itself"),
        ("Group.Id", "not a name"),
        ("", "not a name"),
        ("enable.auto.commit\\u0000", "not a name"),
        ("a\\u001b", "not a name"),
    ],
)
def test_keys_that_no_file_can_set(tmp_path: Path, key: str, said: str) -> None:
    """What needs a function, or is no setting of librdkafka for users, is refused by name."""
    path = written(tmp_path, f'[kafka]\n"{key}" = "x"\n')
    with pytest.raises(WrongSettings, match=said) as caught:
        load(FLAGS, {}, path)
    assert f"[kafka] {key.replace('u00', 'x')}: " in str(caught.value)


@pytest.mark.parametrize(
    "value", ["[1]", "[{a = 1}]", "2026-01-01", "01:00:00", "1.5", "nan", "4294997296", "'a\0'"]
)
def test_values_that_librdkafka_would_misread(tmp_path: Path, value: str) -> None:
    """A list, a date, a fraction and a number of more than 31 bits would become another value."""
    value = value.replace("'a\0'", '"a\\u0000"')
    with pytest.raises(WrongSettings, match=r"\[kafka\] socket.timeout.ms: .*must be"):
        load(FLAGS, {}, written(tmp_path, f"[kafka]\n'socket.timeout.ms' = {value}\n"))


def test_a_secret_that_is_no_text_is_not_shown() -> None:
    """A wrong value of librdkafka's is refused by its key alone: it may be a password."""
    said = outcome(FLAGS, {"LASAIR_ETL_KAFKA_SASL_PASSWORD": "hunter2\udcff"})
    assert "sasl.password" in said
    assert "hunter2" not in said


def test_what_confluent_kafka_refuses_is_a_wrong_setting() -> None:
    """Its own exceptions for settings are no bugs of ours."""
    name = "LASAIR_ETL_KAFKA_SASL_OAUTHBEARER_METADATA_AUTHENTICATION_TYPE"
    assert "method=oidc" in outcome(FLAGS, {name: "aws_iam"})


@pytest.mark.parametrize("key", sorted(DANGEROUS))
def test_a_file_that_nobody_named_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """Keys that load code, run commands or send files away need a file that the user has named.

    In the environment they are the user's own.
    """
    path = tmp_path / "lasair-etl.toml"
    path.write_text(f"[kafka]\n'{key}' = 'x'\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WrongSettings, match=rf"\[kafka\] {key}: .*--config {path}"):
        load(FLAGS, {})
    assert load(FLAGS, {}, path).kafka == {key: "x"}
    assert load(FLAGS, {"LASAIR_ETL_CONFIG": str(path)}).kafka == {key: "x"}
    path.unlink()
    environment = {f"LASAIR_ETL_KAFKA_{key.upper().replace('.', '_')}": "x"}
    assert load(FLAGS, environment).kafka == {key: "x"}
