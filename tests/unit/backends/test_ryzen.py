"""AMD's rows: what the NPU's needs, what its provider is told, and the same graph's answers without it."""

import json
from types import SimpleNamespace

import onnxruntime as runtime
import pytest

from clip_bench import graphs
from clip_bench.backends import Options, onnxruntime
from clip_bench.backends.onnxruntime import vitisai
from clip_bench.errors import PlacementError, UnavailableError
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


def test_the_provider_is_told_what_the_user_says_and_where_to_account_for_nodes():
    plain, more = told({}), told({"target": "X1"})

    assert set(plain) == {"cache_dir", "cache_key", "enable_cache_file_io_in_mem"}
    assert set(more) == {*plain, "target"}
    assert more["target"] == "X1"
    assert told({"cache_dir": "here"})["cache_dir"] == "here"


def test_no_two_graphs_options_or_files_share_an_entry_of_the_cache(tmp_path):
    file = tmp_path / "config.json"
    file.write_text("{}", encoding="utf-8")
    given = {"config_file": str(file)}

    keys = [told({}, "abc"), told({}, "def"), told({"target": "X1"}, "abc"), told(given), told({"cache_key": "mine"})]
    file.write_text("[]", encoding="utf-8")
    keys.append(told(given))

    assert len({each["cache_key"] for each in keys}) == 6
    assert keys[4]["cache_key"].startswith("mine_")
    assert told({}, "abc") == keys[0]


@pytest.mark.parametrize(("inside", "fault"), [(2, ""), (60, "60 nodes on VITIS_EP_CPU")], ids=["few", "many"])
def test_nodes_that_the_provider_keeps_on_the_processor_are_counted_by_its_own_account(tmp_path, inside, fault):
    """As AMD documents the report; the session's own count sees all of these nodes on the provider."""
    _, row = ROWS[Device.NPU]
    places = [("all", 400), ("NPU", 400 - inside), (vitisai.INSIDE, inside)]
    report = {"deviceStat": [{"name": name, "nodeNum": count} for name, count in places]}
    (tmp_path / "entry").mkdir()
    (tmp_path / "entry" / vitisai.REPORT).write_text(json.dumps(report), encoding="utf-8")
    seen = [SimpleNamespace(ep_name=row.name, get_nodes=lambda: [None] * 400)]
    made = onnxruntime.OnnxRuntimeSession(
        session=SimpleNamespace(
            get_provider_graph_assignment_info=lambda: seen, get_session_options=runtime.SessionOptions
        ),
        call=None,
        asked=row.name,
        told={"cache_dir": str(tmp_path), "cache_key": "entry"},
        note=row.note,
        elsewhere=row.elsewhere,
        share=row.share,
        profile=None,
    )

    where = made.placement()

    assert where.nodes == {row.name: 400 - inside, vitisai.INSIDE: inside}
    assert fault in where.fault(SIXTEEN)
    assert bool(where.fault(SIXTEEN)) == bool(fault)


@pytest.mark.parametrize("left", [None, "", "{}", '{"deviceStat": 3}'], ids=["none", "empty", "bare", "strange"])
def test_without_that_account_nothing_is_believed(tmp_path, left):
    if left is not None:
        (tmp_path / vitisai.REPORT).write_text(left, encoding="utf-8")

    with pytest.raises(PlacementError, match="nothing tells where its nodes run"):
        vitisai.elsewhere({"cache_dir": str(tmp_path), "cache_key": ""})


@pytest.mark.parametrize("key", vitisai.FILES, ids=["settings", "binary"])
def test_a_file_that_is_not_there_is_told_before_anything_is_built(tmp_path, key):
    target, row = ROWS[Device.NPU]
    gone = tmp_path / "gone.json"

    missing = onnxruntime.devices({"vitisai": {key: str(gone)}})[target].missing
    gone.touch()

    assert missing == f"--option vitisai.{key}={gone}: no such file"
    assert row.lacks({key: str(gone)}) == ""
