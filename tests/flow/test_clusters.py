"""A lake that meets another cluster: where the user changed the address, and where it was rebuilt.

An incarnation belongs to the cluster that it was read in. On Apache Kafka (`--broker kafka`) and
on the embedded broker alike.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import duckdb
import pytest

from tests.flow import checker
from tests.flow.alerts import small_alerts
from tests.flow.brokers import Broker
from tests.flow.clusters import Clusters, cluster_id_of, copy, topic_id_of, topics_of
from tests.flow.drains import command, drain
from tests.flow.proxy import Edit, proxied, without_cluster_id, without_topic_ids
from tests.sampling import one_in

PARTITIONS = 2
ALERTS = 100

_names = (f"lasair_{number}clusters" for number in count(1))


@pytest.fixture(scope="module")
def clusters(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Clusters]:
    """Start clusters as the tests ask for them, and end them all."""
    kind = request.config.getoption("--broker")
    if kind == "kafka":
        request.getfixturevalue("only_on_kafka")
    with ExitStack() as stack:
        yield Clusters(kind, tmp_path_factory.mktemp("clusters"), stack)


@pytest.fixture(scope="module")
def one(clusters: Clusters) -> Broker:
    """Return a cluster."""
    return clusters.start()


@pytest.fixture(scope="module")
def other(clusters: Clusters) -> Broker:
    """Return another cluster, under another address."""
    return clusters.start()


@pytest.fixture
def topic(one: Broker, other: Broker) -> str:
    """Return a new topic, which both clusters have."""
    name = next(_names)
    return one.create(name, PARTITIONS) and other.create(name, PARTITIONS)


def fill(broker: Broker, topic: str, size: int = ALERTS) -> checker.Log:
    """Send so many alerts and return all that the topic holds."""
    broker.publish(topic, small_alerts(size), PARTITIONS)
    return checker.read_topic(broker.bootstrap_servers, topic)


@pytest.fixture
def alike(one: Broker, other: Broker, topic: str) -> tuple[checker.Log, checker.Log]:
    """Fill the topic in both clusters, with different alerts."""
    return fill(one, topic), fill(other, topic)


def state(lake: Path) -> dict[str, bytes]:
    """Read every file that must not change."""
    found = [path for path in lake.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path): path.read_bytes() for path in found if path.name != "catalog.duckdb"}


def is_well(lake: Path) -> bool:
    """Return whether `verify` finds nothing."""
    return command("verify", "--lake", str(lake)).wait().code == 0


def test_another_cluster_is_refused_and_back_nothing_is_doubled(one, other, topic, lake, alike):
    """An address that leads to another cluster is 78; back at the first one, reading goes on."""
    drain(one.bootstrap_servers, lake, topic)
    before = state(lake)
    for _ in range(2):
        refused = drain(other.bootstrap_servers, lake, topic, code=78)
        for part in (topic, cluster_id_of(one), cluster_id_of(other), "another:", "moved:"):
            assert part in refused.err
    assert state(lake).keys() == before.keys()
    log = fill(one, topic, 10)
    finished = drain(one.bootstrap_servers, lake, topic)
    assert finished.closing["notes"] == []
    assert checker.check(lake, {(topic, 1): log}).alerts == ALERTS + 10
    assert topics_of(lake) == [(1, cluster_id_of(one), True)]
    assert is_well(lake)


def test_another_source_is_read_once_however_often_the_address_changes(
    one, other, topic, lake, alike
):
    """One decision is enough: A, B, A, B, and each of the two keeps its own place."""
    first, second = alike
    decision = f"another:{cluster_id_of(other)}"
    drain(one.bootstrap_servers, lake, topic)
    met = drain(other.bootstrap_servers, lake, topic, cluster_changed=decision)
    assert any("another source" in note for note in met.closing["notes"])
    assert checker.check(lake, {(topic, 1): first, (topic, 2): second}).alerts == 2 * ALERTS
    for broker, number in ((one, 1), (other, 2), (one, 1)):
        finished = drain(broker.bootstrap_servers, lake, topic)
        assert finished.closing["figures"]["alerts"] == 0
        (note,) = finished.closing["notes"]
        assert f"incarnation {number}" in note
        assert drain(broker.bootstrap_servers, lake, topic).closing["notes"] == []
    assert topics_of(lake) == [(1, cluster_id_of(one), True), (2, cluster_id_of(other), False)]
    first, second = fill(one, topic, 10), fill(other, topic, 20)
    drain(one.bootstrap_servers, lake, topic)
    drain(other.bootstrap_servers, lake, topic)
    found = checker.check(lake, {(topic, 1): first, (topic, 2): second})
    assert found.alerts == 2 * ALERTS + 30
    assert is_well(lake)


def test_back_at_a_cluster_where_the_topic_was_recreated(one, other, topic, lake, alike):
    """A topic that was recreated meanwhile is the next incarnation, and nobody is asked."""
    first, second = alike
    drain(one.bootstrap_servers, lake, topic)
    decision = f"another:{cluster_id_of(other)}"
    drain(other.bootstrap_servers, lake, topic, cluster_changed=decision)
    one.recreate(topic, PARTITIONS)
    third = fill(one, topic, 10)
    finished = drain(one.bootstrap_servers, lake, topic)
    assert finished.closing["notes"] == [f"{topic}: recreated; reading incarnation 3"]
    logs = {(topic, 1): first, (topic, 2): second, (topic, 3): third}
    assert checker.check(lake, logs).alerts == 2 * ALERTS + 10


def test_a_stream_that_moved_goes_on_behind_its_last_alert(one, other, topic, lake):
    """Where the new cluster has the last stored alerts at their offsets, nothing comes twice."""
    log = fill(one, topic)
    drain(one.bootstrap_servers, lake, topic)
    copy(log, topic, other, PARTITIONS)
    log = fill(other, topic, 10)
    drain(other.bootstrap_servers, lake, topic, code=78)
    decision = f"moved:{cluster_id_of(other)}"
    finished = drain(other.bootstrap_servers, lake, topic, cluster_changed=decision)
    assert finished.closing["figures"]["alerts"] == 10
    assert checker.check(lake, {(topic, 1): log}).alerts == ALERTS + 10
    assert drain(other.bootstrap_servers, lake, topic).closing["notes"] == []
    assert topics_of(lake) == [(1, cluster_id_of(other), True)]
    drain(one.bootstrap_servers, lake, topic, code=78)
    assert is_well(lake)


def test_a_stream_that_did_not_move_is_refused(one, other, topic, lake, alike):
    """Where the last stored alerts are not there, "moved" would double or skip: it is 78."""
    first, _ = alike
    drain(one.bootstrap_servers, lake, topic)
    decision = f"moved:{cluster_id_of(other)}"
    refused = drain(other.bootstrap_servers, lake, topic, code=78, cluster_changed=decision)
    assert "not at their offsets" in refused.err
    assert checker.check(lake, {(topic, 1): first}).alerts == ALERTS


def test_a_decision_counts_for_the_cluster_that_it_names_only(one, other, topic, lake, alike):
    """A decision that was left in the settings says nothing of a cluster that comes later."""
    drain(one.bootstrap_servers, lake, topic)
    for word in ("another", "moved"):
        decision = f"{word}:{cluster_id_of(one)}"
        drain(other.bootstrap_servers, lake, topic, code=78, cluster_changed=decision)


@pytest.mark.parametrize("decided", [False, True], ids=["undecided", "an old decision"])
def test_a_rebuilt_cluster_is_the_next_incarnation_and_65_once(clusters, topic, lake, decided):
    """Another cluster under the same address is read at once, for its alerts expire unread."""
    broker = clusters.start()
    broker.create(topic, PARTITIONS)
    first = fill(broker, topic)
    decision = f"another:{cluster_id_of(broker)}" if decided else None
    drain(broker.bootstrap_servers, lake, topic, cluster_changed=decision)
    clusters.rebuild(broker)
    broker.create(topic, PARTITIONS)
    second = fill(broker, topic)
    met = drain(broker.bootstrap_servers, lake, topic, code=65, cluster_changed=decision)
    (note,) = met.closing["notes"]
    assert "rebuilt" in note
    again = drain(broker.bootstrap_servers, lake, topic, cluster_changed=decision)
    assert again.closing["notes"] == []
    assert checker.check(lake, {(topic, 1): first, (topic, 2): second}).alerts == 2 * ALERTS
    assert is_well(lake)


def test_a_rebuilt_cluster_with_its_old_alerts_doubles_none(clusters, topic, lake):
    """Operators who restore the alerts at their offsets restore the incarnation.

    The address stays the same where its hosts are named in another order, or fewer of them.
    """
    broker = clusters.start()
    broker.create(topic, PARTITIONS)
    log = fill(broker, topic)
    hosts = [broker.bootstrap_servers.replace("127.0.0.1", "localhost"), broker.bootstrap_servers]
    drain(",".join([*hosts, "127.0.0.1:1"]), lake, topic)
    clusters.rebuild(broker)
    broker.create(topic, PARTITIONS)
    copy(log, topic, broker, PARTITIONS)
    log = fill(broker, topic, 10)
    drain(", ".join(reversed(hosts)), lake, topic, code=65)
    assert drain(broker.bootstrap_servers, lake, topic).closing["notes"] == []
    assert checker.check(lake, {(topic, 1): log}).alerts == ALERTS + 10


@pytest.mark.parametrize(
    "spell",
    one_in(
        3,
        [
            lambda servers: f" {servers} ,",
            lambda servers: servers.replace("127.0.0.1", "localhost"),
            lambda servers: f"{servers.replace('127.0.0.1', 'localhost')}, {servers}",
        ],
    ),
    ids=["spaces", "another host", "one host more"],
)
def test_another_way_to_the_same_cluster_changes_nothing(
    one: Broker, topic: str, lake: Path, spell: Callable[[str], str]
):
    """What counts is the cluster, not how its address is written."""
    fill(one, topic)
    drain(one.bootstrap_servers, lake, topic)
    log = fill(one, topic, 10)
    finished = drain(spell(one.bootstrap_servers), lake, topic)
    assert finished.closing["notes"] == []
    assert checker.check(lake, {(topic, 1): log}).alerts == ALERTS + 10


def test_a_lake_from_before_learns_its_cluster_without_a_word(one, other, topic, lake, alike):
    """A catalog that knows no cluster goes on by its topic id, and knows the cluster then."""
    first, _ = alike
    drain(one.bootstrap_servers, lake, topic)
    with duckdb.connect(str(lake / "catalog.duckdb")) as catalog:
        catalog.execute("UPDATE etl.topics SET cluster_id = NULL, bootstrap_servers = NULL")
    assert drain(one.bootstrap_servers, lake, topic).closing["notes"] == []
    assert topics_of(lake) == [(1, cluster_id_of(one), True)]
    drain(other.bootstrap_servers, lake, topic, code=78)
    assert checker.check(lake, {(topic, 1): first}).alerts == ALERTS


def test_dry_run_and_status_say_it_and_change_nothing(one, other, topic, lake, alike):
    """The preview is 78 too and status names the clusters; with a decision both show its effect."""
    drain(one.bootstrap_servers, lake, topic)
    before = state(lake)
    where = ["--bootstrap-servers", other.bootstrap_servers, "--lake", str(lake), "--json"]
    plan = ["drain", "--dry-run", "--topic", topic, "--group-id", "g", *where]
    refused = command(*plan).wait()
    assert (refused.code, cluster_id_of(other) in refused.err) == (78, True), str(refused)
    shown = command("status", *where).wait()
    assert shown.code == 0
    assert cluster_id_of(other) in json.loads(shown.out)["broker_error"]
    decision = f"another:{cluster_id_of(other)}"
    preview = command(*plan, "--cluster-changed", decision).wait()
    assert preview.code == 0, str(preview)
    assert {p["incarnation"] for p in json.loads(preview.out)["partitions"]} == {2}
    assert "another source" in json.loads(preview.out)["notes"][0]
    environment = {"LASAIR_ETL_CLUSTER_CHANGED": decision}
    shown = command("status", *where, environment=environment).wait()
    (found,) = json.loads(shown.out)["topics"]
    assert "another source" in found["note"]
    assert state(lake) == before


def erased(broker: Broker, topic: str, lacking: str) -> Edit:
    """Return what makes a broker an older one, which lacks these ids."""
    cluster = without_cluster_id(cluster_id_of(broker)) if "cluster" in lacking else bytes
    ids = without_topic_ids(topic_id_of(broker, topic)) if "topic" in lacking else bytes
    return lambda frame: ids(cluster(frame))


@pytest.mark.parametrize(
    "lacking", one_in(3, ["cluster id and topic id", "topic id", "cluster id"])
)
def test_brokers_that_lack_ids_are_told_apart_by_what_they_have(one, other, topic, lake, lacking):
    """Back at the first of two old clusters nothing is doubled, whichever ids they give."""
    first, second = fill(one, topic, 6), fill(other, topic, 10)
    decision = None if "cluster" in lacking else f"another:{cluster_id_of(other)}"
    with (
        proxied(one.bootstrap_servers, edit=erased(one, topic, lacking)) as here,
        proxied(other.bootstrap_servers, edit=erased(other, topic, lacking)) as there,
    ):
        drain(here.bootstrap_servers, lake, topic)
        drain(there.bootstrap_servers, lake, topic, cluster_changed=decision)
        first = fill(one, topic, 2)
        (note,) = drain(here.bootstrap_servers, lake, topic).closing["notes"]
        assert note.endswith("an earlier incarnation is there again; reading incarnation 1 on")
        assert drain(there.bootstrap_servers, lake, topic).closing["figures"]["alerts"] == 0
    knows = "cluster" not in lacking
    ids = [cluster_id_of(each) if knows else None for each in (one, other)]
    assert topics_of(lake) == [(1, ids[0], False), (2, ids[1], True)]
    assert checker.check(lake, {(topic, 1): first, (topic, 2): second}).alerts == 18
