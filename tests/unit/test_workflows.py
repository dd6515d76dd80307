"""The workflows type what tox has, and what they do beside it (which runners, which files) is right."""

import importlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github" / "workflows"
LABELS = {"snapdragon-x", "ryzen-ai", "core-ultra", "rtx", "cuda", "bm1684x", "vacc", "rk3588", "cpu"}
FORKS = {"pull_request", "pull_request_target", "workflow_run", "issue_comment"}
TRIGGERS = True  # what YAML 1.1 makes of the key "on"


@pytest.fixture(scope="module")
def workflows():
    return {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.iterdir())}


@pytest.fixture(scope="module")
def groups(tox):
    """By label, the environments that ``tox run -m`` runs."""
    lines = [line.split("=") for line in tox["tox"]["labels"].splitlines() if line]
    return {label.strip(): [name.strip() for name in names.split(",")] for label, names in lines}


@pytest.fixture
def script(monkeypatch):
    """A module of .ci/, as Python finds it where it lies."""

    def found(name):
        monkeypatch.syspath_prepend(str(ROOT / ".ci"))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return found


def jobs(workflows):
    for name, workflow in workflows.items():
        for job, told in workflow["jobs"].items():
            yield f"{name} {job}", told


def environments(job):
    """What the commands of *job* ask tox for."""
    matrix = job.get("strategy", {}).get("matrix", {})
    for step in job["steps"]:
        for line in step.get("run", "").splitlines():
            command = shlex.split(line)
            if command[:3] == ["tox", "run", "-e"]:
                yield from matrix["environment"] if command[3] == "$ENVIRONMENT" else command[3].split(",")


def test_every_environment_that_a_workflow_runs_is_in_tox(workflows, tox):
    named = {name for _, job in jobs(workflows) for name in environments(job)}

    assert named >= {"lint", "types", "docs", "tests", "verify", "linkcheck"}
    assert not {name for name in named if f"testenv:{name}" not in tox}


def test_every_label_runs_environments_that_fail_without_its_device(groups, tox):
    assert set(groups) == LABELS
    assert all("--require" in tox[f"testenv:{name}"]["commands"] for names in groups.values() for name in names)


def test_a_job_on_a_device_is_the_command_that_its_page_tells(workflows, groups):
    job = workflows["hardware.yml"]["jobs"]["measure"]
    (step,) = [step for step in job["steps"] if "run" in step]
    pages = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "runners").glob("*.md")}

    assert (step["run"], step["env"]["TOX_LABELS"]) == ("tox run", "${{ matrix.label }}")
    assert job["name"] == "tox run -m ${{ matrix.label }}"
    assert set(pages) == set(groups)
    assert not {label for label, page in pages.items() if f"tox run -m {label}" not in page}
    assert not {
        label for label, page in pages.items() for name in groups[label] if f"tox exec -e {name} --" not in page
    }


def test_the_page_of_all_runners_has_each_label_with_its_environments(groups):
    text = (ROOT / "docs" / "runners.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| \[([\w-]+)\]\(runners/\1\.md\) \|.*\| ([^|]+) \|$", text, re.MULTILINE))

    assert {label: re.findall("`([^`]+)`", named) for label, named in rows.items()} == groups


def test_nothing_that_a_fork_can_start_runs_on_a_device(workflows):
    hosted = {name for name, workflow in workflows.items() if "self-hosted" not in json.dumps(workflow["jobs"])}

    assert {name for name in workflows if FORKS & set(workflows[name][TRIGGERS])} <= hosted
    assert set(workflows) - hosted == {"hardware.yml"}


def test_one_job_may_write_and_it_runs_nothing_of_the_checkout(workflows):
    writers = {name: job for name, job in jobs(workflows) if "write" in job["permissions"].values()}
    (job,) = writers.values()
    lines = [line.split() for step in job["steps"] for line in step.get("run", "").splitlines()]

    assert set(writers) == {"hardware.yml propose"}
    assert {words[0] for words in lines} == {"rm", "git", "if", "echo", "exit", "fi", "gh"}
    assert all(workflow["permissions"] == {} for workflow in workflows.values())


