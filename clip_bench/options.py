"""What a user may set for a run, as data: flags with argparse's arguments; pytest's addoption takes the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clip_bench.specs import Inputs, Pattern, Rewrite, Tower

Options = tuple[tuple[str, Mapping[str, Any]], ...]

DEFAULT_MODELS = ("shapes_tiny", "vit_b_32_random")
SAMPLES = 64
ROUNDS = "p90"
SWEEP: Mapping[Tower, tuple[int, ...]] = {Tower.IMAGE: (1, 8, 16, 32), Tower.TEXT: (1, 4, 32)}  # SOPHON's bmodels

# The data sets whose usual forms are known, as in clip_bench.data.sets, which this does not import: it is slow.
DATA = ("imagenet", "mini_imagenet", "cifar100", "flickr8k", "flickr30k", "coco", "conceptual", "parquet")

# Those that pytest and the commands share.
OPTIONS: Options = (
    ("--model", {
        "action": "append", "default": [], "metavar": "NAME",
        "help": "a model of the catalog, or open_clip's ARCHITECTURE:PRETRAINED or ARCHITECTURE:FILE; may be repeated "
                f"(default: {' and '.join(DEFAULT_MODELS)})",
    }),
    ("--full", {
        "action": "store_true",
        "help": "every model of the catalog, and the a16w8, compiled and pair cells of full-size models",
    }),
    ("--samples", {
        "type": int, "metavar": "N",
        "help": f"evaluation samples (default: {SAMPLES}; shapes_tiny, off an emulator, its whole 1000)",
    }),
    ("--data", {
        "metavar": "PATH",
        "help": "evaluate on your own data: a folder of class folders, or a JSON or CSV file of captions; or NAME:PATH, "
                f"NAME being {', '.join(DATA[:-1])} or {DATA[-1]}: docs/data.md",
    }),
    ("--data-root", {
        "type": Path, "metavar": "PATH",
        "help": "where the pictures lie that the file of --data NAME:FILE names (default: beside it)",
    }),
    ("--weights", {
        "type": Path, "metavar": "PATH",
        "help": "a weights file, or a folder of them, to look in before the cache and the hub",
    }),
    ("--threads", {
        "type": int, "metavar": "N",
        "help": "intra-op threads of every runtime (default: the physical cores that this process may use)",
    }),
    ("--rounds", {
        "default": ROUNDS, "metavar": "N",
        "help": "timed calls per cell; p50, p90, p95, p99 or p99.9 are as many as prove that percentile at 99 %% "
                "confidence (default: %(default)s, which is 64)",
    }),
    ("--calibration", {
        "action": "append", "default": [], "metavar": "METHOD_N",
        "help": "add cells calibrated by METHOD (minmax, percentile or entropy) on N rows, such as percentile_200, "
                "wherever ONNX Runtime or NNCF (no entropy) quantizes; may be repeated",
    }),
    ("--rewrite", {
        "action": "append", "default": [], "metavar": "NAME",
        "help": f"add cells of an exact rewrite: {', '.join(Rewrite)}, or several in one such as pooled+folded, wherever "
                "tower and runtime take it (docs/rewrites.md); may be repeated",
    }),
    ("--option", {
        "action": "append", "default": [], "metavar": "NAME.KEY=VALUE",
        "help": "an option of a provider or backend, such as qnn.soc=SM8650; may be repeated (all: clip-bench list)",
    }),
    ("--tpu-mlir-python", {
        "metavar": "PYTHON",
        "help": "a Python 3.10 that has tpu_mlir, for SOPHON: the same as --option sophon.tpu_mlir_python=PYTHON",
    }),
)  # fmt: skip
# What else makes cells: how much is asked at once. clip-bench compile knows nothing of it.
LOADS: Options = (
    ("--batch", {
        "action": "append", "default": [], "metavar": "N",
        "help": "samples per call: a number, several such as 1,8,16, or sweep, which is 1,8,16,32 pictures and 1,4,32 "
                "texts; each is a cell of its own (default: 1)",
    }),
    ("--load", {
        "action": "append", "default": [], "choices": [str(pattern) for pattern in Pattern],
        "help": "latency: one request at a time (default); throughput: as many at once as keep every instance busy; "
                "may be repeated",
    }),
    ("--instances", {
        "metavar": "N",
        "help": "sessions that answer at the same time, and share --threads: a number, several such as 1,2, or a range "
                "such as 1-4; each is a cell (default: 1; with --load throughput)",
    }),
    ("--queue", {
        "metavar": "N",
        "help": "requests that wait for each instance beside the one that it executes; 0 is least latency, several as "
                "for --instances (default: 1; with --load throughput)",
    }),
    ("--device-ids", {
        "metavar": "N", "help": "numbers of the devices, such as 0,1: each gets its own --instances (default: 0)",
    }),
    ("--inputs", {
        "default": str(Inputs.CACHED), "choices": [str(each) for each in Inputs],
        "help": "cached: arrays that the host makes once; fresh: a copy handed over with each request, inside its time "
                "(default: %(default)s)",
    }),
)  # fmt: skip
# Of a run alone: what decides how its cells are timed, and what is printed of them.
TIMING: Options = (
    ("--iterations", {
        "dest": "rounds", "metavar": "N", "help": "requests of a throughput window: another word for --rounds",
    }),
    ("--percentiles", {
        "metavar": "N", "help": "percentiles of the profile tables (default: 50,90,95,99)",
    }),
    ("--paired", {
        "action": "store_true",
        "help": "measure each cell and PyTorch FP32 in interleaved blocks too: a speed-up with its interval",
    }),
    ("--roofline", {
        "action": "store_true",
        "help": "measure this machine's ceilings at the end of the run, and hold every time against them",
    }),
)  # fmt: skip
# Of a run alone, too: what it must not lack, how it is summed up, and where it is kept.
KEEPING: Options = (
    ("--require", {
        "action": "append", "default": [], "metavar": "WORD",
        "help": "fail unless a cell with this word (a device such as npu, or a whole target) ended ok; may be repeated",
    }),
    ("--no-skips", {
        "action": "store_true", "help": "fail if a test that is no cell is skipped: for CI, where all can run",
    }),
    ("--format", {
        "choices": ("terminal", "github"), "default": "terminal",
        "help": "how the run is summed up: for a terminal, or for the page of a CI job, in $GITHUB_STEP_SUMMARY if it "
                "is set",
    }),
    ("--reports", {
        "type": Path, "metavar": "DIR", "help": "write the run to DIR/<machine>/<run>.json",
    }),
    ("--journal", {
        "type": Path, "metavar": "FILE",
        "help": "keep what ends in FILE until the run is written, or go on with the run in it (default: "
                "DIR/<run>.jsonl)",
    }),
)  # fmt: skip
