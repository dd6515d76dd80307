"""Each saboteur breaks what it says, in its towers, and nothing else."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from clip_bench.change import Change
from clip_bench.models import catalog, feeds, towers
from clip_bench.preprocess import probes
from clip_bench.quality import fed, metrics
from clip_bench.saboteurs import ALL, Kind
from clip_bench.saboteurs import feeds as feeding
from clip_bench.saboteurs.saboteur import Saboteur
from clip_bench.specs import Precision, Tower
from clip_bench.trial import SOUND

MODELLED = [each for each in ALL if each.change.model]
PICTURED = [each for each in ALL if each.change.transform is not feeds.transform]
CALLED = [each for each in ALL if each.session is not SOUND.session]
SIZES = list({each.image_size: each for each in catalog.MODELS.values()}.values())


def names(several):
    return [each.name.replace("pooled", "taken") for each in several]  # no word of the matrix


def embedded(model, shapes, tower):
    """What *model* makes of the first eight samples."""
    module = towers.module(model, tower, torch.float32)
    rows = shapes.fed.image if tower is Tower.IMAGE else shapes.fed.tokens
    with torch.inference_mode():
        return module(torch.from_numpy(rows[:8])).numpy()


@pytest.mark.parametrize("saboteur", MODELLED, ids=names(MODELLED))
def test_a_changed_weight_or_node_drifts_in_its_towers(saboteur, shapes):
    broken = saboteur.change.source(shapes.source)
    before = copy.deepcopy(shapes.source.model().state_dict())

    for tower in saboteur.towers:
        own, right = embedded(broken.model(), shapes, tower), embedded(shapes.source.model(), shapes, tower)
        assert metrics.drift(own, right).mean() > 1e-10

    after = shapes.source.model().state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_broken_source_is_another_to_every_recipe(shapes):
    hashes = {each.change.source(shapes.source).sha256() for each in MODELLED}

    assert len(hashes) == len(MODELLED)
    assert shapes.source.sha256() not in hashes
    assert Change().source(shapes.source) is shapes.source


@pytest.mark.parametrize("saboteur", PICTURED, ids=names(PICTURED))
@pytest.mark.parametrize("model", ["shapes_tiny", "siglip_b_16"], ids=["crops", "squashes"])
def test_every_other_transform_is_told_from_the_description(saboteur, model):
    spec = catalog.MODELS[model]

    found = fed.transformed("picture", probes.made(spec, saboteur.change.transform), probes.expected(spec))

    assert len(found) == 1
    assert found[0].gate == "feeds"


@pytest.mark.parametrize("spec", SIZES, ids=lambda spec: str(spec.image_size))
def test_the_models_own_transform_is_what_its_description_says(spec):
    assert fed.transformed("picture", probes.made(spec), probes.expected(spec)) == ()


def test_the_own_transform_of_every_model_passes_with_room():
    for spec in catalog.MODELS.values():
        off = np.abs(probes.made(spec) - probes.expected(spec))
        assert off.max() < fed.STEP / 10, spec.name


@pytest.mark.parametrize("change", [feeding.padded_with_end, feeding.without_start])
def test_ids_that_are_built_otherwise_are_told(shapes, change):
    assert fed.tokenized(shapes.fed.tokens) == ()
    assert len(fed.tokenized(change(shapes.fed.tokens))) == 1


class Cells:
    """The cells beside a broken one: sessions that say which they are."""

    def __init__(self, tower, precision):
        self.tower, self.precision, self.asked = tower, precision, []

    def open(self, tower, precision):
        self.asked.append((tower, precision))
        calls = [{"image" if tower is Tower.IMAGE else "tokens": np.full((1, 3), 5.0)}]
        return Echo(100, f"{tower}_embedding"), calls


class Echo:
    """Answers with what it was fed, and *more*."""

    def __init__(self, more, name):
        self.more, self.name, self.closed = more, name, 0

    def run(self, given):
        (rows,) = given.values()
        return {self.name: rows + self.more}

    def placement(self):
        return "here"

    def close(self):
        self.closed += 1


def answers(name, count=6, tower=Tower.IMAGE, precision=Precision.FP32):
    """What the saboteur *name* gives to calls 0, 1, 2, ..., each a row of its number; and the cells that it asked for."""
    (saboteur,) = [each for each in ALL if each.name == name]
    cells = Cells(tower, precision)
    session = saboteur.session(Echo(0, f"{tower}_embedding"), cells)
    given = [session.run({str(tower): np.full((1, 3), float(i))})[f"{tower}_embedding"] for i in range(count)]
    assert session.placement() == "here"
    session.close()
    return [float(rows[0, 0]) for rows in given], cells.asked


def test_the_answer_before_is_given():
    assert answers("previous_output")[0] == [0, 0, 1, 2, 3, 4]


def test_the_first_answer_is_kept():
    assert answers("cached_output")[0] == [0] * 6


@pytest.mark.parametrize(("own", "other"), [(Tower.IMAGE, Tower.TEXT), (Tower.TEXT, Tower.IMAGE)], ids=["one", "two"])
def test_the_other_tower_answers(own, other):
    assert answers("towers_swapped", tower=own) == ([105] * 6, [(other, Precision.FP32)])


@pytest.mark.parametrize(
    ("own", "other"), [(Precision.FP32, Precision.BF16), (Precision.INT8_QDQ, Precision.FP32)], ids=["wide", "narrow"]
)
def test_another_type_answers_after_the_first_call(own, other):
    assert answers("moved", precision=own) == ([0, 101, 102, 103, 104, 105], [(Tower.IMAGE, other)])


def test_what_is_lost_grows_with_the_calls():
    (saboteur,) = [each for each in ALL if each.name == "worn"]
    session = saboteur.session(Echo(0, "x"), Cells(Tower.IMAGE, Precision.FP32))

    lost = [int((session.run({"image": np.ones((1, 3, 4, 4))})["x"] == 0).sum()) for _ in range(120)]

    assert lost == sorted(lost)
    assert (lost[0], lost[49], lost[50], lost[-1]) == (0, 0, 12, 24)


def test_words_that_are_lost_are_words(shapes):
    (saboteur,) = [each for each in ALL if each.name == "worn"]
    session = saboteur.session(Echo(0, "x"), Cells(Tower.TEXT, Precision.FP32))
    tokens = shapes.fed.tokens[:1]

    given = [session.run({"tokens": tokens})["x"] for _ in range(101)][-1]

    assert (given != tokens).sum() in {1, 2}
    assert fed.tokenized(given) == ()


def test_every_name_is_given_once_and_every_kind_is_there():
    assert len({each.name for each in ALL}) == len(ALL)
    assert {each.kind for each in ALL} == set(Kind)


def test_a_saboteur_that_changes_nothing_is_the_true_cell():
    assert Saboteur(name="", kind=Kind.CALL, what=SOUND.what) == SOUND
    assert replace(SOUND).change == Change()
