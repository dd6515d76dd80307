"""The embedded weights are small, hold what was trained, and fill open_clip's own architecture."""

import pytest
import torch
from safetensors.torch import load_file

from clip_bench.models import shapes_tiny

MEGABYTE = 2**20


@pytest.fixture(scope="module")
def stored():
    return load_file(shapes_tiny.WEIGHTS)


def test_a_compact_model_expands_to_one_that_reads_alike():
    torch.manual_seed(0)
    tokens = shapes_tiny.tokenizer()(["a red ring", "a blue star and a pink heart"])
    known = torch.unique(tokens)
    small = shapes_tiny.architecture(vocabulary=len(known)).eval()
    whole = shapes_tiny.architecture().eval()

    whole.load_state_dict(shapes_tiny.expand(shapes_tiny.compact(small, known)))

    with torch.inference_mode():
        expected = small.encode_text(torch.searchsorted(known, tokens))
        torch.testing.assert_close(whole.encode_text(tokens), expected)


def test_a_compact_model_keeps_every_tensor_as_it_was():
    small = shapes_tiny.architecture(vocabulary=3)
    known = torch.tensor([0, 5, 49407])

    expanded = shapes_tiny.expand(shapes_tiny.compact(small, known))

    state = small.state_dict()
    table = expanded.pop("token_embedding.weight")
    assert torch.equal(table[known], state.pop("token_embedding.weight"))
    assert expanded.keys() == state.keys()
    assert all(torch.equal(expanded[name], value) for name, value in state.items())


def test_expanding_leaves_what_was_stored_as_it_was(stored):
    before = set(stored)

    one, other = shapes_tiny.expand(stored), shapes_tiny.expand(stored)

    assert set(stored) == before
    assert one.keys() == other.keys()


def test_the_weights_are_one_file_of_at_most_eight_megabytes():
    assert shapes_tiny.WEIGHTS.stat().st_size <= 8 * MEGABYTE


def test_only_known_tokens_have_a_row_in_the_file_and_in_the_full_table(stored):
    known = stored["known_tokens"]

    table = shapes_tiny.expand(stored)["token_embedding.weight"]

    filled = torch.nonzero(table.abs().sum(dim=1)).flatten()
    assert len(stored["token_embedding.weight"]) == len(known) < 100
    assert torch.equal(known, torch.unique(known))
    assert torch.equal(filled, known)
    assert table.shape == (shapes_tiny.CONFIG["text_cfg"]["vocab_size"], shapes_tiny.CONFIG["text_cfg"]["width"])


def test_the_weights_are_finite_float32(stored):
    tensors = {name: value for name, value in stored.items() if name != "known_tokens"}

    assert {value.dtype for value in tensors.values()} == {torch.float32}
    assert all(torch.isfinite(value).all() for value in tensors.values())