def test_lint_holds_every_workflow_to_its_schema(workflows, tox):
    (line,) = [line for line in tox["testenv:lint"]["commands"].splitlines() if "vendor.github-workflows" in line]

    assert set(line.split()[3:]) == {f".github/workflows/{name}" for name in workflows}


def test_a_run_is_for_all_runners_or_for_those_that_are_wanted(script):
    rows, known = script("runners").rows, ("a", "b", "c")
    own = json.dumps({"c": "--option c.d=/e", "a": ""})

    assert rows(own, [], "", known) == [{"label": "a", "options": ""}, {"label": "c", "options": "--option c.d=/e"}]
    assert rows(own, ["c"], '-k "x and y"', known) == [{"label": "c", "options": '--option c.d=/e -k "x and y"'}]
    assert rows(own, ["b"], "--full", known) == [{"label": "b", "options": "--full"}]
    assert rows("", [], "", known) == []


@pytest.mark.parametrize(
    ("runners", "wanted", "told"),
    [
        ('{"d": ""}', [], "d: no such label; those of tox.ini are a, b"),
        ("", ["a", "e", "d"], "d, e: no such label"),
        ("a b", [], "RUNNERS has to be a JSON object"),
        ('["a"]', [], "RUNNERS has to be a JSON object"),
        ('{"a": 1}', [], "RUNNERS has to be a JSON object"),
    ],
    ids=["own", "wanted", "words", "list", "number"],
)
def test_a_label_or_a_variable_that_is_wrong_is_named(script, runners, wanted, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        script("runners").rows(runners, wanted, "", ("a", "b"))


def test_the_plan_is_one_line_that_a_job_reads(monkeypatch, groups):
    for name, value in {"RUNNERS": "", "LABELS": ",".join(groups), "OPTIONS": "--full\n--rounds p99"}.items():
        monkeypatch.setenv(name, value)

    ended = subprocess.run([sys.executable, ".ci/runners.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    (line,) = ended.stdout.splitlines()

    assert [row["label"] for row in json.loads(line.removeprefix("rows="))] == list(groups)


def written(folder, **files):
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_what_runners_measured_is_put_beside_what_is_committed(script, tmp_path):
    written(tmp_path / "kept", box__one="1", box__two="2")
    written(tmp_path / "runs", a__box__one="1", a__box__three="3", b__other__one="4", b__box__three="3", stray="5")
    written(tmp_path / "single", other__five="5")

    added = script("merge").merge(tmp_path / "runs", tmp_path / "kept")

    assert [path.relative_to(tmp_path).as_posix() for path in added] == ["kept/box/three.json", "kept/other/one.json"]
    assert [path.read_text(encoding="utf-8") for path in added] == ["3", "4"]
    assert script("merge").merge(tmp_path / "runs", tmp_path / "kept") == []
    assert script("merge").merge(tmp_path / "single", tmp_path / "kept") == [tmp_path / "kept" / "other" / "five.json"]


def test_a_merge_of_nothing_says_so(script, tmp_path):
    written(tmp_path, stray="5")

    with pytest.raises(ValueError, match="no runner has left"):
        script("merge").merge(tmp_path, tmp_path / "kept")


@pytest.mark.parametrize("files", [{"b__box__one": "2"}, {"a__box__new": "1", "b__box__new": "2"}], ids=["old", "new"])
def test_a_run_of_which_there_are_two_stops_the_merge_and_nothing_is_copied(script, tmp_path, files):
    written(tmp_path / "kept", box__one="1")
    written(tmp_path / "runs", a__able__one="0", **files)

    with pytest.raises(ValueError, match="a run has one file"):
        script("merge").merge(tmp_path / "runs", tmp_path / "kept")

    assert [path.name for path in (tmp_path / "kept").rglob("*.json")] == ["one.json"]
