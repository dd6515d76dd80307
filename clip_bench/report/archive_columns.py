"""The columns of an archive: names, types and meanings. One that is added, renamed or of another type is another schema."""

from __future__ import annotations

from collections.abc import Mapping

SCHEMA = 1
WORD, COUNT, FIGURE, TIME = "string", "int64", "double", "timestamp[us, tz=UTC]"
SCORES = {
    "top1": "zero-shot top-1",
    "top5": "zero-shot top-5",
    "agreement": "the same class as the reference predicts",
    **{f"t2i_r{k}": f"text→image R@{k}" for k in (1, 5, 10)},
    **{f"i2t_r{k}": f"image→text R@{k}" for k in (1, 5, 10)},
}

Column = tuple[str, str]  # its type, and its meaning

ORIGIN: Mapping[str, Column] = {
    "sha256": (WORD, "of the run file's bytes: one file is in an archive once"),
    "file": (WORD, "the run file's name, without its folder"),
    "witness": (WORD, "the head of the file's witness; empty where it has none"),
    "measured": (TIME, "when the run ended; null where the file does not tell it"),
}
MACHINE: Mapping[str, Column] = {
    "cpu": (WORD, "the processor's brand"),
    "cores_physical": (COUNT, "cores"),
    "cores_logical": (COUNT, "logical processors"),
    "ram_bytes": (COUNT, "memory"),
    "accelerators": (WORD, "what the drivers list, a comma between two"),
    "isa": (WORD, "instruction sets that decide which kernels run, a comma between two"),
    "os": (WORD, "name, version and architecture"),
    "python": (WORD, "its version"),
    "power": (WORD, "mains, battery or unknown"),
    "governors": (WORD, "what decides the cores' clocks, a comma between two"),
    "runtimes": (WORD, "the packages that executed this cell, and their versions, a comma between two"),
}
CELL: Mapping[str, Column] = {
    "machine": (WORD, "the machine's name: its processor and its cores"),
    "run": (WORD, "the run file's name without its suffix"),
    "datetime": (WORD, "when the run ended, as the file tells it"),
    "chip": (WORD, "the accelerator of a GPU's cell, else the processor"),
    "ram": (WORD, "memory in words"),
    "case": (WORD, "the cell's id; a word of SQL, so that it wants quotes there"),
    "tower": (WORD, "image, text or pair"),
    "model": (WORD, "an architecture with its weights"),
    "weights": (WORD, "where the weights are from; of random ones there are no accuracies"),
    "target": (WORD, "backend, provider if any, and device"),
    "backend": (WORD, "the runtime; null computes nothing"),
    "device": (WORD, "cpu, gpu, npu; emulated and numerics are no hardware"),
    "precision": (WORD, "how the graph was made cheaper"),
    "variant": (WORD, "what else changes the cell"),
    "outcome": (WORD, "how the cell ended: ok, skipped, gate_failed, …"),
    "reason": (WORD, "why it did not end ok"),
    "failures": (WORD, "what its gate said"),
    "boundary": (WORD, "a hash of all that a figure stands on"),
    "data": (WORD, "the beginning of the evaluation data's sha256"),
    "inside_clock": (WORD, "the steps that a time includes"),
    "executed_dtypes": (WORD, "types of the nodes and how many, by the runtime's evidence"),
    "executed_nodes": (WORD, "places of the nodes and how many, by the runtime's evidence"),
    "executed_note": (WORD, "what else the runtime told of that"),
    "bare": (WORD, "the variant without what the call tells"),
    "load": (WORD, "how requests arrive: latency, one at a time, or throughput"),
    "device_ids": (WORD, "which devices of several"),
    "inputs": (WORD, "cached or fresh"),
    "fed": (WORD, "trimmed texts, folded pixels"),
    "unstable": (WORD, "why the time is not stable; empty where it is"),
    "energy_source": (WORD, "what counted the joules, or why nothing did"),
    "bound": (WORD, "compute or memory: the roof over the cell"),
    "verdict": (WORD, "of the roofline: whether the time can be true"),
    "batch": (COUNT, "samples per call"),
    "texts": (COUNT, "texts per call of a pair"),
    "sequence": (COUNT, "tokens of a text"),
    "image_size": (COUNT, "pixels of a side"),
    "threads": (COUNT, "of the call; 0 is the runtime's own choice"),
    "instances": (COUNT, "sessions at once on each device"),
    "queue": (COUNT, "requests that wait for each"),
    "rounds": (COUNT, "timed calls"),
    "warmups": (COUNT, "calls before them"),
    "samples": (COUNT, "of the accuracy"),
    "calls": (COUNT, "first calls that were timed one by one"),
    "steady": (COUNT, "how many of those passed before the times stayed the same"),
    "similarity_mean": (FIGURE, "mean cosine to the FP32 reference; the worst output's"),
    "similarity_min": (FIGURE, "of the farthest sample"),
    "similarity_p1": (FIGURE, "the first percentile of the samples"),
    "degrad_percent": (FIGURE, "100 (1 - mean cosine)"),
    "similarity_between": (FIGURE, "the reference's mean cosine to other inputs"),
    "identified_percent": (FIGURE, "samples whose own reference is their nearest"),
    "drift_floor": (FIGURE, "the reference's own drift when it is computed another way"),
    "drift_ratio": (FIGURE, "1 - mean cosine, as a multiple of that"),
    "difference": (FIGURE, "mean |output - reference|"),
    **{
        f"{name}{part}_percent": (FIGURE, f"{what}{whose}")
        for name, what in SCORES.items()
        for part, whose in (("", ""), ("_reference", ", the reference's own over the same samples"))
    },
    "mean_ms": (FIGURE, "the mean round"),
    "p50_ms": (FIGURE, "the median round"),
    "p90_ms": (FIGURE, "P90 of the rounds, linear"),
    "min_ms": (FIGURE, "the quickest round"),
    "max_ms": (FIGURE, "the slowest round"),
    "throughput_avg": (FIGURE, "samples in a second, by the mean round or a load's window"),
    "throughput_max": (FIGURE, "by the quickest round"),
    "throughput_min": (FIGURE, "by the slowest round"),
    "p90_proven_ms": (FIGURE, "what 90 % of calls are proven to stay under; null where there are too few"),
    "p99_proven_ms": (FIGURE, "the same of 99 %"),
    "call_s": (FIGURE, "seconds that a call costs one device"),
    "energy_j": (FIGURE, "joules for 1000 embeddings"),
    "flops": (FIGURE, "floating-point operations of a call"),
    "bytes": (FIGURE, "bytes that a call moves at least"),
    "reached_flops_s": (FIGURE, "of these in a second"),
    "bound_percent": (FIGURE, "of what the machine can reach"),
    "speedup": (FIGURE, "over PyTorch FP32 on the CPU in the same run, two windows"),
    "size_mb": (FIGURE, "of the artifact, 10^6 bytes"),
    "load_s": (FIGURE, "seconds to load it"),
    "first_s": (FIGURE, "seconds of the first call"),
    "build_s": (FIGURE, "seconds of export and quantization"),
    "peak_mb": (FIGURE, "how far the process's memory rose, 10^6 bytes"),
}
PAIRED: Mapping[str, Column] = {
    "paired_speedup": (FIGURE, "over PyTorch FP32 on the CPU, of interleaved blocks"),
    "paired_speedup_low": (FIGURE, "where its 95 % interval begins"),
    "paired_speedup_high": (FIGURE, "where that ends"),
}
COLUMNS: Mapping[str, Column] = {**ORIGIN, **CELL, **PAIRED, **MACHINE}


def table() -> str:
    """The columns as markdown, for docs/archive.md."""
    lines = [f"| {name} | {kind} | {meaning} |" for name, (kind, meaning) in COLUMNS.items()]
    return "\n".join(["| column | type | what it holds |", "|---|---|---|", *lines])
