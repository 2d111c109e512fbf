from pathlib import Path

import pytest

from etl.config.addresses import brokers, folder


@pytest.mark.parametrize(
    "value",
    [
        "localhost", "kafka.lsst.ac.uk:9092", "a:1,b:65535", "a:1, b", "a:1,", "kafka_1:9092",
        "10.0.0.1:9092", "[::1]:9092", "[fe80::1%eth0]:9092", "::1", "2001:db8::1",
    ],
)  # fmt: skip
def test_brokers_are_hosts_with_or_without_ports(value: str) -> None:
    """What librdkafka can connect to is taken as it is."""
    assert brokers(f" {value} ") == value


@pytest.mark.parametrize(
    "value",
    [
        "https://a:9092", "http://a", "SSL://a:9092", "kafka://a:1,b:1", "me@a:9092", "me:x@a:9092",
        "a b:9092", "a:9092 b:9092", "a;b", "a:", "a:0", "a:65536", "a:http", "a:-1",
        "a:9092/topic", ":9092", ",", "[::1", "[]:1", "a:1:2", "'a:1'", "a\n:1", 5, None, ["a:1"],
    ],
)  # fmt: skip
def test_what_is_no_broker_is_refused(value: object) -> None:
    """Nothing that could only ever be "unreachable" is taken for a broker."""
    with pytest.raises(ValueError, match="must be"):
        brokers(value)


@pytest.mark.parametrize(
    "value",
    ["s3://bucket/x", "S3://b", "gs://b/x", "hdfs:/x", "https://a/b", "host:/data", "C:/lake"],
)
def test_an_address_is_no_folder(value: str) -> None:
    """Addresses of clouds and other computers don't become folders of that name."""
    with pytest.raises(ValueError, match=r"looks like an address; .*not supported yet"):
        folder(value)


@pytest.mark.parametrize("value", ["file:///x", "file:/x", "FILE:///x"])
def test_a_file_address_is_a_plain_path(value: str) -> None:
    """The right form is named."""
    with pytest.raises(ValueError, match="write the plain path"):
        folder(value)


@pytest.mark.parametrize("value", ["$HOME/x", "${HOME}/x", "/data/$USER/x", "/data/of_$USER"])
def test_a_variable_is_no_folder(value: str) -> None:
    """A settings file and cron have no shell to fill variables in."""
    with pytest.raises(ValueError, match="variable"):
        folder(value)


def test_folders_are_paths_with_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` is filled in, and any other name is one, also after a `./`."""
    monkeypatch.setenv("HOME", "/home/me")
    assert folder("~/lake") == Path("/home/me/lake")
    for value in ("lake", "/a b/c", "./s3:/x", "100$", "a~b", "./~", "a:b", "Äther", "#1"):
        assert folder(value) == Path(value)
    assert folder(Path("lake")) == Path("lake")
