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
