"""Reports that were edited, at whatever layer, are found; those that were not, verify."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clip_bench import __main__, finding, witness
from clip_bench.errors import UsageError
from clip_bench.report import write
from clip_bench.report.verify import verify

GOLDEN = Path(__file__).parent / "golden" / "run.json"
TIMED = "image-shapes_tiny-onnxruntime-cpu-fp32"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Reports on the golden run and a finding, as they are committed."""
    made = tmp_path_factory.mktemp("made")
    (made / "example").mkdir()
    shutil.copy(GOLDEN, made / "example" / "run.json")
    exact = {"processed_diff": 0.0, "encode_diff": 0.0, "cosine": 1.0, "same": 1.0, "recall": 0.5}
    values = dict.fromkeys(("processed_diff", "encode_diff", "drift"), "0 0") | {"identified": "1 1", "places": "0 3"}
    rows = [
        finding.Transformed(name=name, differs="", rounds_s=rounds, ratio=ratio, **exact, told=values)
        for name, rounds, ratio in (("one", (2.0, 2.0, 4.0), 1.0), ("other", (1.0, 1.5, 4.0), 0.75))
    ]
    told = finding.Preprocessing(
        model="a_model",
        random_weights=False,
        rounds=3,
        versions={},
        sets=(finding.Transforms(name="some", pictures=("a.png",), rows=tuple(rows)),),
    )
    machine = json.loads(GOLDEN.read_text(encoding="utf-8"))["machine_info"]["clip_bench"]
    (made / "example" / "beside.json").write_text(finding.to_json(told, machine), encoding="utf-8")
    write([made], made)
    return made


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "reports")


@pytest.fixture
def run(tmp_path):
    """The golden run alone."""
    return shutil.copy(GOLDEN, tmp_path / "run.json")


def faults(folder):
    return [f"{each.path.relative_to(folder)}: {fault}" for each in verify(folder) for fault in each.faults]


def edited(path, change, *, sealed=False):
    """The file at *path* with a change by hand and, by somebody who knows how, a new witness."""
    data = json.loads(path.read_text(encoding="utf-8"))
    change(data)
    if sealed:
        witness.seal(data)
    path.write_text(json.dumps(data, indent=1), encoding="utf-8")


def entry(data, case=TIMED):
    return next(each for each in data["outcomes"] if each["case"] == case)


def row(data, case=TIMED):
    return next(each for each in data["benchmarks"] if each["param"] == case)


def quality(data):
    return entry(data)["record"]["quality"]


def swap(text, place, value):
    numbers = text.split()
    numbers[place] = value
    return " ".join(numbers)


EDITS = {
    "a raw time": lambda data: entry(data)["record"]["timing"]["rounds_s"].__setitem__(3, 1e-3),
    "a raw time of the row": lambda data: row(data)["stats"]["data"].__setitem__(3, 1e-3),
    "a statistic": lambda data: row(data)["stats"].update(median=1e-3),
    "a value per sample": lambda data: quality(data)["compared"][0].update(
        drift=swap(quality(data)["compared"][0]["drift"], 5, "1e-9")
    ),
    "an answer": lambda data: quality(data)["answered"][0].update(
        own=swap(quality(data)["answered"][0]["own"], -1, "0")
    ),
    "a similarity": lambda data: quality(data)["similarity"][0].update(mean=1.0),
    "a score": lambda data: quality(data)["scores"][0].update(value=1.0),
    "a field of the call": lambda data: entry(data)["record"]["boundary"].update(threads=2),
    "a hash": lambda data: entry(data)["record"]["artifact"].update(key="0" * 16),
    "an ending": lambda data: entry(data, "image-shapes_tiny-onnxruntime-cpu-int8_qdq").update(outcome="ok"),
    "no figures at all": lambda data: entry(data)["record"].update(quality=None),
    "a row of no cell": lambda data: data["benchmarks"].append(row(data) | {"param": "another"}),
    "a row twice": lambda data: data["benchmarks"].append(row(data)),
    "no row": lambda data: data["benchmarks"].remove(row(data)),
    "a figure of the reference": lambda data: quality(data)["similarity"][0].update(between=0.1),
    "fewer values of one kind": lambda data: quality(data)["compared"][0].update(identified="1 1"),
    "no values per sample": lambda data: quality(data).update(compared=[], answered=[]),
}
UNSEEN = {
    "the machine": lambda data: data["machine_info"]["clip_bench"].update(cpu="A faster one"),
    "the day": lambda data: data.update(datetime="2025-01-03T00:00:00+00:00"),
    "what was loaded": lambda data: entry(data)["record"]["cold"].update(load_s=0.1),
    "a node": lambda data: entry(data)["record"]["executed"].update(nodes={"CPU": 1}),
}


