"""AMD's rows: what the NPU's needs, what its provider is told, and the same graph's answers without it."""

from types import SimpleNamespace

import pytest

from clip_bench import graphs
from clip_bench.backends import Options, onnxruntime
from clip_bench.backends.onnxruntime import vitisai
from clip_bench.errors import UnavailableError
from clip_bench.quality import gates, metrics
from clip_bench.specs import Device, Format, Precision, Tower

ROWS = {target.device: (target, row) for target, row in vitisai.PROVIDERS.items()}
SIXTEEN = Precision.A16W8


def told(settings, key="abc"):
    """What the NPU's provider is told for an artifact of that key."""
    _, row = ROWS[Device.NPU]
    return row.told(SimpleNamespace(key=key), Options(precision=SIXTEEN, threads=1, settings=settings))


@pytest.fixture
def session(shapes):
    """The sixteen-bit graph of pictures on this processor, and what it is asked."""
    target, _ = ROWS[Device.NUMERICS]
    artifact = graphs.build(shapes.graph(Tower.IMAGE), SIXTEEN, Format.ONNX_VITISAI)
    made = onnxruntime.load(artifact, target, Options(precision=SIXTEEN, threads=1))
    yield made
    made.close()


def test_without_its_provider_the_device_says_what_to_install_and_nothing_is_loaded():
    target, _ = ROWS[Device.NPU]
    options = Options(precision=SIXTEEN, threads=1)

    assert "install AMD's Ryzen AI Software" in onnxruntime.devices({})[target].missing
    with pytest.raises(UnavailableError, match="Ryzen AI Software"):
        onnxruntime.load(SimpleNamespace(key="abc"), target, options)


def test_the_graph_alone_runs_where_it_says_and_is_labelled(shapes, session):
    session.run(shapes.fed.calls(Tower.IMAGE)[0])

    where = session.placement()

    assert where.asked == "CPUExecutionProvider"
    assert set(where.nodes) == {"CPUExecutionProvider"}
    assert where.note == "the graph's numerics, not the device's"
    assert not ROWS[Device.NUMERICS][0].device.hardware
    assert where.fault(SIXTEEN) == ""


def test_the_graph_alone_answers_near_the_reference(shapes, session):
    expected = shapes.reference.outputs(shapes.fed, Tower.IMAGE)["image_embedding"]

    cosines = metrics.cosine(shapes.answers(session, Tower.IMAGE)["image_embedding"], expected)

    assert cosines.mean() >= gates.FLOORS[SIXTEEN].mean
    assert cosines.min() >= gates.FLOORS[SIXTEEN].minimum


def test_the_provider_is_told_what_the_user_says_and_nothing_else():
    assert told({}) == {}
    assert told({"target": "X1", "xclbin": "4x4.xclbin"}) == {"target": "X1", "xclbin": "4x4.xclbin"}


def test_two_graphs_never_share_an_entry_of_the_cache():
    one, other = (told({"cache_dir": "here", "cache_key": "mine"}, key) for key in ("abc", "def"))

    assert one == {"cache_dir": "here", "cache_key": "mine_abc"}
    assert other == {"cache_dir": "here", "cache_key": "mine_def"}


@pytest.mark.parametrize("key", vitisai.FILES)
def test_a_file_that_is_not_there_is_told_before_anything_is_built(tmp_path, key):
    target, row = ROWS[Device.NPU]
    gone = tmp_path / "gone.json"

    missing = onnxruntime.devices({"vitisai": {key: str(gone)}})[target].missing
    gone.touch()

    assert missing == f"--option vitisai.{key}={gone}: no such file"
    assert row.lacks({key: str(gone)}) == ""
