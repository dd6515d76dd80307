"""Backends are found by their entry points, and by nothing else."""

from importlib.metadata import EntryPoint
from itertools import permutations
from types import SimpleNamespace

import pytest

from clip_bench import backends
from clip_bench.errors import UsageError
from clip_bench.specs import Device, Format, Precision, Target, Variant

TARGET = Target(backend="acme", device=Device.NPU)
OTHER = Target(backend="acme", device=Device.CPU)
VARIANT = Variant(compiled=True)
PLAIN = SimpleNamespace(TARGETS={TARGET: frozenset({Precision.FP32})}, load=None)


def declare(name, value="acme_rt.backend", package=None, module=PLAIN):
    """An entry point that needs no installed package; *module* None: loading it is an ImportError."""

    def load():
        if module is None:
            raise ImportError(value)
        return module

    dist = None if package is None else SimpleNamespace(name=package)
    return SimpleNamespace(name=name, value=value, dist=dist, load=load)


def test_declared_backends_are_found_under_their_names():
    one, two = SimpleNamespace(), SimpleNamespace()

    found = backends.discover([declare("acme", module=one), declare("zeta", module=two)])

    assert found == {"acme": one, "zeta": two}


def test_real_entry_points_are_what_discover_loads():
    point = EntryPoint(name="acme", value="types", group=backends.GROUP)

    assert list(backends.discover([point])) == ["acme"]
    assert backends.discover([point])["acme"].SimpleNamespace is SimpleNamespace


def test_the_installed_ones_are_asked_for_by_the_group(monkeypatch):
    groups = {"clip_bench.backends": [declare("acme")]}
    monkeypatch.setattr(backends, "entry_points", lambda group: groups[group])

    assert backends.discover() == {"acme": PLAIN}


def test_the_order_is_that_of_the_names_whatever_was_installed_first():
    orders = [list(backends.discover(map(declare, names))) for names in permutations(["zeta", "acme", "mid"])]

    assert orders == [["acme", "mid", "zeta"]] * 6


def test_a_name_declared_twice_is_an_error_that_names_both():
    points = [declare("acme", "acme_rt.backend", "acme-rt"), declare("zeta"), declare("acme", "other.acme")]

    with pytest.raises(UsageError, match=r"'acme'.*2 times \(acme_rt\.backend of acme-rt, other\.acme\); uninstall"):
        backends.discover(points)


def test_a_name_declared_twice_is_an_error_before_either_is_loaded():
    points = [declare("acme", module=None), declare("acme", module=None)]

    with pytest.raises(UsageError, match="uninstall"):
        backends.discover(points)


def test_a_backend_that_cannot_be_loaded_is_not_passed_over():
    with pytest.raises(ImportError, match=r"acme_rt\.backend"):
        backends.discover([declare("acme", module=None)])


def test_a_backend_loads_onnx_unless_it_says_otherwise():
    other = SimpleNamespace(FORMAT=Format.REPLAY)
    mixed = SimpleNamespace(FORMAT={TARGET: Format.RKNN})

    assert backends.format_of(PLAIN, TARGET) is Format.ONNX
    assert backends.format_of(other, TARGET) is Format.REPLAY
    assert [backends.format_of(mixed, target) for target in (TARGET, OTHER)] == [Format.RKNN, Format.ONNX]


def test_a_backend_has_no_variants_unless_it_offers_them_for_the_target():
    offer = {VARIANT: frozenset({Precision.FP32})}
    other = SimpleNamespace(VARIANTS={TARGET: offer})

    assert backends.variants_of(PLAIN, TARGET) == {}
    assert backends.variants_of(other, OTHER) == {}
    assert backends.variants_of(other, TARGET) == offer


def test_a_backend_without_devices_cannot_tell_what_is_missing():
    here = {TARGET: backends.Found(missing="no NPU driver")}
    other = SimpleNamespace(devices=lambda settings: here)  # noqa: ARG005  its signature

    assert backends.found(PLAIN, {}) == {}
    assert backends.found(other, {}) == {TARGET: backends.Found(missing="no NPU driver")}


@pytest.mark.parametrize(
    ("nodes", "share", "fault"),
    [
        ({}, 0, ""),
        ({"acme": 9}, 0, ""),
        ({"acme": 9, "host": 1}, 0, "asked for acme, and the runtime placed 9 nodes on acme, 1 nodes on host"),
        ({"host": 9}, 0, "asked for acme, and the runtime placed 9 nodes on host"),
        ({"acme": 0}, 0, "asked for acme, and the runtime placed 0 nodes on acme"),
        ({"acme": 9, "host": 1}, 0.1, ""),
        ({"acme": 8, "host": 2}, 0.1, "asked for acme, where 10% may run elsewhere, and the runtime placed"),
        ({"acme": 0}, 1, "placed 0 nodes on acme"),
    ],
    ids=["untold", "all", "some_not", "none", "nothing", "within_share", "beyond_share", "nothing_at_all"],
)
def test_work_elsewhere_is_a_fault_beyond_the_share_that_was_declared(nodes, share, fault):
    where = backends.Placement(nodes=nodes, dtypes={}, asked="acme", share=share)

    told = where.fault(Precision.FP16)

    assert (fault in told, bool(told)) == (True, bool(fault))


@pytest.mark.parametrize("narrow", sorted(backends.NARROW), ids=["b", "b16", "f", "f16"])
def test_only_a_whole_float_cell_may_not_run_in_narrower_floats(narrow):
    where = backends.Placement(nodes={"acme": 9}, dtypes={"f32": 7, narrow: 2}, asked="acme")

    assert where.fault(Precision.FP32) == f"asked for fp32, and the runtime executed 2 nodes in {narrow}"
    assert where.fault(Precision.FP16) == where.fault(Precision.INT8_QDQ) == ""


def test_the_options_of_a_target_are_those_of_its_backend_and_of_its_provider_which_win():
    given = {"acme": {"a": "1", "c": "3"}, "swift": {"b": "2", "c": "4"}, "slow": {"d": "5"}}

    assert backends.setting_of(TARGET, given) == {"a": "1", "c": "3"}
    assert backends.setting_of(Target(backend="acme", provider="swift", device=Device.NPU), given) == {
        "a": "1",
        "b": "2",
        "c": "4",
    }
    assert backends.setting_of(TARGET, {}) == {}


def test_targets_that_the_user_names_join_those_that_there_always_are():
    named = SimpleNamespace(TARGETS=PLAIN.TARGETS, targets=lambda given: {OTHER: frozenset(given)})

    assert backends.targets_of(PLAIN, {}) == PLAIN.TARGETS
    assert backends.targets_of(named, {"acme": {}}) == {OTHER: {"acme"}}
