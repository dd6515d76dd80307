"""The meanings of the columns, as data: a heading in a table, and what stands below it and how it is computed.

``N`` in a heading is a number. The meanings are plain text, for a tooltip as for a page of documentation.
"""

from __future__ import annotations

from collections.abc import Mapping

from clip_bench.timing.paired import CACHED
from clip_bench.timing.roofline import FALLBACK_FACTOR

Columns = Mapping[str, str]
Told = tuple[str, Columns]  # where the table stands, and its columns

MEAN = "the arithmetic mean of the rounds"
LINEAR = "the percentile interpolated linearly between the two nearest rounds (numpy's default), as others publish it; as often too low as too high"
PROVEN = (
    "the round that at 99 % confidence that share of all calls stays under, by MLPerf's early stopping; where there are too few "
    "rounds, how many it takes"
)
SIMILARITY = (
    "the mean over the samples of the cosine between the cell's output and the reference's for the same input; of several "
    "outputs the worst counts"
)
TOP1 = (
    "100 · the share of samples whose right answer ranks first: the class of the picture, or of a pair the right one of its texts. "
    "A tie counts against. The other tower's embeddings are the reference's. Not told of random weights"
)
CHANGE = "top-1 less the reference's top-1 on the same samples, in percentage points"
RECALL = "the other tower's embeddings being the reference's. A tie counts against"
R1_T2I = f"100 · the share of captions whose nearest picture by cosine is one of their own, {RECALL}"
R1_I2T = f"100 · the share of pictures whose nearest caption by cosine is one of their own, {RECALL}"
SIZE = "what is loaded, on disk: the bytes of the artifact's files / 10^6"
LOAD = (
    "seconds from the artifact on disk to a session that can run, with the compilation where the runtime compiles then"
)
FIRST = "the first call of a new session, until its outputs are on the host"
PEAK = (
    "how far the process's resident memory rose above its level before the load, until the timing ended, in 10^6 bytes: the "
    "runtime, weights, activations and inputs. Only Linux tells it"
)
PER_CALL = (
    "by the median of the rounds; of a load, whose calls overlap, by the length of the window · devices / requests"
)
ENERGY = (
    "joules for a thousand embeddings: the rise of the counter (RAPL for a CPU, NVML for an NVIDIA GPU) over warm-ups and rounds "
    "/ the embeddings made · 1000. A counter holds all that its package or GPU did, idling too"
)
STEADY = "how many of the first calls pass until the times stay the same, found as a change-point; 0: from the first on"

SHARED: Columns = {
    "Model": "the architecture with its weights, by its name here: vit_b_32_openai, shapes_tiny; those that end in random have seeded weights",
    "Target": "where it ran: the backend, its provider if any, and the device: onnxruntime-qnn-npu",
    "Precision": "how the graph was made cheaper, the rest of the variant after it: fp32, int8_qdq, a16w8",
    "Model Name": "the model, its runtime and its precision",
    "Cell": "model, target and precision, or the whole id of the cell, as --case takes it",
    "Top-1 (%)": TOP1,
    "R@1 text→image (%)": R1_T2I,
    "R@1 image→text (%)": R1_I2T,
    "Change (points)": CHANGE,
    "Size (MB)": SIZE,
    "Mean similarity": SIMILARITY,
    "Worst sample": "the least such cosine of a sample",
    "Outcome": (
        "how a planned cell ended: ok, skipped (no device or package), unsupported (the runtime cannot express it), gate failed "
        "(its outputs are not right), fallback (it ran elsewhere), crashed, timed out, out of memory, lost, failed"
    ),
}

