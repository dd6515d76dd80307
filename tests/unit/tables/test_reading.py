"""A damaged run file is read or refused with one line; nothing else happens."""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_bench.errors import UsageError
from clip_bench.report import frame, full, hardware, holes, terminal, write
from clip_bench.runfile import read

RUN = json.loads((Path(__file__).parent / "golden" / "run.json").read_text(encoding="utf-8"))
RUN["outcomes"] = RUN["outcomes"][1:9]  # one of each kind: an example takes milliseconds
OTHER = [None, True, 0, -1, 1.5, "", "x", "../x", [], {}, [None], {"x": None}, float("nan"), float("inf")]


def places(data, path=()):
    """The path of every value in JSON data, leaves of long lists aside."""
    items = data.items() if isinstance(data, dict) else enumerate(data[:8]) if isinstance(data, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


PLACES = [place for place in places(RUN) if place[0] != "benchmarks"]
MACHINE = [("machine_info",), ("machine_info", "clip_bench")]


def damaged(place, value, *, drop=False):
    data = copy.deepcopy(RUN)
    at = data
    for key in place[:-1]:
        at = at[key]
    if drop:
        del at[place[-1]]
    else:
        at[place[-1]] = value
    return data


def told(path, data):
    """Read and print everything; the message where it is refused, else empty."""
    path.write_text(json.dumps(data), encoding="utf-8")
    try:
        table = frame([read(path)])
        for printed in (hardware, terminal, full, holes):
            printed(table)
        write([path], path.parent / "out")
    except UsageError as exc:
        return str(exc)
    return ""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged") / "run.json"


@settings(deadline=None, max_examples=30)
@given(place=st.sampled_from(PLACES))
def test_a_missing_field_is_told_in_one_line(path, place):
    message = told(path, damaged(place, None, drop=True))

    assert "\n" not in message


@settings(deadline=None, max_examples=75)
@given(place=st.sampled_from([place for place in PLACES if place not in MACHINE]), value=st.sampled_from(OTHER))
def test_a_value_of_another_type_is_told_in_one_line(path, place, value):
    message = told(path, damaged(place, value))

    assert "\n" not in message


@settings(deadline=None, max_examples=50)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_refused_in_one_line(path, data):
    path.write_bytes(data)

    with pytest.raises(UsageError) as refused:
        read(path)

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("place", MACHINE, ids=["outer", "inner"])
def test_a_machine_that_is_no_object_is_told_in_one_line(path, place):
    message = told(path, damaged(place, []))

    assert "\n" not in message
