"""An archive holds each cell of each run file once, in columns that do not change, whatever is appended how often."""

import contextlib
import hashlib
import io
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from markdown_it import MarkdownIt

from clip_bench import places, witness
from clip_bench.__main__ import main
from clip_bench.errors import UsageError
from clip_bench.report import appending, archive, frame, rows
from clip_bench.report.archive_columns import COLUMNS, SCHEMA, WORD, table
from clip_bench.runfile import read

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).parent / "golden" / "run.json"
PAGE = ROOT / "docs" / "archive.md"


def made(folder, name, **changed):
    """The golden run as another file, sealed."""
    data = json.loads(GOLDEN.read_text(encoding="utf-8"))
    machine = data["machine_info"]["clip_bench"] | changed.pop("machine", {})
    data |= {"machine_info": data["machine_info"] | {"clip_bench": machine}} | changed
    witness.seal(data)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def appended(folder, *sources):
    tally = appending.Tally()
    parts = list(appending.append(folder, list(sources), tally))
    return tally, parts


@pytest.fixture
def runs(tmp_path):
    folder = tmp_path / "runs"
    for day in (3, 4, 5):
        made(folder, f"day{day}", datetime=f"2025-01-0{day}T03:04:05+00:00")
    return folder


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """The golden run in an archive, as pandas reads it; and the frame of the tables."""
    folder = tmp_path_factory.mktemp("archives") / "archive"
    appended(folder, GOLDEN)
    return pd.read_parquet(folder), frame([read(GOLDEN)])


def test_the_columns_are_those_of_the_frame_with_words_figures_and_counts_as_they_are_there():
    kinds = {"object": WORD, "Int64": "int64", "float64": "double"}
    apart = {"rounds_s", "conditions", "steps", "ratio", "ceilings", "record"}
    own = {name: kinds[kind] for name, kind in rows.COLUMNS.items() if name not in apart}

    assert apart == set(rows._PARTS)
    assert {name: COLUMNS[name][0] for name in own if name in COLUMNS} == own
    assert all(meaning for _, meaning in COLUMNS.values())


def test_a_schema_is_not_changed_without_another_number():
    told = hashlib.sha256(repr([(name, kind) for name, (kind, _) in COLUMNS.items()]).encode()).hexdigest()[:16]

    assert {SCHEMA: told} == {1: "7cfc93cdc352798a"}, (
        "columns changed: give SCHEMA the next number, and this test its digest"
    )


def test_a_row_says_what_the_tables_say(golden):
    archived, told = golden

    assert list(archived["case"]) == list(told["case"])
    for name, (kind, _) in COLUMNS.items():
        if name not in told:
            continue
        for ours, theirs in zip(archived[name], told[name], strict=True):
            if kind == WORD:
                assert ours == theirs, name
            else:
                assert (pd.isna(ours) and pd.isna(theirs)) or ours == theirs, name


def test_a_row_tells_its_file_and_its_machine(golden):
    (row,) = golden[0][golden[0]["case"] == "image-shapes_tiny-onnxruntime-cpu-fp32"].to_dict("records")

    assert row["sha256"] == hashlib.sha256(GOLDEN.read_bytes()).hexdigest()
    assert row["witness"] == witness.head(json.loads(GOLDEN.read_bytes()))
    assert (row["file"], row["run"]) == ("run.json", "run")
    assert row["measured"] == pd.Timestamp("2025-01-02T03:04:05Z")
    assert row["cpu"] == read(GOLDEN).machine["cpu"]
    assert "onnxruntime" in row["runtimes"]
    assert "/" not in row["file"]


def test_a_speed_up_of_blocks_has_its_interval(golden):
    (row,) = golden[0][golden[0]["paired_speedup"].notna()].to_dict("records")

    assert 1.3 < row["paired_speedup_low"] < row["paired_speedup"] < row["paired_speedup_high"] < 1.7


def test_what_was_not_measured_is_no_value_at_all(tmp_path):
    _, (part,) = appended(tmp_path / "archive", GOLDEN)
    stored = pq.read_table(part)

    assert stored["p99_proven_ms"].null_count == len(stored)
    assert not any(math.isnan(value) for value in stored["p50_ms"].drop_null().to_pylist())
    assert stored.schema.equals(archive.schema())