def test_what_is_as_it_was_made_verifies(folder):
    found = list(verify(folder))

    assert not any(each.faults for each in found)
    assert [each.path.name for each in found[:2]] == ["beside.json", "run.json"]
    head = json.loads(GOLDEN.read_text(encoding="utf-8"))["witness"]["head"]
    assert found[1].told == f"26 cells, witness {head[:16]}"
    assert "pages and pictures compared" in found[-1].told


@pytest.mark.parametrize("change", [*EDITS.values(), *UNSEEN.values()], ids=[*EDITS, *UNSEEN])
def test_an_edit_of_a_run_breaks_its_witness(run, change):
    edited(run, change)

    (checked,) = verify(run)
    assert checked.faults


@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS)
def test_an_edit_that_is_sealed_anew_does_not_follow_from_raw_values(run, change):
    edited(run, change, sealed=True)

    (checked,) = verify(run)
    assert checked.faults
    assert not any("witness" in fault for fault in checked.faults)


@pytest.mark.parametrize("change", UNSEEN.values(), ids=UNSEEN)
def test_an_edit_of_a_raw_value_that_is_sealed_anew_is_not_what_the_tables_say(folder, change):
    edited(folder / "example" / "run.json", change, sealed=True)

    assert any("example/README.md: line " in each for each in faults(folder))


def test_an_edit_names_its_cell_alone(run):
    edited(run, UNSEEN["a node"])

    (checked,) = verify(run)
    assert checked.faults == (f"{TIMED}: it, or its link in the witness, was edited after it was measured",)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["outcomes"].pop(),
        lambda data: data["outcomes"].append(data["outcomes"][0]),
        lambda data: data["outcomes"].reverse(),
        lambda data: data.pop("witness"),
        lambda data: data.update(witness=[]),
        lambda data: data["witness"].update(links=None),
        lambda data: data["witness"].update(links=[1, [], ["a"], {}]),
        lambda data: data["witness"].update(head="0" * 64),
        lambda data: data["witness"].update(schema=2),
        lambda data: data["witness"]["links"][3].append("more"),
        lambda data: data.update(more=1),
    ],
    ids=list("abcdefghijk"),
)
def test_a_witness_that_is_not_the_files_own_is_a_fault(run, change):
    edited(run, change)

    (checked,) = verify(run)
    assert checked.faults


@pytest.mark.parametrize("name", ["README.md", "index.html", "example/README.md", "example/cold-shapes_tiny.svg"])
def test_an_edit_of_a_page_or_a_picture_names_its_line(folder, name):
    path = folder / name
    if not path.exists():  # any picture will do
        path = next((folder / "example").glob("*.svg"))
    lines = path.read_bytes().split(b"\n")
    place = len(lines) // 2
    lines[place] = lines[place] + b"0"
    path.write_bytes(b"\n".join(lines))

    (fault,) = faults(folder)
    assert fault.startswith(f"{path.relative_to(folder)}: line {place + 1} is ")


def test_a_page_that_is_gone_or_that_no_run_makes_is_a_fault(folder):
    picture = next((folder / "example").glob("*.svg"))
    picture.rename(picture.with_name("latency-another.svg"))
    shutil.copytree(folder / "example", folder / "another", ignore=shutil.ignore_patterns("*.json", "*.svg"))

    found = faults(folder)

    assert len(found) == 3
    assert any(f"{picture.name}: its runs make it, and it cannot be read" in each for each in found)
    assert "another/README.md: these runs do not make it: remove it" in found
    assert "example/latency-another.svg: these runs do not make it: remove it" in found


def test_pages_of_other_packages_say_so(folder):
    path = folder / "README.md"
    path.write_text(
        path.read_text(encoding="utf-8").replace("with matplotlib ", "with matplotlib 1."), encoding="utf-8"
    )

    (fault,) = faults(folder)
    assert "README.md: it was made otherwise: " in fault
    assert "with matplotlib 1." in fault


