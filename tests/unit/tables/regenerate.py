"""Write the golden run, the golden tables, README's tables and docs/columns.md again; then read the diff.

``python tests/unit/tables/regenerate.py [RUN.json]``: RUN.json is the run that README shows from now on. Every figure
in the golden run is made up, and its machine is called 'example'; README's figures are measured.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
from pytest_benchmark.stats import Stats

from clip_bench import witness
from clip_bench.quality import metrics, scores, values
from clip_bench.record import (
    Answered,
    ArtifactFacts,
    Boundary,
    Cold,
    Compared,
    Conditions,
    Energy,
    Entry,
    Executed,
    Outcome,
    Paired,
    Quality,
    Record,
    Step,
    Timing,
    Work,
    to_json,
)
from clip_bench.report import frame, full, hardware, holes, meanings, terminal, write
from clip_bench.runfile import read
from clip_bench.specs import Precision

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).parents[3]
SHOWN = re.compile(r"(?<=<!-- begin: what tox run -e cpu printed, from )(\S+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)
WEIGHTS = {"shapes_tiny": "embedded", "vit_b_32_random": "random"}
SIZES = {"shapes_tiny": (64, 32), "vit_b_32_random": (224, 77)}
RUNTIMES = {"numpy": "2.0.0", "onnxruntime": "1.23.0", "openvino": "2025.4.0", "torch": "2.9.0"}
MACHINE = {
    "name": "example",
    "note": "made up: no machine measured this file",
    "cpu": "Example Processor 4-core",
    "isa": ["sse4_2", "avx2", "fma", "avx512f", "avx512_vnni"],
    "cores_physical": 4,
    "cores_logical": 8,
    "ram_bytes": 16 * 2**30,
    "os": "Example OS 1.0",
    "python": "3.11.0",
    "runtimes": RUNTIMES,
    "threads": 4,
    "accelerators": [],
    "ceilings": {
        "arithmetic": [
            {
                "device": "cpu",
                "precision": "fp32",
                "flops_s": 250e9,
                "by": "openvino-cpu",
                "shape": "50x768x3072, 2 times",
            },
            {
                "device": "cpu",
                "precision": "int8_dynamic",
                "flops_s": 7e11,
                "by": "onnxruntime-cpu",
                "shape": "1728 cubed",
            },
        ],
        "absent": [{"device": "cpu", "precision": "bf16", "reason": "no runtime has it"}],
        "memory": {"read_bytes_s": 20e9, "buffer_bytes": 2**28, "cache_bytes": 2**26, "threads": 4, "note": ""},
        "conditions": {"window_s": 9.5, "others": 0.4},
    },
}
PRECISIONS = {str(precision) for precision in Precision}
NOISY = "image-vit_b_32_random-onnxruntime-cpu-fp32"
PAIRED = "image-shapes_tiny-onnxruntime-cpu-fp32"
REFERENCE = "image-shapes_tiny-torch-cpu-fp32"
LOAD = {"load": "throughput", "instances": 2, "queue": 1}
GROUPS = 6
ROWS = 40
FLOOR = {"again": 0.0, "batch": 2e-7, "threads": 1e-7}
ACCURACIES = {"top": 0.955, "t2i_r": 0.8975, "i2t_r": 0.91}
NO_QNN = "this onnxruntime has no QNNExecutionProvider: pip install onnxruntime-qnn (Windows on Snapdragon)"
NO_CUDA = "torch sees no CUDA device: install a CUDA build of torch on a machine with an NVIDIA GPU"
NO_NPU = "OpenVINO sees no NPU here: it needs a Core Ultra processor and its NPU driver"
WORSE = "image_embeds: mean cosine 0.8123 is below its floor of 0.9900"


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def words_of(case: str) -> dict[str, str]:
    """The parts of an id, by the names that a record gives to them."""
    tower, model, *rest = case.split("-")
    place = next(index for index, word in enumerate(rest) if word in PRECISIONS)
    target, variant = "-".join(rest[:place]), "-".join(rest[place + 1 :])
    return {"tower": tower, "model": model, "target": target, "precision": rest[place], "variant": variant}


def size_of(variant: str) -> int:
    """Samples per call."""
    return int(variant.removeprefix("batch")) if variant.startswith("batch") else 1


def boundary(case: str) -> Boundary:
    told = words_of(case)
    tower, model = told["tower"], told["model"]
    pixels, tokens = SIZES[model]
    return Boundary(
        tower=tower,
        batch=size_of(told["variant"]),
        texts=10 if tower == "pair" else 0,
        sequence=0 if tower == "image" else tokens,
        image_size=0 if tower == "text" else pixels,
        inside_clock=("inference", "copies to and from the device"),
        threads=4,
        weights_sha256=sha(model),
        recipe=sha(told["precision"])[:16],
        data_sha256=sha("data"),
        reference_sha256=sha(f"{model} {tower}"),
        runtimes=RUNTIMES,
        **(LOAD if told["variant"].startswith("throughput") else {}),
    )


def quality(model: str, mean: float, failures: tuple[str, ...]) -> Quality:
    """What values per sample around *mean* sum up to; of 400 queries each accuracy loses as much as the mean cosine."""
    drifts = (1 - mean) * np.linspace(0.5, 1.5, ROWS)
    compared = Compared(
        output="embeds",
        drift=values.told(drifts),
        identified=values.told(np.arange(ROWS) < ROWS * (1.0 if mean > 0.9 else 0.6)),
        difference=values.told(2 * drifts),
        floor={way: values.told(np.full(4, size)) for way, size in FLOOR.items()},
    )
    answered = [
        Answered(name=name, ks=(1,), own=ranks(share - round(1 - mean, 2)), reference=ranks(share))
        for name, share in ACCURACIES.items()
        if WEIGHTS[model] != "random"
    ]
    return Quality(
        similarity=(metrics.similarity(compared, 0.31),),
        scores=tuple(score for each in answered for score in scores.summed(each)),
        failures=failures,
        compared=(compared,),
        answered=tuple(answered),
    )


def ranks(share: float) -> str:
    """Of 400 queries, the first *share* answered right."""
    return values.told((np.arange(400) >= round(400 * share)).astype(int))


def timing(case: str, base_s: float) -> Timing:
    """Rounds around *base_s*; those of one cell are too few and too far apart, and others were at work meanwhile."""
    loaded, noisy = "throughput" in case, case == NOISY
    count, step = (20, 0.05) if noisy else (64, 0.01)
    rounds = tuple(round(base_s * (1 + step * (7 * k % 20)), 9) for k in range(count))
    return Timing(
        rounds_s=rounds,
        warmups=10,
        batch=size_of(words_of(case)["variant"]),
        window_s=round(sum(rounds) / 4, 9) if loaded else None,
        conditions=Conditions(window_s=1.5, load_1m=0.8, steal=0.0, others=1.6 if noisy else 0.0, mhz=(2400.0, 3100.0)),
        energy=Energy(joules=12.5, source="RAPL: package-0"),
    )


def paired() -> Paired:
    """Blocks in which the cell is about 1.5 times as fast, with a null arm that strays by a percent or so."""
    blocks = range(2 * GROUPS)
    return Paired(
        reference=REFERENCE,
        reference_s=tuple(round(4.2e-3 * (1 + 0.004 * (5 * k % 7)), 9) for k in blocks),
        own_s=tuple(round(2.8e-3 * (1 + 0.004 * (3 * k % 5)), 9) for k in blocks),
        again_s=tuple(round(4.2e-3 * (1 + 0.004 * (4 * k % 7)), 9) for k in blocks),
        repeated_s=tuple(round(2.7e-3 * (1 + 0.004 * (2 * k % 5)), 9) for k in blocks),
        counted=10,
        uncounted=2,
    )


def cold(case: str, precision: str, base_s: float | None) -> Cold:
    first_s = 3 * (base_s or 0.02)
    names = ["import", "program", "onnx", *([precision] if "8" in precision else []), "load"]
    seconds = {"import": 0.2, "program": 1.1, "onnx": 1.4, "load": 0.21}
    peaks = {"import": 34_000_000, "load": 18_000_000}
    steps = [Step(name=name, seconds=seconds.get(name, 1.0), peak_bytes=peaks.get(name, 52_000_000)) for name in names]
    first = Step(name="first", seconds=first_s, peak_bytes=None)
    return Cold(
        build_s=3.5,
        load_s=0.21,
        first_s=first_s,
        peak_bytes=250_000_000,
        steps=(*steps, first),
        calls_s=(first_s, *(base_s or 0.02 for _ in range(11))),
        steady=None if case == NOISY else 1,
    )


def measured(case: str, mean: float, base_s: float | None, dtypes: dict[str, int], failures=()) -> dict:
    told = words_of(case)
    model, precision = told["model"], told["precision"]
    size = int((0.5 if "8" in precision else 2) * (1e6 if model == "shapes_tiny" else 176e6))
    flops = (114e6 if model == "shapes_tiny" else 8.8e9) * size_of(told["variant"])
    return {
        "boundary": boundary(case),
        "artifact": ArtifactFacts(size_bytes=size, sha256=sha(case), key=sha(precision)[:16]),
        "executed": Executed(
            nodes={"CPU": sum(dtypes.values())},
            dtypes=dtypes,
            note="the projection stays float" if "i8" in dtypes else "",
        ),
        "cold": cold(case, precision, base_s),
        "quality": quality(model, mean, failures),
        "timing": None if base_s is None else timing(case, base_s),
        "paired": paired() if case == PAIRED else None,
        "work": Work(flops=flops, bytes=float(size)),
    }


def entry(case: str, outcome: str = "ok", reason: str = "", *figures: object) -> Entry:
    words = words_of(case)
    told = measured(case, *figures) if figures else {}
    record = Record(case=case, weights=WEIGHTS[words["model"]], **words, **told)
    digest = boundary(case).digest if figures else ""
    return Entry(case=case, boundary=digest, outcome=Outcome(outcome), reason=reason, record=record)


def entries() -> list[Entry]:
    f32, exact = {"f32": 412}, 0.9999999
    tiny, vit = "image-shapes_tiny", "image-vit_b_32_random"
    return [
        entry(f"{tiny}-null-cpu-fp32", "ok", "", 1.0, 6.3e-6, {}),
        entry(f"{tiny}-torch-cpu-fp32", "ok", "", 1.0, 4.12e-3, f32),
        entry(f"{tiny}-torch-cpu-fp32-compiled", "ok", "", exact, 3.02e-3, f32),
        entry(f"{tiny}-torch-cuda-gpu-fp16", "skipped", NO_CUDA),
        entry(f"{tiny}-onnxruntime-cpu-fp32", "ok", "", exact, 2.71e-3, f32),
        entry(f"{tiny}-onnxruntime-cpu-int8_dynamic", "ok", "", 0.9981, 1.66e-3, {"u8": 49, "f32": 220}),
        entry(f"{tiny}-onnxruntime-cpu-int8_qdq", "gate_failed", WORSE, 0.8123, None, {"u8": 98, "f32": 171}, (WORSE,)),
        entry(f"{tiny}-onnxruntime-qnn-emulated-a16w8", "ok", "", 0.9993, None, {"u16": 260, "u8": 49}),
        entry(f"{tiny}-onnxruntime-qnn-npu-a16w8", "skipped", NO_QNN),
        entry(f"{tiny}-openvino-cpu-int8_nncf", "ok", "", 0.9967, 1.31e-3, {"i8": 61, "f32": 140}),
        entry(f"{tiny}-openvino-npu-int8_nncf", "skipped", NO_NPU),
        entry(f"{vit}-torch-cpu-fp32", "ok", "", 1.0, 38.4e-3, f32),
        entry(f"{vit}-torch-cuda-gpu-fp16", "skipped", NO_CUDA),
        entry(f"{vit}-onnxruntime-cpu-fp32", "ok", "", exact, 29.9e-3, f32),
        entry(f"{vit}-onnxruntime-cpu-int8_dynamic", "crashed", "the process ended by signal 4 (illegal instruction)"),
        entry(f"{vit}-openvino-cpu-bf16", "unsupported", "this processor has no bf16 | amx_bf16 instructions"),
        entry(f"{vit}-openvino-npu-int8_nncf", "skipped", NO_NPU),
        entry("text-shapes_tiny-torch-cpu-fp32", "ok", "", 1.0, 2.5e-3, f32),
        entry("text-shapes_tiny-torch-cuda-gpu-fp16", "skipped", NO_CUDA),
        entry("text-shapes_tiny-onnxruntime-cpu-int8_dynamic", "ok", "", 0.9992, 0.83e-3, {"u8": 33, "f32": 150}),
        entry("pair-shapes_tiny-torch-cpu-fp32", "ok", "", 1.0, 21.4e-3, f32),
        entry("pair-shapes_tiny-openvino-cpu-fp32", "lost", ""),
        entry(f"{tiny}-torch-cpu-fp32-batch8", "ok", "", 1.0, 20.1e-3, f32),
        entry(f"{tiny}-onnxruntime-cpu-fp32-batch8", "ok", "", exact, 12.4e-3, f32),
        entry(f"{tiny}-torch-cpu-fp32-throughput-instances2-queue1", "ok", "", 1.0, 9.8e-3, f32),
        entry(f"{tiny}-onnxruntime-cpu-fp32-throughput-instances2-queue1", "ok", "", exact, 6.2e-3, f32),
    ]


def run_file() -> dict:
    """A run file as pytest-benchmark writes it, as far as its own readers look."""
    cases = entries()
    data = {
        "machine_info": {"node": "example", "system": "Example OS", "python_version": "3.11.0", "clip_bench": MACHINE},
        "commit_info": {"id": "0" * 40, "time": "2025-01-02T03:00:00+00:00", "dirty": False, "branch": "example"},
        "benchmarks": [benchmark(case) for case in cases if case.record.timing],
        "datetime": "2025-01-02T03:04:05.000000+00:00",
        "version": "5.1.0",
        "outcomes": to_json(cases),
    }
    witness.seal(data)
    return data


def benchmark(case: Entry) -> dict:
    window = case.record.timing.window_s
    rounds = case.record.timing.rounds_s if window is None else (1.001 * window,)  # what starts and ends it, too
    stats = Stats()
    stats.data = list(rounds)
    name = f"test_latency[{case.case}]"
    fullname = f"tests/bench/test_latency.py::{name}"
    return {"group": None, "name": name, "fullname": fullname, "param": case.case, "params": None, "extra_info": {}} | {
        "options": {"disable_gc": False, "timer": "perf_counter", "min_rounds": 5, "warmup": False},
        "stats": stats.as_dict() | {"data": list(rounds), "iterations": 1},
    }


def tables(path: Path) -> dict[str, str]:
    """The golden file names, and what they must hold for the run at *path*."""
    table = frame([read(path)])
    with tempfile.TemporaryDirectory() as folder:
        pages = {page: page.read_text(encoding="utf-8") for page in write([path], Path(folder))}
        named = {page.relative_to(folder).as_posix(): text for page, text in pages.items()}
    return {
        "hardware.md": hardware(table),
        "terminal.md": terminal(table),
        "full.md": full(table),
        "holes.md": holes(table),
        "machine.md": named["example/README.md"],
        "overview.md": named["README.md"],
    }


def with_tables(readme: str, run: str = "") -> str:
    """README with the tables of *run*, or of the run that it names already."""
    path = run or SHOWN.search(readme)[1]
    table = terminal(frame([read(ROOT / path)]))
    return SHOWN.sub(lambda found: f"{path}{found[2]}\n{table}\n", readme)


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    run = GOLDEN / "run.json"
    run.write_text(json.dumps(run_file(), indent=1, allow_nan=False) + "\n", encoding="utf-8", newline="\n")
    for name, text in tables(run).items():
        (GOLDEN / name).write_text(text, encoding="utf-8", newline="\n")
    page = ROOT / "README.md"
    shown = with_tables(page.read_text(encoding="utf-8"), *sys.argv[1:2])
    page.write_text(shown, encoding="utf-8", newline="\n")
    (ROOT / "docs" / "columns.md").write_text(meanings.page(), encoding="utf-8", newline="\n")
