"""Which incarnation of a topic the broker has.

1. A known topic id is that incarnation, wherever it is read: no two topics have the same id.
2. Without topic ids, the last stored records are compared with the broker's; so an earlier
   incarnation is found too.
3. Anything else in a cluster that the lake knows was recreated: the next incarnation.
4. Another cluster under the same address was rebuilt by its operators. Under another address the
   user has to say whether it has the same stream, or is another source.
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence

from etl.arrival import Arrival, ClusterDecision
from etl.errors import UnknownCluster
from etl.kafka.client import Client
from etl.kafka.fetch import read_record
from etl.kafka.topics import TopicState
from etl.records import KnownTopic, TopicPlan, digest

# What a run says of an arrival, behind the topic's name.
SENTENCES = {
    Arrival.RETURNED: "an earlier incarnation is there again; reading incarnation {} on",
    Arrival.RECREATED: "recreated; reading incarnation {}",
    Arrival.REBUILT: (
        "the broker's operators have rebuilt it: there is another cluster under the same address, "
        "and what was unread in the old one may be lost; reading incarnation {}"
    ),
    Arrival.MOVED: "moved to another cluster, as you said; reading incarnation {} on",
    Arrival.ANOTHER: "another source, as you said; reading incarnation {} from its beginning",
}


def sentence(plan: TopicPlan) -> str | None:
    """Return what the user should know of a topic that is not where the last run left it."""
    found = SENTENCES.get(plan.arrival)
    return found.format(plan.incarnation) if found else None


def recognise(
    client: Client,
    known: Sequence[KnownTopic],
    state: TopicState,
    decision: ClusterDecision | None,
) -> tuple[Arrival, KnownTopic | None]:
    """Return how the topic arrives, and the incarnation that goes on; None where a new one begins.

    Raises
    ------
    UnknownCluster
        Another cluster under another address, and no decision of the user fits it.
    """
    if not known:
        return Arrival.FIRST, None
    for each in reversed(known):
        if each.topic_id is not None and each.topic_id == state.topic_id:
            return Arrival.SAME if each.is_current else Arrival.RETURNED, each
    current = next(each for each in known if each.is_current)
    if _is_unknown(known, current, state.cluster_id):
        return _arrival(client, current, state, decision)
    there = [each for each in reversed(known) if _may_be_there(each, state.cluster_id)]
    likely = current if current in there else there[0]
    if _is_same(client, likely, state):
        return Arrival.SAME if likely is current else Arrival.RETURNED, likely
    for each in there:
        if each is not likely and _is_back(client, each, state):
            return Arrival.RETURNED, each
    return Arrival.RECREATED, None


def check_absent(
    client: Client,
    topics: Iterable[str],
    known: Mapping[str, Sequence[KnownTopic]],
    decision: ClusterDecision | None,
) -> None:
    """Refuse to call topics absent where the lake has never read the cluster that is asked.

    Raises
    ------
    UnknownCluster
        Another cluster under another address, and the user has decided nothing about it.
    """
    read = {topic: known[topic] for topic in topics if topic in known}
    cluster_id = client.topics.cluster_id() if read else None
    if decision is not None and decision.cluster_id == cluster_id:
        return
    for topic, incarnations in read.items():
        current = next(each for each in incarnations if each.is_current)
        if _is_unknown(incarnations, current, cluster_id) and not _same_address(
            current.bootstrap_servers, client.bootstrap_servers
        ):
            raise UnknownCluster(_undecided(client, current, topic, cluster_id))


def _may_be_there(known: KnownTopic, cluster_id: str | None) -> bool:
    return None in {known.cluster_id, cluster_id} or known.cluster_id == cluster_id


def _is_back(client: Client, known: KnownTopic, state: TopicState) -> bool:
    """Return whether a broker that gives no topic ids shows an earlier incarnation."""
    same = same_incarnation(known.topic_id, state.topic_id)
    return same is None and _holds(client, known, state)


def _is_unknown(known: Sequence[KnownTopic], current: KnownTopic, cluster_id: str | None) -> bool:
    """Return whether the lake has never read this topic in the broker's cluster."""
    clusters = {each.cluster_id for each in known}
    return not _may_be_there(current, cluster_id) and cluster_id not in clusters