MATRIX: Mapping[str, Told] = {
    "Hardware Test Results": (
        "On each machine's page, in the overview, and, with the short headings, at the end of a run. One table for each kind of call.",
        {
            "Platform": "device and runtime, chip, memory (1 GB = 2^30 bytes)",
            "Model": "the tower (Vision, Text, or CLIP for both fused), the model, the precision, and marks",
            "Accuracy (%)": TOP1,
            "Degrad (%)": "100 · (1 - Mean Similarity), as Olive's CLIP examples publish it",
            "Mean Similarity": SIMILARITY,
            "Latency Avg (ms)": f"{MEAN}; of a load, of the requests' times",
            "Latency P90, linear (ms)": f"P90 of the rounds: {LINEAR}",
            "Latency P90, proven (ms)": f"≤ P90: {PROVEN} (64)",
            "Latency P99, proven (ms)": f"≤ P99: {PROVEN} (662)",
            "Latency Max (ms)": "the longest round",
            "Latency Min (ms)": "the shortest round",
            "Throughput Avg (samples/sec)": "batch / Latency Avg; of a load, requests · batch / the length of the window",
            "Throughput Max (samples/sec)": "batch / Latency Min; not told of a load",
            "Throughput Min (samples/sec)": "batch / Latency Max; not told of a load",
            "Call": "of the harness's overhead: what the null target, which computes nothing, was called with",
        },
    ),
    "Inference": (
        "On a machine's page, in the form of fast-clip-research.",
        {
            "Models": "model, target and precision",
            "Time cost": f"{MEAN} ± their standard deviation (of a sample: n - 1)",
            "Difference": "the mean of the absolute difference between output and reference over all samples and dimensions, not normalised; of "
            "several outputs the largest. It depends on the model's scale: compare it within a model",
            "Cosine": SIMILARITY,
            "Comments": "what a reader must know: random weights",
            "Links": "the runtime's own page",
        },
    ),
    "Profiles": (
        "On a machine's page, in the form of vendors' profilers. A time under a load includes the wait in the queue.",
        {
            "Load": "latency: one request at a time; throughput: every instance is kept busy",
            "Inputs": "cached: arrays that lie on the host; fresh: a copy of them with each request, inside the clock",
            "Instances": "sessions of the model on each device, which answer at the same time",
            "Devices": "the numbers of the devices, of several alike",
            "Queue size": "requests that wait for each instance beside the one that it executes",
            "Batch size": "samples in one request",
            "Throughput (qps)": "samples per second: requests · batch / the length of the window; of one request at a time, batch / Avg",
            "Avg (µs)": MEAN,
            "Min (µs)": "the shortest request",
            "Max (µs)": "the longest request",
            "PN (µs)": f"≤ the percentile: {PROVEN}",
            "PN, linear (µs)": f"{LINEAR}. It stands only beside a proven one",
        },
    ),
    "Paired speed-ups": (
        "On a machine's page, of cells that were run with --paired: cell and reference took turns in one window.",
        {
            "Speed-up": "the reference cell's time over this cell's: exp of the mean over groups of ln(reference / own), a block counting by the "
            "lower quartile of its calls, a group by the mean of two mirrored blocks",
            "95 % interval": "where that ratio lies, by a studentized bootstrap over the groups",
            "Null (truth 1)": "the same ratio, with its interval, of the reference against itself in the same window: how far it is off is the "
            "error of the comparison",
            "False positives (%)": "how often that null alone would be called a difference, over relabelings of its blocks; 5 is what it should be",
            "Smallest seen (%)": "the least speed-up that this run had an 80 % chance to see (Bloom's minimum detectable effect)",
            "Repeated inputs": "the cell's time on unseen inputs over its time on one input again and again, with its interval",
            "Verdict": "faster or slower where the interval excludes 1, else no difference seen; a null that strays is told, and a cell that "
            f"caches repeated inputs (surely above {CACHED:g}, MLPerf's TEST04)",
        },
    ),
    "Batches": (
        "On a machine's page: the batches of a cell side by side, one request at a time.",
        {
            "Batch N (ms)": "the median of the rounds with N samples per call",
            "Batch N (samples/s)": "N / the mean of the rounds",
        },
    ),
    "Roofline": (
        "On a machine's page: first the ceilings of the run, then each cell below those of its device and precision.",
        {
            "Of": "the kind of device, or memory",
            "At": "the precision; of memory, what was done with it",
            "Reached": "the most that was measured there: chains of matrix products by the best of the runtimes, and how fast memory is read "
            "well past the last cache",
            "By": "the target that reached it; of memory, on how many threads",
            "On": "the shape of the products; of memory, the size of the buffer",
            "Work (GFLOP)": "the arithmetic of a call by closed form, two FLOPs per multiply-add, / 10^9",
            "Bytes (MB)": "the bytes that a call must move by closed form, each weight read once, / 10^6",
            "Reached (GFLOP/s)": f"work / the time of a call, {PER_CALL}",
            "Bound": "which roof is met first: compute, work / ceiling of arithmetic, or bandwidth, bytes / ceiling of memory; the longer time bounds",
            "Of bound (%)": "100 · the bound's time / the time of a call. Above 100 with bandwidth is no contradiction: weights may stay in a cache",
            "Verdict": "impossible: faster than the bound allows, of which only bytes beyond the cache count; fallback suspected: more than "
            f"{FALLBACK_FACTOR:g} times the bound, after the fixed cost of a call; else plausible",
        },
    ),
    "Evaluation result": (
        "On a machine's page, in the form of Olive's CLIP examples: cells cheaper than FP32, one sample at a time, by platform.",
        {
            "Model": "the tower (Vision, Text, or CLIP for both fused), the model, the precision, and marks",
            "Activation Type": "what the recipe quantizes or rounds activations to; INT8: the runtime chooses whether signed or not",
            "Weight Type": "the same of weights",
            "Size": "how many samples the accuracy is over",
            "Latency ms (avg)": MEAN,
            "Throughput (samples/sec)": "1 / Latency",
            "Accuracy (%)": TOP1,
            "Mean Similarity": SIMILARITY,
        },
    ),
    "Compare file size and inference time": (
        "On a machine's page: what a cheaper graph saves beside its float model, in the same run, and what it costs.",
        {
            "Size in fp16 (MB)": "the size of the same model, tower, target and call in fp16 in the same run",
            "Size in fp32 (MB)": "the same in fp32",
            "Smaller than fp16": "the size in fp16 / this size: the compression rate",
            "Smaller than fp32": "the same over fp32",
            "Faster than fp16": f"the time of the same in fp16 in the same run / this one's, {PER_CALL}",
            "Faster than fp32": "the same over fp32",
            "Speed-up": "the time of a call of PyTorch FP32 on the CPU over this cell's, as under *In full*",
        },
    ),
    "Cold path": (
        "On a machine's page: each step's seconds, and in brackets by how many MB resident memory rose in it.",
        {
            "Build (s)": "export, conversion and quantization together, on the day when the artifact was built",
            "Import (s)": "importing the runtime in a fresh process",
            "Export (s)": "from the PyTorch tower to an ONNX file or a program",
            "Convert (s)": "what else made the artifact: fusions, halved floats, a vendor's format",
            "Quantize (s)": "calibration and quantization",
            "Load (s)": LOAD,
            "First call (ms)": FIRST,
            "Steady after": f"{STEADY}; not reached: they never do within those calls",
        },
    ),
    "Conditions and energy": (
        "On a machine's page: what else the machine did while each cell was timed.",
        {
            "Load": "the load average of the minute before",
            "Steal (%)": "100 · processor time that a hypervisor gave to others / all processor time of the window",
            "Others (cores)": "processor seconds of other processes / seconds of the window",
            "MHz": "the lowest and the highest clock of a core, before and after",
            "Throttled": "how often cores were slowed down for their temperature, in the window",
            "Waits": "how often a thread of this process had to give up its core: involuntary context switches",
            "Device": "what an NVIDIA GPU tells of itself: clocks, temperature, how long it was slowed and why, other processes",
            "J per 1000 embeddings": ENERGY,
        },
    ),
    "Reproducible": (
        "On a machine's page, of cells that ran in several runs with the same recipe, weights, data, versions, threads and flags.",
        {
            "Promised": "what the runtime's documentation promises of a call made again, as the cells are run here",
            "Cells": "cells that were run twice or more",
            "Same bits": "how many of them gave the same bits in all runs and, within each, from call to call",
            "Other bits": "the rest of them",
            "Runs": "how many runs had the cell under these conditions",
            "Files": "whether the artifacts that the runs loaded are the same bytes: one that was built anew may not be",
            "From call to call": "whether one input gave the same bits in the last two calls of a run",
            "From run to run": "whether all outputs of the evaluation are the same bits, by their digest; else how many unlike ones there are",
            "Largest change": "of all samples, the most that 1 - cosine to the reference changed between two runs; told where outputs are unlike",
        },
    ),
    "In full": (
        "On a machine's page: everything measured, a table for each model, tower and call.",
        {
            "Placed": "how many nodes of the graph ran where, by the runtime's own evidence",
            "Executed": "how many nodes ran in which type, by the same evidence",
            "Load (s)": LOAD,
            "First (ms)": FIRST,
            "Peak (MB)": PEAK,
            "P50 (ms)": "the median of the rounds",
            "P90, linear (ms)": f"P90 of the rounds: {LINEAR}",
            "P90, proven (ms)": f"≤ P90: {PROVEN} (64)",
            "Min (ms)": "the shortest round",
            "Max (ms)": "the longest round",
            "Throughput (samples/sec)": "batch / the mean round; of a load, requests · batch / the length of the window",
            "Speed-up": "the time of a call of PyTorch FP32 on the CPU over this cell's, in the same run with the same model, tower and call. "
            f"paired: from interleaved blocks, with its 95 % interval; two windows: {PER_CALL}",
            "Other inputs": "the mean cosine of the reference's outputs to different inputs: what no skill at all would score",
            "Drift (x floor)": "(1 - Mean similarity) / the reference's noise floor: the largest mean drift of the reference itself when computed again, "
            "in another batch or with other threads, and 7e-15 at least",
        },
    ),
    "Cells without a time": (
        "On a machine's page: every planned cell that was not timed.",
        {
            "Machine": "the machine, where the table has several",
            "Run": "the run file, where the table has several",
            "Reason": "why, in the runtime's or the gate's words: what to install, what is missing, which floor was not held",
            "Cells": "how many",
            "Which": "their ids, with braces as a shell expands them",
        },
    ),
    "Provenance": (
        "On a machine's page: the runs that it is made from.",
        {
            "Run": "its file",
            "Measured": "the day",
            "Cells": "how its cells ended",
            "Shown": "how many of them are the newest measurement of their cell, and so in the tables",
            "Witness": "the beginning of the head of the file's witness: whoever edits the file and seals it anew changes it",
        },
    ),
    "Reports": (
        "The overview of reports/: a line for each machine.",
        {
            "Machine": "its page",
            "Chip": "the processor, and its cores",
            "RAM": "1 GB = 2^30 bytes",
            "Newest run": "the day on which it was measured",
            "Cells": "how the newest measurements of all planned cells ended",
        },
    ),
    "Calibration": (
        "In reports/calibration.md: the same graph and evaluation, calibrated in other ways.",
        {
            "Method": "how the range of each activation is chosen: minmax, percentile or entropy",
            "Rows": "how many rows it was calibrated on; none of them is evaluated on",
        },
    ),
}
