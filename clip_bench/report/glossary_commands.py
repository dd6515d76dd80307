"""The meanings of the columns of what commands measure beside the matrix, of the page, and of what commands print."""

from __future__ import annotations

from collections.abc import Mapping

from clip_bench.report.audit import MARGIN
from clip_bench.report.glossary import ENERGY, FIRST, LINEAR, LOAD, MEAN, PEAK, PER_CALL, PROVEN, SIMILARITY, TOP1, Told
from clip_bench.specs import Precision
from clip_bench.timing.paired import LEAST
from clip_bench.timing.roofline import FALLBACK_FACTOR
from clip_bench.timing.steady import SHORTEST
from clip_bench.timing.windows import BLOCKS

INDEXED = (
    "milliseconds per document, the median over the batches of the seconds of an add_documents call / its documents; the cold "
    "first batch is among them"
)
QUERY = "% of queries (their number in brackets) whose nearest item by cosine is right; a tie counts against: "
RECALLS = "a right one among their 1, 5 and 10 nearest by cosine, as CLIP_benchmark defines it"

BESIDE: Mapping[str, Told] = {
    "Gates": (
        "Of `clip-bench gates`: what became of broken pipelines, on the machine's page ([gates](gates.md)).",
        {
            "Saboteur": "the name of the broken pipeline",
            **{
                str(
                    precision
                ): f"the gates that kill it in {precision}; or its drift and the precision's own, three times as "
                "much as which nothing can tell it from the true cell"
                for precision in Precision
            },
            "Drift in fp32": "mean over the samples of 1 - cosine to the reference, of the broken FP32 cell",
            "Published accuracy (%)": "of the broken FP32 cell, as the Olive CLIP examples compute it: 100 · pictures whose first "
            "text of ten, always the right one, is the argmax / pictures",
            "Changes a": "weight, node, feed or call: where the pipeline is broken",
            "What": "what is changed, and where that is seen",
        },
    ),
    "Zero-shot": (
        "Of `clip-bench evaluate`: how often the right class is found on whole data, on the machine's page.",
        {
            "Platform": "device and runtime",
            "Program": "what did it",
            "Data": "the data set, or the folder",
            "Prompts": "what is said of a class: single, one sentence; ensemble, the mean of many; name, its name alone",
            "Pictures": "pictures that were classified",
            "Classes": "classes to choose from",
            "Top-1 (%)": "100 · pictures whose own class has the highest cosine / pictures",
            "Top-5 (%)": "100 · pictures whose own class is among the five highest / pictures; not told of five classes or fewer",
            "No answer": "pictures where a cosine is no number or the best class ties with one of other words: they count as wrong",
        },
    ),
    "Which label fits": (
        "Of `clip-bench score`: the best five labels of each picture, the best first.",
        {
            "Picture": "the file",
            "Label": "the text",
            "Score": "the softmax, over all labels given, of cosine · exp(logit_scale) of the model",
        },
    ),
    "Embedding a folder": (
        "Of `clip-bench embed --halves`, on the machine's page.",
        {
            "Platform": "device and runtime",
            "Program": "what did it",
            "Preprocess time (ms)": "from a file to what the model takes, per picture, alone, on all threads that it has",
            "Inference time (ms)": "per picture, in batches, alone",
            "Total images": "pictures embedded",
            "Total time (s)": "of the whole run, its first calls among it",
            "Avg time (ms)": "total time / pictures",
            "FPS": "pictures / total time",
            "Both halves in turns (FPS)": "1 / (preprocess time + inference time): what both allow on cores that they share",
            "Reached (%)": "100 · FPS / both halves in turns",
        },
    ),
    "Preprocessing": (
        "Of `clip-bench preprocess`: ways from a file to what a model takes, each against open_clip's.",
        {
            "TRANSFORMS": "the way",
            "TIME (ms)": "per picture on one core, mean ± standard deviation over the rounds, in which all ways take turns",
            "RATIO": "its time / open_clip's in the same round; the median over the rounds",
            "PROCESSED DIFF (mean)": "the mean absolute difference of the normalised pixels to open_clip's",
            "ENCODE DIFF (mean)": "the mean absolute difference of the embeddings, not normalised, of the model in FP32 PyTorch",
            "COSINE": "the mean cosine of these embeddings",
            "Δ R@1 caption to picture": "the share of captions whose nearest picture is one of their own, less open_clip's, in points",
            "Δ top-1 picture to picture": "the share of pictures whose embedding is nearest to its own among open_clip's, less open_clip's (100 %), in points",
            "Comments": "what it does in another way",
        },
    ),
    "Indexing": (
        "Of `clip-bench index`: adding documents to a vector database, and finding them.",
        {
            "Image Indexing Time (CBS = N)": f"of pictures, N in one call: {INDEXED}",
            "Text Indexing Time (CBS = N)": f"of texts, N in one call: {INDEXED}",
            "Documents": "pictures, or texts",
            "CBS": "the client's batch size: documents in one add_documents call",
            "Batches": "how many calls there were; one without a good document is not counted",
            "Rows": "rows in the table of the database afterwards",
            "Fetch (ms)": "per document: getting the picture over HTTP from a process on the same machine",
            "Prepare (ms)": "per document: decoding and preprocessing, or tokens",
            "Encode (ms)": "per document: one call of the model for the batch",
            "Write (ms)": "per document: one append to the database",
            "First batch (ms)": "per document of the first call, which is cold and makes the table",
            "Steady after (batches)": "how many batches pass until the times stay the same, found as a change-point",
            "Recall@10": "the share of the 10 nearest pictures of a text, by exact search in numpy, that the database's own search gives",
            "Query (ms)": "the median time of such a search",
        },
    ),
    "Performance": (
        "Of `clip-bench retrieval`: who finds whom, in the columns of fast-clip-research.",
        {
            "Text-to-image score (single-label)": f"{QUERY}a picture that shows the label which the text names",
            "Text-to-image score (double-label)": f"{QUERY}a picture that shows both labels which the text names",
            "Text-to-image score (triple-label)": f"{QUERY}a picture that shows all three labels which the text names",
            "Image-to-text score": f"{QUERY}a label that the picture shows",
            "Image-to-Image score": f"{QUERY}another picture that shows a same label",
            "Caption-to-image R@1 / R@5 / R@10": f"% of captions (their number in brackets) that have {RECALLS}",
            "Image-to-caption R@1 / R@5 / R@10": f"% of pictures (their number in brackets) that have {RECALLS}",
        },
    ),
}

