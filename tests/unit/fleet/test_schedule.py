"""Which node gets which cell, on a cluster that lives in this process and dies as hypothesis likes."""

import json
from collections import Counter, deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_bench.errors import ClipBenchError
from clip_bench.fleet import schedule
from clip_bench.fleet.cluster import GoneError, Node
from clip_bench.fleet.node import Told
from clip_bench.fleet.schedule import Cell
from clip_bench.journal import Journal

TARGETS = ("one-a", "two-b", "three-c")


@dataclass
class Simulated:
    """A cluster whose clock moves when it is looked at; *fates* says of each cell sent, in order, what becomes of it."""

    living: list[Node]
    fates: list[str]
    now: float = 0.0
    sent: list[tuple[str, Node]] = field(default_factory=list)
    at_once: Counter = field(default_factory=Counter)
    busy: dict[int, Node] = field(default_factory=dict)

    def clock(self):
        return self.now

    def nodes(self):
        self.now += 5.0
        return [*self.living]

    def send(self, place, task):
        assert place in self.living
        self.sent.append((task.case, place))
        self.busy[len(self.sent) - 1] = place
        hosts = Counter(each.host for each in self.busy.values())
        self.at_once |= hosts
        return len(self.sent) - 1

    def ended(self, under_way, _seconds):
        self.now += 5.0
        return under_way[:1]

    def told(self, handle):
        case, place = self.sent[handle]
        del self.busy[handle]
        fate = self.fates[handle % len(self.fates)] if self.fates else "ok"
        if fate == "dies" and place in self.living:
            self.living.remove(place)
        if fate in {"dies", "crashes"}:
            raise GoneError(fate)
        if fate == "refuses":
            raise ClipBenchError(fate)
        line = {"kind": "end", "case": case, "at_s": 0.0, "entry": {"outcome": "ok"}, "row": None, "reports": []}
        return Told(line=line, machine={"name": place.host})


def ran(tmp_path_factory, cluster, cells):
    """The journal after a schedule, its lines, and what the user was told."""
    path, said = tmp_path_factory.mktemp("fleet") / "run.jsonl", []
    journal = Journal.opened(path, locked=True)
    journal.write("asked", arguments=[], folder="")
    schedule.Schedule(
        cluster=cluster,
        journal=journal,
        task=lambda cell: cell,
        say=said.append,
        waiting=deque(cells),
        clock=cluster.clock,
    ).run()
    journal.close()
    return journal.story, [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()], said


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch):
    monkeypatch.setattr(schedule.time, "sleep", lambda _: None)


nodes = st.lists(
    st.builds(
        lambda host, offers: Node(id="", host=host, offers=frozenset(offers)),
        st.sampled_from(["m1", "m2", "m3"]),
        st.sets(st.sampled_from(TARGETS)),
    ),
    max_size=5,
).map(lambda several: [Node(id=str(i), host=each.host, offers=each.offers) for i, each in enumerate(several)])
cells = st.lists(st.sampled_from(TARGETS), max_size=12).map(
    lambda targets: [Cell(case=f"cell{i}", target=target) for i, target in enumerate(targets)]
)
fates = st.lists(st.sampled_from(["ok", "ok", "dies", "crashes", "refuses"]), max_size=8)


@given(living=nodes, planned=cells, becomes=fates)
def test_every_cell_ends_once_whatever_dies(tmp_path_factory, living, planned, becomes):
    cluster = Simulated(living=living, fates=becomes)

    story, lines, _ = ran(tmp_path_factory, cluster, planned)

    ends = Counter(line["case"] for line in lines if line["kind"] in {"end", "died"})
    assert ends == Counter(cell.case for cell in planned)
    assert set(story.ended) | set(story.died) == {cell.case for cell in planned}
    assert max(Counter(case for case, _ in cluster.sent).values(), default=0) <= 1 + schedule.GIVEN_BACK
    assert all(count == 1 for count in cluster.at_once.values())