def _arrival(
    client: Client, current: KnownTopic, state: TopicState, decision: ClusterDecision | None
) -> tuple[Arrival, KnownTopic | None]:
    """Recognise a topic of a cluster that the lake does not know."""
    if decision is not None and decision.cluster_id == state.cluster_id:
        if decision.arrival is Arrival.ANOTHER:
            return Arrival.ANOTHER, None
        if _holds(client, current, state):
            return Arrival.MOVED, current
        if current.last:
            raise UnknownCluster(_not_moved(client, current, state))
        return Arrival.MOVED, None
    if _same_address(current.bootstrap_servers, client.bootstrap_servers):
        return Arrival.REBUILT, current if _holds(client, current, state) else None
    raise UnknownCluster(_undecided(client, current, state.topic, state.cluster_id))


def _undecided(client: Client, current: KnownTopic, topic: str, cluster_id: str | None) -> str:
    return (
        f"{client.bootstrap_servers}: {topic}: this is another cluster ({cluster_id}) than the "
        f"one that the lake has read ({current.cluster_id} at {current.bootstrap_servers}); if "
        f"bootstrap_servers is right, say once whether the same stream has moved there, or "
        f"whether it is another source, which is read from its beginning: lasair-etl drain "
        f"{_flag(f'moved:{cluster_id}')} or {_flag(f'another:{cluster_id}')}"
    )


def _flag(decision: str) -> str:
    """Return the flag that decides, fit for a shell: the broker chose the id's characters.

    >>> _flag("moved:b; rm -rf ~")
    "--cluster-changed 'moved:b; rm -rf ~'"
    """
    return f"--cluster-changed {shlex.quote(decision)}"


def _not_moved(client: Client, current: KnownTopic, state: TopicState) -> str:
    return (
        f"{client.bootstrap_servers}: {state.topic}: the last stored alerts of incarnation "
        f"{current.incarnation} are not at their offsets in the cluster {state.cluster_id}, so "
        f"reading can't go on there; {_flag(f'another:{state.cluster_id}')} reads it "
        f"from its beginning, as the next incarnation, and alerts that it shares with the old one "
        f"are then in the lake twice"
    )


def _same_address(before: str | None, now: str) -> bool:
    """Return whether all hosts that are asked now were asked before.

    >>> _same_address("a:9092, B:9093", "b:9093"), _same_address("a, b, c", "c:9092,a")
    (True, True)
    >>> _same_address("a:9092", "a, c:9092"), _same_address("a, b, c", "a, d, e")
    (False, False)
    """
    return _hosts(now) <= _hosts(before or "")


def _hosts(bootstrap_servers: str) -> set[str]:
    """Return the hosts with their ports, as librdkafka reads them."""
    names = (name.strip().lower() for name in bootstrap_servers.split(","))
    return {name if re.search(r":\d+$", name) else f"{name}:9092" for name in names if name}


def same_incarnation(known_id: str | None, broker_id: str | None) -> bool | None:
    """Return whether two ids are of the same incarnation; None where one is missing."""
    if known_id is None or broker_id is None:
        return None
    return known_id == broker_id


def _is_same(client: Client, known: KnownTopic, state: TopicState) -> bool:
    """Return whether the topic is still this incarnation; what shows nothing is no reason to doubt.

    Without topic ids the first partition that can tell decides.
    """
    same = same_incarnation(known.topic_id, state.topic_id)
    return next(_evidence(client, known, state), True) if same is None else same


def _holds(client: Client, known: KnownTopic, state: TopicState) -> bool:
    """Return whether the broker has the last stored records at their offsets, and at least one."""
    shown = _evidence(client, known, state)
    return next(shown, False) and all(shown)


def _evidence(client: Client, known: KnownTopic, state: TopicState) -> Iterator[bool]:
    """Compare the last stored record of each partition with the broker's.

    Another record, or none, at its offset shows another incarnation. A record that the broker has
    dropped since shows nothing.
    """
    if not known.next.keys() <= state.high.keys():
        yield False  # a topic's partitions never become fewer
        return
    for partition, last in known.last.items():
        if last.offset < state.low[partition]:
            continue
        found = read_record(client, known.topic, partition, last.offset, state.high[partition])
        if found is None:
            yield False
        elif found[0] == last.offset:
            _, stamp, value = found
            yield (stamp, digest(value)) == (last.timestamp_ms, last.digest)
