"""Which nodes hold a session, and what is noticed when one is gone."""

from contextlib import nullcontext
from threading import Event
from types import SimpleNamespace

import pytest
from ray import exceptions

from clip_bench.corpus import flow
from clip_bench.errors import ClipBenchError, UnavailableError
from clip_bench.fleet.cluster import GoneError, Node


def node(name, *targets):
    return Node(id=name, host="127.0.0.1", offers=frozenset(targets))


def test_a_session_is_held_by_every_node_that_offers_the_target():
    nodes = [node("a", "torch-cpu"), node("b", "null-cpu"), node("c", "null-cpu", "torch-cpu")]

    assert flow.offering(lambda: nodes, "torch-cpu") == {"a", "c"}


def test_a_node_that_is_starting_is_waited_for():
    looks = iter([[], [], [node("a", "torch-cpu")]])
    slept = []

    assert flow.offering(lambda: next(looks), "torch-cpu", slept.append) == {"a"}
    assert slept == [flow.LOOK_S] * 2


def test_a_target_that_nobody_offers_is_told_with_the_words_that_offer_it():
    with pytest.raises(UnavailableError, match=r"no node of the cluster offers torch-cpu: ray start --resources='"):
        flow.offering(lambda: [node("a", "null-cpu")], "torch-cpu", lambda _: None)


def test_rows_go_through(monkeypatch):
    monkeypatch.setattr(flow, "LOOK_S", 0.01)

    assert list(flow.watched(iter([1, 2, 3]), lambda: ())) == [1, 2, 3]


def test_what_waits_for_a_node_that_died_is_ended(monkeypatch):
    monkeypatch.setattr(flow, "LOOK_S", 0.01)
    ended = Event()

    def rows():
        yield 1
        ended.wait(60)

    watched = flow.watched(rows(), lambda: {"a"})
    assert next(watched) == 1
    with pytest.raises(GoneError, match="no longer among the nodes"):
        next(watched)
    ended.set()


def test_what_goes_wrong_on_a_node_is_raised_here():
    def rows():
        yield 1
        msg = "no"
        raise TimeoutError(msg)

    with pytest.raises(TimeoutError):
        list(flow.watched(rows(), lambda: {"a"}))


def test_a_cluster_without_processors_is_told_since_it_would_wait_for_them(monkeypatch):
    told = SimpleNamespace(nodes=lambda: [node("a", "torch-cpu")], processors=lambda: 0.0)
    monkeypatch.setattr(flow.cluster, "connected", lambda *_, **__: nullcontext(told))
    task = SimpleNamespace(case=SimpleNamespace(target="torch-cpu"))

    with pytest.raises(UnavailableError, match="has a processor to decode with: ray start --num-cpus N"):
        next(flow.embedded({}, task=task, address="127.0.0.1:1"))


def failed(cause):
    """What Ray raises here for *cause*, which was raised there."""
    return exceptions.RayTaskError("decode", "Traceback ...", cause).as_instanceof_cause()


def test_what_a_worker_cannot_do_is_told_in_its_own_words():
    told = flow.ours(failed(UnavailableError("no weights here\nFailed to apply UDF")))

    assert type(told) is ClipBenchError
    assert str(told) == "no weights here"


def test_what_nobody_foresaw_is_told_with_its_kind():
    assert str(flow.ours(failed(ZeroDivisionError("by zero")))) == "ZeroDivisionError on a node: by zero"


@pytest.mark.parametrize(
    "raised",
    [exceptions.ActorDiedError(), exceptions.WorkerCrashedError(), exceptions.NodeDiedError("node")],
    ids=list("abc"),
)
def test_a_death_is_a_death(raised):
    assert isinstance(flow.ours(raised), GoneError)
    assert isinstance(flow.ours(RuntimeError("wrapped")), ClipBenchError)