@given(living=nodes, planned=cells, becomes=fates)
def test_a_cell_goes_to_a_node_that_offers_its_target(tmp_path_factory, living, planned, becomes):
    cluster = Simulated(living=living, fates=becomes)

    ran(tmp_path_factory, cluster, planned)

    targets = {cell.case: cell.target for cell in planned}
    assert all(targets[case] in place.offers for case, place in cluster.sent)


def place(name, *offers, host=None):
    return Node(id=name, host=host or name, offers=frozenset(offers))


def test_a_cell_is_given_back_once_and_then_lost(tmp_path_factory):
    cluster = Simulated(living=[place("n1", "one-a")], fates=["crashes"])

    story, lines, said = ran(tmp_path_factory, cluster, [Cell(case="c", target="one-a")])

    assert [line["kind"] for line in lines] == ["asked", "returned", "died"]
    assert (story.died["c"]["outcome"], story.died["c"]["reason"]) == ("lost", "two nodes died under it: crashes")
    assert said == ["c was given back: its node died", "[1/1] c  lost  two nodes died under it: crashes"]


def test_a_cell_that_was_given_back_goes_to_another_node(tmp_path_factory):
    cluster = Simulated(living=[place("n1", "one-a"), place("n2", "one-a")], fates=["dies", "ok"])

    story, _, _ = ran(tmp_path_factory, cluster, [Cell(case="c", target="one-a")])

    assert [each.id for _, each in cluster.sent] == ["n1", "n2"]
    assert story.ended["c"]["entry"] == {"outcome": "ok", "machine": "1"}
    assert story.machines["1"]["facts"] == {"name": "n2"}


def test_a_node_under_which_a_cell_died_rests_before_it_gets_another(tmp_path_factory):
    cluster = Simulated(living=[place("n1", "one-a")], fates=["crashes", "ok"])

    ran(tmp_path_factory, cluster, [Cell(case="c", target="one-a")])

    assert cluster.now >= schedule.REST_S


def test_a_target_that_no_node_ever_offered_is_skipped_with_the_words_that_offer_it(tmp_path_factory):
    cluster = Simulated(living=[place("n1", "one-a")], fates=[])

    story, _, _ = ran(tmp_path_factory, cluster, [Cell(case="c", target="two-b")])

    assert story.died["c"]["outcome"] == "skipped"
    assert story.died["c"]["reason"] == (
        "no node of the fleet offers two-b: ray start --address HOST:PORT --resources '{\"two-b\": 1}'"
    )
    assert cluster.now >= schedule.PATIENCE_S


def test_a_target_whose_nodes_have_all_died_is_lost(tmp_path_factory):
    cluster = Simulated(living=[place("n1", "one-a")], fates=["dies"])

    story, _, _ = ran(tmp_path_factory, cluster, [Cell(case=name, target="one-a") for name in "ab"])

    assert {line["outcome"] for line in story.died.values()} == {"lost"}
    assert {line["reason"] for line in story.died.values()} == {"every node that offered one-a has died"}


def test_what_a_node_cannot_measure_has_failed_and_is_sent_nowhere_else(tmp_path_factory):
    cluster = Simulated(living=[place("n1", "one-a"), place("n2", "one-a")], fates=["refuses"])

    story, _, _ = ran(tmp_path_factory, cluster, [Cell(case="c", target="one-a")])

    assert len(cluster.sent) == 1
    assert (story.died["c"]["outcome"], story.died["c"]["reason"]) == ("failed", "refuses")


def test_two_nodes_of_one_machine_are_one_machine(tmp_path_factory):
    cluster = Simulated(living=[place("n1", "one-a", host="m"), place("n2", "two-b", host="m")], fates=[])

    story, _, _ = ran(tmp_path_factory, cluster, [Cell(case="a", target="one-a"), Cell(case="b", target="two-b")])

    assert cluster.at_once == {"m": 1}
    assert list(story.machines) == ["1"]
    assert {line["entry"]["machine"] for line in story.ended.values()} == {"1"}
