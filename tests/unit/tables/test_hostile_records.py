"""A damaged run or finding through every command that reads one: it works, or is one clear line."""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clip_bench import finding
from clip_bench.__main__ import main
from clip_bench.answered import Fit, Labelled, Scoring

GOLDEN = json.loads((Path(__file__).parent / "golden" / "run.json").read_text(encoding="utf-8"))
GOLDEN["outcomes"] = GOLDEN["outcomes"][1:5]  # an example goes through five commands
GOLDEN.pop("benchmarks", None)
FITS = (Fit(label="a", cosine=0.5, score=0.75), Fit(label="b", cosine=0.25, score=0.25))
TOLD = Scoring(
    case="c",
    title="t",
    random_weights=False,
    scale=4.0,
    pictures=(Labelled(picture="p", labels=FITS),),
    left_out=("a: b",),
)
FOUND = json.loads(finding.to_json(TOLD, {"name": "m"}))
VALUES = st.sampled_from(
    [None, True, 0, -1, 1.5, 10**400, 1e308, "", "../../x", "\x1b[31m", "\ud800", "\n", [], {}, [None], {"x": 1}, [[]]]
) | st.recursive(st.none() | st.floats() | st.text(max_size=5), lambda each: st.lists(each, max_size=3), max_leaves=5)
COMMANDS = {
    "report": ["-o", "pages"],
    "verify": [],
    "compare": ["run.json"],
    "history": [],
    "best": [],
}


def places(data, path=()):
    """The path of every value, of long lists but the first."""
    items = data.items() if isinstance(data, dict) else enumerate(data[:4]) if isinstance(data, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


@st.composite
def damaged(draw, whole):
    """*whole* with a value replaced, removed, or called otherwise."""
    data = copy.deepcopy(whole)
    *above, last = draw(st.sampled_from(list(places(whole))))
    at = data
    for key in above:
        at = at[key]
    how = draw(st.sampled_from(["put", "drop", "rename"]))
    value = at.pop(last) if how != "put" else None
    if how == "put":
        at[last] = draw(VALUES)
    elif how == "rename" and isinstance(at, dict):
        at[draw(st.text(max_size=5))] = value
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


@pytest.mark.filterwarnings("ignore:Generating overly large repr")  # of the example, where one fails
@pytest.mark.parametrize("whole", [GOLDEN, FOUND], ids=["run", "finding"])
def test_every_command_reads_or_refuses_it(folder, capsys, monkeypatch, whole):
    monkeypatch.chdir(folder)
    (folder / "run.json").write_text(json.dumps(GOLDEN), encoding="utf-8")

    @settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
    @given(damaged(whole))
    def tried(data):
        Path("given.json").write_text(json.dumps(data), encoding="utf-8")
        for command, more in COMMANDS.items():
            status = main([command, "given.json", *more])
            told = capsys.readouterr()
            assert status in {0, 1, 2}
            assert status != 2 or len(told.err.splitlines()) == 1
            assert "\x1b" not in told.out + told.err

    tried()

    assert {path.name for path in folder.iterdir()} <= {"given.json", "run.json", "pages"}
    assert not list(folder.parent.glob("x*"))