def test_a_file_is_taken_once_whatever_it_is_called(runs, tmp_path):
    folder = tmp_path / "archive"
    first, parts = appended(folder, runs)
    kept = {path: path.read_bytes() for path in parts}
    made(runs, "day6", datetime="2025-01-06T03:04:05+00:00")
    (runs / "copy.json").write_bytes((runs / "day3.json").read_bytes())

    again, new = appended(folder, runs)
    none, nothing = appended(folder, runs)

    assert (first.files, first.cells, again.files, again.before, none.files, nothing) == (3, 78, 1, 4, 0, [])
    assert {path: path.read_bytes() for path in kept} == kept
    assert len(new) == 1
    assert archive.count(folder) == 4
    assert len(pd.read_parquet(folder)) == 4 * 26


def test_files_are_appended_in_parts_and_a_kill_between_them_loses_none(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(appending, "FILES", 1)
    folder = tmp_path / "archive"
    going = appending.append(folder, [runs], appending.Tally())
    next(going)
    going.close()
    (folder / f".part-x.parquet{appending.PARTIAL}").write_bytes(b"PAR1 half a part")

    tally, parts = appended(folder, runs)

    assert (tally.before, tally.files, len(parts)) == (1, 2, 2)
    assert [path.name for path in folder.glob(".*")] == [appending.LOCK]
    assert len(pd.read_parquet(folder)) == 3 * 26


def test_two_appends_at_once_take_each_file_once(runs, tmp_path):
    folder = tmp_path / "archive"
    command = [sys.executable, "-m", "clip_bench", "archive", str(runs), "-o", str(folder)]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]  # noqa: S603  ourselves
    said = [process.communicate()[0].splitlines()[-1] for process in both]

    assert [process.returncode for process in both] == [0, 0]
    assert sorted(line.partition(" files")[0] for line in said) == ["0", "3"]
    assert len(pd.read_parquet(folder)) == 3 * 26


def test_what_cannot_be_used_is_named_and_left_out_and_the_rest_is_there(runs, tmp_path, capsys):
    (runs / "cut.json").write_bytes(GOLDEN.read_bytes()[:2000])
    (runs / "never.json").symlink_to("nowhere")
    (runs / "strange.json").write_text('{"a": 1}', encoding="utf-8")
    zero = json.loads(GOLDEN.read_text(encoding="utf-8"))
    next(each for each in zero["outcomes"] if each["record"]["timing"])["record"]["timing"]["rounds_s"] = [0.0]
    (runs / "zero.json").write_text(json.dumps(zero), encoding="utf-8")

    status = main(["archive", str(runs), "-o", str(tmp_path / "archive")])
    out, err = capsys.readouterr()

    assert status == 1
    assert "3 files with 78 cells appended in 1 parts; 0 were there before, 1 hold no run, 3 left out" in out
    assert [re.search(r"(\w+)\.json: ", line)[1] for line in err.splitlines()] == ["cut", "never", "zero"]
    assert len(pd.read_parquet(tmp_path / "archive")) == 78


def test_a_file_that_is_named_has_to_be_a_run(tmp_path, capsys):
    (tmp_path / "strange.json").write_text('{"a": 1}', encoding="utf-8")

    assert main(["archive", str(tmp_path / "strange.json"), "-o", str(tmp_path / "archive")]) == 1
    assert "no clip-bench run in it" in capsys.readouterr().err


def test_a_folder_without_a_file_is_an_error(tmp_path, capsys):
    (tmp_path / "runs").mkdir()

    assert main(["archive", str(tmp_path / "runs"), "-o", str(tmp_path / "archive")]) == 2
    assert "no JSON file in it" in capsys.readouterr().err


def test_runs_are_appended_from_a_uri(runs, tmp_path):
    system = MemoryFileSystem()
    for path in runs.glob("*.json"):
        system.pipe_file(f"/elsewhere/{path.name}", path.read_bytes())

    tally, _ = appended(tmp_path / "archive", places.of("memory://elsewhere"))
    again, _ = appended(tmp_path / "archive", runs)

    assert (tally.files, again.files, again.before) == (3, 0, 3)
    system.rm("/elsewhere", recursive=True)