PAGE: Mapping[str, Told] = {
    "The page": (
        "`reports/index.html`, whose headings show these words when pointed at.",
        {
            "Tower": "image, text, or pair: both fused in one graph",
            "Precision": "how the graph was made cheaper: fp32, int8_qdq, a16w8",
            "Variant": "what else changes the cell than its call: compiled, a rewrite, a calibration",
            "Machine": "the machine that measured it",
            "Notes": "what else is to be known: random weights, emulated, numerics only, not stable",
            "P50 (ms)": "the median of the rounds",
            "P90, linear (ms)": f"P90 of the rounds: {LINEAR}",
            "P99, proven (ms)": f"P99: {PROVEN} (662)",
            "Throughput (samples/s)": "batch / the mean round; of a load, requests · batch / the length of the window",
            "Speed-up, paired (×)": "the time of PyTorch FP32 on the CPU over this cell's, from interleaved blocks in one window",
            "Speed-up, two windows (×)": f"the time of a call of PyTorch FP32 on the CPU over this cell's, in the same run, {PER_CALL}",
            "Similarity (cosine)": SIMILARITY,
            "First call (ms)": FIRST,
            "Load (s)": LOAD,
            "Peak (MB)": PEAK,
            "Energy (J per 1000)": ENERGY,
        },
    ),
}

