"""What the model card states is what the committed weights do."""

import pytest
import torch
from safetensors import safe_open

from clip_bench.data import scenes
from clip_bench.models import shapes_tiny
from clip_bench.models.shapes_tiny import card

CARD = shapes_tiny.WEIGHTS.with_name("README.md")
POINTS = 0.4  # other processors round otherwise: two of 500 samples may change sides


def cells(table):
    """The rows of the first Markdown table whose head begins with ``objects``, head first, as stripped cells."""
    lines = [line.strip() for line in table.splitlines()]
    start = next(i for i, line in enumerate(lines) if line.startswith("| objects"))
    body = [lines[start]]
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        body.append(line)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body]


@pytest.fixture(scope="module")
def measured():
    return card.figures()


def test_the_card_states_what_is_measured(measured):
    stated = cells(CARD.read_text(encoding="utf-8"))
    found = cells(card.table(measured))

    assert [row[0] for row in stated] == [row[0] for row in found]
    assert stated[0] == found[0]
    for ours, theirs in zip(stated[1:], found[1:], strict=True):
        assert [cell == "-" for cell in ours] == [cell == "-" for cell in theirs]
        figures = [(float(a), float(b)) for a, b in zip(ours[1:], theirs[1:], strict=True) if a != "-"]
        assert all(abs(a - b) <= POINTS + 1e-9 for a, b in figures), (ours, theirs)


def test_single_objects_are_told_apart(measured):
    assert measured["1"]["top1"] >= 0.98


def test_every_token_of_every_class_was_seen_in_training():
    with safe_open(shapes_tiny.WEIGHTS, framework="pt") as stored:
        known = stored.get_tensor("known_tokens")

    asked = torch.unique(shapes_tiny.tokenizer()(list(scenes.PROMPTS)))

    assert set(asked.tolist()) <= set(known.tolist())