def test_an_archive_may_be_read_by_a_uri(runs, tmp_path):
    appended(tmp_path / "archive", runs)
    system = MemoryFileSystem()
    for path in (tmp_path / "archive").glob("*.parquet"):
        system.pipe_file(f"/held/{path.name}", path.read_bytes())
    place = places.of("memory://held")

    assert archive.is_archive(place)
    assert archive.read(place, ["case"]).equals(archive.read(tmp_path / "archive", ["case"]))
    system.rm("/held", recursive=True)


@pytest.mark.parametrize("change", ["number", "columns", "foreign", "bytes"])
def test_a_part_of_another_schema_is_told_and_never_read(change, tmp_path, runs, capsys):
    folder = tmp_path / "archive"
    _, (part,) = appended(folder, GOLDEN)
    stored = pq.read_table(part)
    note = {archive.NOTE: json.dumps({"schema": 2, "files": []})}
    other = {
        "number": lambda: stored.replace_schema_metadata(note),
        "columns": lambda: stored.drop_columns(["p50_ms"]),
        "foreign": lambda: pa.table({"a": [1]}),
    }
    strange = folder / "part-strange.parquet"
    strange.write_bytes(b"nothing") if change == "bytes" else pq.write_table(other[change](), strange)
    before = strange.read_bytes()

    for command in (["archive", str(runs), "-o", str(folder)], ["report", str(folder), "-o", str(tmp_path / "out")]):
        assert main(command) == 2
        assert re.search(r"part-strange.parquet: (a part of schema|cannot be read)", capsys.readouterr().err)

    assert strange.read_bytes() == before
    assert not (tmp_path / "out").exists()


def test_a_part_whose_figures_were_damaged_is_told(tmp_path, capsys):
    _, (part,) = appended(tmp_path / "archive", GOLDEN)
    whole = part.read_bytes()
    stored = pq.read_metadata(part).row_group(0).column(list(COLUMNS).index("p50_ms"))
    place = (stored.dictionary_page_offset or stored.data_page_offset) + stored.total_compressed_size - 1
    part.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])

    assert main(["report", str(part.parent), "-o", str(tmp_path / "out")]) == 2
    assert re.fullmatch(r"clip-bench: .*part-\w+.parquet: cannot be read \(.*\n", capsys.readouterr().err)


def test_a_file_in_two_parts_counts_once(runs, tmp_path):
    one, other, both = (tmp_path / name for name in ("one", "other", "both"))
    appended(one, runs / "day3.json", runs / "day4.json")
    appended(other, runs / "day4.json", runs / "day5.json")
    both.mkdir()
    for part in (*one.glob("*.parquet"), *other.glob("*.parquet")):
        (both / part.name).write_bytes(part.read_bytes())

    found = archive.read(both, ["run", "case"])

    assert archive.count(both) == 3
    assert found.column_names == ["run", "case"]
    assert len(found) == 3 * 26


def test_an_archive_without_parts_says_how_to_make_one(tmp_path):
    with pytest.raises(UsageError, match="clip-bench archive RUNS"):
        archive.read(tmp_path, ["case"])


def test_the_page_has_every_column():
    assert table() in PAGE.read_text(encoding="utf-8")


def test_the_examples_of_the_page_work(runs, tmp_path, monkeypatch):
    found = [each.content for each in MarkdownIt().parse(PAGE.read_text(encoding="utf-8")) if each.info == "python"]
    appended(tmp_path / "archive", runs)
    monkeypatch.chdir(tmp_path)

    shown = []
    for example in found:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(example, {})  # noqa: S102  our own page
        shown.append(out.getvalue())

    assert len(shown) == 2
    assert re.search(r"cpu +openvino-cpu +int8_nncf +1\.4\d* +1", shown[0])
    assert re.search(r"shapes_tiny +image +onnxruntime +2025-01-03 +", shown[1])
