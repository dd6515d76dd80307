"""The meanings of the columns of published figures: what others told, as they told it."""

from __future__ import annotations

from collections.abc import Mapping

from clip_bench.report.glossary import Told

ONE = "text-to-image score of queries that name"
RETRIEVED = "R@1 on the published data set, in %"

PUBLISHED: Mapping[str, Told] = {
    "Published figures": (
        "In `reports/published.md`, one table for each boundary: figures as others published them, in their digits; measured cells are bold.",
        {
            "Row": "the id of the row, which links to its source; of a measured cell its machine",
            "Model": "the model in the source's words; of a measured cell its name here",
            "Hardware": "the device in the source's words",
            "Runtime": "the runtime in the source's words",
            "Precision": "the type that is claimed; empty where none is told",
            "Verdict": "what the roofline says of the time: possible, impossible, or which fact is missing to say it",
            "Avg (ms)": "the published mean; of a measured cell that of its rounds",
            "P50 (ms)": "the median",
            "P90 (ms)": "the percentile, interpolated",
            "P99 (ms)": "the percentile, interpolated",
            "Min (ms)": "the shortest time",
            "Max (ms)": "the longest time",
            "Time, statistic not told (ms)": "a time of which nobody tells whether it is a mean, a median or one call",
            "Throughput (samples/sec)": "the published rate; of a measured cell batch / the mean round",
            "N a batch (ms)": "per document, where the client adds N at a time",
            "PNG (ms)": "per picture: the PNG file of that table",
            "JPEG (ms)": "per picture: the JPEG file of that table",
            "Pixels differ by": "the mean absolute difference of the normalised pixels to the original preprocessing",
            "Embedding differs by": "the same of the embeddings",
            "Least of a call (ms)": "the longer of FLOPs / peak FLOP/s and bytes / peak bandwidth, by closed form, for the batch that is told",
            "Least of a sample (ms)": "the same for one sample, where no batch is told",
            "Accuracy (%)": "as the source counts it; the table tells over what",
            "Degrad (%)": "100 · (1 - Mean Similarity)",
            "Mean Similarity": "the mean cosine to the float model's embeddings, as published",
            "Top-1 (%)": "zero-shot top-1",
            "Top-5 (%)": "zero-shot top-5",
            "One label (%)": f"{ONE} one label",
            "Two labels (%)": f"{ONE} two labels",
            "Three labels (%)": f"{ONE} three labels",
            "Image to text (%)": "the score of pictures among labels",
            "Flickr, text→image (%)": RETRIEVED,
            "Flickr, image→text (%)": RETRIEVED,
            "COCO, text→image (%)": RETRIEVED,
            "COCO, image→text (%)": RETRIEVED,
            "F1": "the source's own F1",
            "Size (MB)": "the file in units of 10^6 bytes, as published",
            "Size (MiB)": "the file in units of 2^20 bytes, as published",
            "RAM (GB)": "memory of the host, as published",
            "VRAM (GB)": "memory of the device, as published",
            "Speed-up (x)": "over what the source names",
            "Image (GFLOP)": "published work of a picture: 2 FLOPs per multiply-add / 10^9",
            "Text (GFLOP)": "the same of a text",
            "Closed form": "whether the work by closed form, on which verdicts rest, is the same",
            "Device": "the device that a verdict is held against",
            "At": "the type of the arithmetic",
            "TFLOP/s or TOPS": "the highest dense rate that the vendor publishes / 10^12",
            "GB/s": "the bandwidth that the vendor publishes",
            "Source": "where the vendor publishes it",
        },
    ),
}
