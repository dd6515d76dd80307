"""Write the golden run, the golden tables and README's tables again; then read the diff.

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

from clip_bench.record import (
    ArtifactFacts,
    Boundary,
    Cold,
    Entry,
    Executed,
    Outcome,
    Quality,
    Record,
    Score,
    Similarity,
    Timing,
    read,
    to_json,
)
from clip_bench.report import frame, full, hardware, holes, terminal, write

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
}
NO_QNN = "this onnxruntime has no QNNExecutionProvider: pip install onnxruntime-qnn (Windows on Snapdragon)"
NO_CUDA = "torch sees no CUDA device: install a CUDA build of torch on a machine with an NVIDIA GPU"
NO_NPU = "OpenVINO sees no NPU here: it needs a Core Ultra processor and its NPU driver"
WORSE = "image_embeds: mean cosine 0.8123 is below its floor of 0.9900"


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def boundary(tower: str, model: str, precision: str) -> Boundary:
    pixels, tokens = SIZES[model]
    return Boundary(
        tower=tower,
        batch=1,
        texts=10 if tower == "pair" else 0,
        sequence=0 if tower == "image" else tokens,
        image_size=0 if tower == "text" else pixels,
        inside_clock=("inference", "copies to and from the device"),
        threads=4,
        weights_sha256=sha(model),
        recipe=precision,
        data_sha256=sha("data"),
        reference_sha256=sha(f"{model} {tower}"),
        runtimes=RUNTIMES,
    )


def quality(model: str, mean: float, failures: tuple[str, ...]) -> Quality:
    similarity = Similarity(
        output="embeds",
        rows=400,
        mean=mean,
        minimum=1 - 4 * (1 - mean),
        p1=1 - 3 * (1 - mean),
        between=0.31,
        identified=1.0 if mean > 0.9 else 0.61,
        floor_drift=2e-7,
        drift_ratio=(1 - mean) / 2e-7,
    )
    lost = round(1 - mean, 2)
    scores = (
        Score(name="top1", value=0.955 - lost, reference=0.955, samples=400),
        Score(name="t2i_r1", value=0.8975 - lost, reference=0.8975, samples=400),
        Score(name="i2t_r1", value=0.91 - lost, reference=0.91, samples=400),
    )
    return Quality(similarity=(similarity,), scores=scores if WEIGHTS[model] != "random" else (), failures=failures)


def timing(base_s: float) -> Timing:
    return Timing(rounds_s=tuple(base_s * (1 + 0.01 * (7 * k % 20)) for k in range(20)), warmups=10, batch=1)


def measured(case: str, mean: float, base_s: float | None, dtypes: dict[str, int], failures=()) -> dict:
    tower, model, *_, precision = case.removesuffix("-compiled").split("-")
    size = int((0.5 if "8" in precision else 2) * (1e6 if model == "shapes_tiny" else 176e6))
    return {
        "boundary": boundary(tower, model, precision),
        "artifact": ArtifactFacts(size_bytes=size, sha256=sha(case), key=sha(precision)[:16]),
        "executed": Executed(
            nodes={"CPU": sum(dtypes.values())},
            dtypes=dtypes,
            note="the projection stays float" if "i8" in dtypes else "",
        ),
        "cold": Cold(build_s=3.5, load_s=0.21, first_s=3 * (base_s or 0.02), peak_bytes=250_000_000),
        "quality": quality(model, mean, failures),
        "timing": None if base_s is None else timing(base_s),
    }


def entry(case: str, outcome: str = "ok", reason: str = "", *figures: object) -> Entry:
    words = case.removesuffix("-compiled").split("-")
    told = measured(case, *figures) if figures else {}
    record = Record(
        case=case,
        tower=words[0],
        model=words[1],
        target="-".join(words[2:-1]),
        precision=words[-1],
        variant="compiled" if case.endswith("-compiled") else "",
        weights=WEIGHTS[words[1]],
        **told,
    )
    known = record.boundary or boundary(words[0], words[1], words[-1])
    return Entry(case=case, boundary=known.digest, outcome=Outcome(outcome), reason=reason, record=record)


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
    ]


def run_file() -> dict:
    """A run file as pytest-benchmark writes it, as far as its own readers look."""
    cases = entries()
    return {
        "machine_info": {"node": "example", "system": "Example OS", "python_version": "3.11.0", "clip_bench": MACHINE},
        "commit_info": {"id": "0" * 40, "time": "2025-01-02T03:00:00+00:00", "dirty": False, "branch": "example"},
        "benchmarks": [benchmark(case) for case in cases if case.record.timing],
        "datetime": "2025-01-02T03:04:05.000000+00:00",
        "version": "5.1.0",
        "outcomes": to_json(cases),
    }


def benchmark(case: Entry) -> dict:
    rounds = case.record.timing.rounds_s
    stats = {"min": min(rounds), "max": max(rounds), "mean": sum(rounds) / len(rounds), "rounds": len(rounds)}
    name = f"test_latency[{case.case}]"
    fullname = f"tests/bench/test_latency.py::{name}"
    return {"group": None, "name": name, "fullname": fullname, "param": case.case, "params": None, "extra_info": {}} | {
        "options": {"disable_gc": False, "timer": "perf_counter", "min_rounds": 5, "warmup": False},
        "stats": stats | {"data": list(rounds), "iterations": 1},
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
