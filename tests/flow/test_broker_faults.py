"""Brokers that are down, silent, late, or that lack the topic: nothing lost, nothing made up."""

from tests.flow import checker
from tests.flow.alerts import small_alerts
from tests.flow.brokers import free_port
from tests.flow.drains import arguments, command, drain
from tests.flow.proxy import FETCH, black_hole, never_after, once, proxied

# A longer one where something has to arrive before the silence begins.
CONNECT_S = 2
ANSWERED_S = 6


def test_broker_that_is_down_is_75_within_connect_timeout(lake):
    """A broker that is down is "try later", said in one sentence and in the time allowed."""
    address = f"127.0.0.1:{free_port()}"
    finished = command(*arguments(address, lake, "lasair_x", connect_timeout=CONNECT_S)).wait()
    assert finished.code == 75, str(finished)
    assert address in finished.err
    assert "Traceback" not in finished.output


def test_broker_that_accepts_and_never_answers_is_75_within_connect_timeout(lake):
    """A broker that takes the connection and says nothing is "try later", not "nothing new"."""
    with black_hole() as address:
        finished = drain(address, lake, "lasair_x", code=75, connect_timeout=CONNECT_S)
    assert address in finished.err
    assert "Traceback" not in finished.output


def test_broker_whose_first_fetch_takes_ten_seconds_loses_nothing(kafka, broker, topic, lake):
    """A first answer that comes after 10 s is waited for, although poll_timeout is 0."""
    kafka.publish(topic, small_alerts(50))
    with proxied(broker, once(FETCH, 10)) as proxy:
        finished = drain(proxy.bootstrap_servers, lake, topic, connect_timeout=60)
    assert finished.seconds > 10
    found = checker.check(lake, {(topic, 1): checker.read_topic(broker, topic)})
    assert found.alerts == 50


def test_broker_whose_fetches_are_never_answered_is_75(kafka, broker, topic, lake):
    """A broker that answers everything but the fetches is 75, and never "nothing new"."""
    kafka.publish(topic, small_alerts(50))
    with proxied(broker, never_after(FETCH, 0, others_too=False)) as proxy:
        finished = drain(proxy.bootstrap_servers, lake, topic, code=75, connect_timeout=CONNECT_S)
    assert f"{topic}[0]" in finished.output
    assert f"no answer within {CONNECT_S} s" in finished.output
    assert drain(broker, lake, topic).code == 0
    assert checker.check(lake, {(topic, 1): checker.read_topic(broker, topic)}).alerts == 50


def test_partition_that_falls_silent_is_75_after_what_arrived_is_stored(kafka, broker, topic, lake):
    """Partitions that never report their end make the run 75; what they gave before is kept."""
    kafka.publish(topic, small_alerts(50))
    with proxied(broker, never_after(FETCH, 1, others_too=False)) as proxy:
        finished = drain(proxy.bootstrap_servers, lake, topic, code=75, connect_timeout=ANSWERED_S)
    assert f"no answer within {ANSWERED_S} s" in finished.output
    log = checker.read_topic(broker, topic)
    stored = checker.read_catalog(lake).counts[topic]
    assert stored > 0
    checker.check(lake, {(topic, 1): log}, unread=50 - stored)
    drain(broker, lake, topic)
    assert checker.check(lake, {(topic, 1): log}).alerts == 50


def test_broker_that_freezes_in_the_middle_is_75_and_loses_nothing(kafka, broker, topic, lake):
    """A broker that freezes whole, group commits too, ends the run with 75 in a bounded time."""
    kafka.publish(topic, small_alerts(50))
    with proxied(broker, never_after(FETCH, 1, others_too=True)) as proxy:
        drain(proxy.bootstrap_servers, lake, topic, code=75, connect_timeout=ANSWERED_S)
    drain(broker, lake, topic)
    assert checker.check(lake, {(topic, 1): checker.read_topic(broker, topic)}).alerts == 50


def test_topic_that_does_not_exist_is_no_error(kafka, broker, new_topic, lake):
    """A topic that has not been made yet is exit 0 and a plain sentence, with the nearest name."""
    near = new_topic()
    kafka.publish(near, small_alerts(8))
    missing, elsewhere = near[:-1], "lasair_77nothinglikethis"
    finished = drain(broker, lake, missing, elsewhere, near)
    first, second = finished.closing["notes"]
    assert first.startswith(f"{missing}: no such topic yet")
    assert first.endswith(f"did you mean {near}?")
    assert second.startswith(f"{elsewhere}: no such topic yet")
    assert "did you mean" not in second
    assert checker.check(lake, {(near, 1): checker.read_topic(broker, near)}).alerts == 8


def test_topic_that_appears_later_is_drained_from_its_first_alert(kafka, broker, new_topic, lake):
    """A topic that came to be after the first run is read from its beginning by the next one."""
    later = new_topic(made=False)
    drain(broker, lake, later)
    kafka.create(later)
    kafka.publish(later, small_alerts(20))
    drain(broker, lake, later)
    assert checker.check(lake, {(later, 1): checker.read_topic(broker, later)}).alerts == 20