COMMANDS: Mapping[str, Told] = {
    "Best of each kind of device": (
        "Of `clip-bench report` on an archive, or on runs of more than 20 machines ([many results](archive.md)).",
        {
            "Device": "CPU, GPU or NPU",
            "Best cell": "target and precision of the best cell of all machines: the least median latency of those that ended ok on "
            "hardware, are not impossible, and lose no more than a point of top-1",
            "Best machine": "the machine with that cell",
            "Chip": "the accelerator of a GPU, else the processor of that machine",
            "Best P50 (ms)": "the median of that cell's rounds",
            "Middle P50 (ms)": "the median over the machines, each with its own best cell",
            "Slowest P50 (ms)": "the most of these",
            "Machines": "how many machines have a cell that may be best",
        },
    ),
    "clip-bench compare": (
        "A cell on both sides, A before B.",
        {
            "Verdict": "slower or faster: the whole interval lies beyond what controls stray; no difference seen; no time any more, no "
            f"time before, no interval (fewer than {LEAST} rounds), not timed",
            "A (ms)": f"the geometric mean over {BLOCKS} blocks of consecutive rounds of their median (of a load: of their mean)",
            "B (ms)": "the same of B",
            "B / A": "above 1 is slower",
            "95 % interval": "where that ratio lies, by these rounds alone: a studentized bootstrap over the blocks",
            "Smallest seen (%)": "the least slow-down that had an 80 % chance to be called",
            "Top-1 in A (%)": TOP1,
            "Change (points)": "top-1 of B less top-1 of A, in percentage points",
            "Drift in A": "1 - mean cosine to the reference of the same side; of several outputs the worst",
            "Drift in B": "the same of B",
            "Why": "why a cell has no partner: it is on one side alone, or the calls differ",
        },
    ),
    "clip-bench history": (
        "The times of a cell over all runs of a machine.",
        {
            "Course": "from the least time to the most, oldest first",
            "Changes": f"change-points between levels of {SHORTEST} runs or more: the day, the ratio of the levels, and what else changed",
            "Runs": "how many have a time of the cell in the same call",
            "First (ms)": f"of the oldest run: the geometric mean over {BLOCKS} blocks of its rounds of their median (of a load: of their mean)",
            "Newest (ms)": "the same of the newest run",
            "Least (ms)": "the same of the fastest run",
            "Most (ms)": "the same of the slowest run",
        },
    ),
    "clip-bench best": (
        "The cell to deploy, for each machine, model, tower and kind of call.",
        {
            "Part": "deploy; tie: no difference to it was seen; runner-up: the first that is no tie; more accurate, or more similar: the "
            "cheapest that is so good",
            "Latency P50 (ms)": "the median of the rounds",
            "Throughput (samples/s)": "batch / the mean round; of a load, requests · batch / the length of the window",
            "Energy (J per 1000)": ENERGY,
            "Against the first": "by how many percent of the first one's figure it is worse, and what it gives or takes in top-1 (or cosine)",
            "Mean cosine": SIMILARITY,
            "Run": "the run file, where there are several",
            "Why": "why cells were left out",
            "Cells": "how many",
        },
    ),
    "clip-bench timings": (
        "Anybody's raw times: each series a row.",
        {
            "Timings": "the name of the series",
            "Stability": "stable, or why not",
            "n": "how many times",
            "Mean": f"{MEAN}, in ms",
            "Min": "the shortest, in ms",
            "Max": "the longest, in ms",
            "PN linear": f"{LINEAR}, in ms",
            "PN proven": f"{PROVEN}, in ms",
            "Throughput /s": "batch (--batch) / mean",
            "Steady after": "how many of the first calls pass until the times stay the same",
        },
    ),
    "clip-bench audit": (
        "Times that others published, held against the peak that the vendor publishes.",
        {
            "Row": "the id of the row",
            "Tower": "image, text or pair",
            "Batch": "samples of a call, and the texts beside the pictures; ? where it is not told",
            "Claimed": "the precision in the row's own words",
            "Hardware": "the device in the row's own words",
            "Against": "the device and the published peak that it is held against, in TFLOP/s or TOPS",
            "Notes": "how the row was read",
            "Verdict": f"impossible: more than {MARGIN:g} times faster than the bound, after what an exact rewrite may leave out; fallback "
            f"suspected: more than {FALLBACK_FACTOR:g} times slower, twice that for each halving of width where only a narrower precision has a peak; plausible",
            "Impossible in FP32": "whether the time would be impossible in FP32, whatever it claims",
            "Time (ms)": "the published time, or batch / the published rate",
            "TFLOP/s": "work of the closed form / the published time / 10^12",
            "Of peak (%)": "100 · TFLOP/s / the highest dense rate that the vendor publishes for the claimed precision",
            "Bound": "compute or bandwidth, whichever takes longer",
            "Of bound (%)": "100 · the bound's time / the published time",
            "Not audited, because": "what is not known of the row",
        },
    ),
}