def test_a_finding_is_verified_too(folder):
    beside = folder / "example" / "beside.json"

    def faster(data):
        data["finding"]["sets"][0]["rows"][1]["ratio"] = 0.5

    edited(beside, faster)
    assert any("was edited after it was measured" in each for each in faults(folder))
    edited(beside, faster, sealed=True)
    assert any("some, other: ratio 0.5, and the rounds make it 0.75" in each for each in faults(folder))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cosine": 0.9}, "some, one: cosine 0.9, and its pictures make it 1"),
        ({"recall": 1.0}, "some, one: recall 1, and its pictures make it 0.5"),
        ({"told": {}}, "1 figures keep no values per sample"),
        ({"told": {"drift": "0 0"}}, "its figures cannot be made again: "),
    ],
    ids=list("abcd"),
)
def test_figures_that_their_pictures_do_not_make_are_found(folder, change, said):
    beside = folder / "example" / "beside.json"
    edited(beside, lambda data: data["finding"]["sets"][0]["rows"][0].update(change), sealed=True)

    (checked,) = verify(beside)
    assert any(said in fault for fault in checked.faults), checked.faults


def leaves(value, place=()):
    """The place of every value in JSON that holds no others."""
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [found for name, item in items for found in leaves(item, (*place, name))]
    return [place]


LEAVES = leaves(json.loads(GOLDEN.read_text(encoding="utf-8")))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(LEAVES), st.data())
def test_a_change_of_any_one_value_is_found(run, place, data):
    whole = json.loads(GOLDEN.read_text(encoding="utf-8"))
    *way, last = place
    part = whole
    for name in way:
        part = part[name]
    old = part[last]
    numbers = st.floats(allow_nan=False, allow_infinity=False) if isinstance(old, float) else st.integers()
    others = numbers if isinstance(old, int | float) and not isinstance(old, bool) else st.text(max_size=5)
    part[last] = data.draw(others.filter(lambda new: new != old))
    run.write_text(json.dumps(whole), encoding="utf-8")

    (checked,) = verify(run)
    assert checked.faults


@pytest.mark.parametrize(
    "change",
    [
        lambda data: entry(data)["record"]["timing"].update(rounds_s=[]),
        lambda data: entry(data)["record"].update(precision="fp99"),
        lambda data: quality(data)["compared"][0].update(drift="a b"),
        lambda data: quality(data)["compared"][0].update(drift=""),
        lambda data: quality(data)["compared"][0].update(floor={"again": "1e400 nan"}),
        lambda data: quality(data)["answered"][0].update(reference="one"),
        lambda data: data.update(benchmarks=[3, "a", None, {"param": 5}]),
        lambda data: data.update(benchmarks={"a": 1}),
        lambda data: data.update(benchmarks=5),
        lambda data: (entry(data).update(case=""), data.update(benchmarks=[3])),
        lambda data: row(data).update(stats=None),
        lambda data: row(data)["stats"].update(more=1),
    ],
    ids=list("abcdefghijkl"),
)
def test_values_that_make_no_figure_are_lines_and_no_crash(run, change):
    edited(run, change, sealed=True)

    (checked,) = verify(run)
    assert checked.faults
    assert all(fault.isprintable() for fault in checked.faults)


def test_what_cannot_be_read_is_one_line_and_pages_wait(folder):
    (folder / "example" / "cut.json").write_text('{"outcomes": [', encoding="utf-8")

    found = faults(folder)

    assert len(found) == 2
    assert found[0].startswith("example/cut.json: not JSON")
    assert "its pages were not compared" in found[1]


def test_a_run_alone_verifies_without_pages(run):
    (alone,) = verify(run)

    assert not alone.faults


def test_runs_without_pages_say_that_none_were_compared(tmp_path):
    shutil.copy(GOLDEN, tmp_path)

    *_, last = verify(tmp_path)

    assert "no pages in it" in last.told
    assert not last.faults


def test_a_folder_without_runs_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="no JSON file in it"):
        list(verify(tmp_path))


def test_the_command_tells_each_file_and_fails_on_a_fault(folder, capsys):
    assert __main__.main(["verify", str(folder)]) == 0
    assert capsys.readouterr().out.endswith("every figure follows from raw values\n")

    edited(folder / "example" / "run.json", EDITS["a score"])

    assert __main__.main(["verify", str(folder)]) == 1
    assert capsys.readouterr().out.endswith(" checks failed: these files are not as they were measured and made\n")


def test_a_hostile_name_stays_on_its_line(run, capsys):
    edited(run, lambda data: entry(data).update(case="a\x1b[31m\nb"))

    __main__.main(["verify", str(run)])

    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "a [31m b" in out
