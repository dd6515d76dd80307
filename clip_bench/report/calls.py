"""What one call is, in words: tables of unlike calls stand apart, and each says which is its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from clip_bench.plain import plural
from clip_bench.report.blocks import alike, has
from clip_bench.report.columns import TOWERS, Row

# Of a call; image size and tokens belong to the model.
SETTING = ("batch", "texts", "inside_clock", "threads", "load", "instances", "device_ids", "queue", "inputs", "fed")

FED = {
    "trimmed": "Texts are trimmed: a call ends with its longest text, and the timed ones are of the commonest length.",
    "folded": "Pictures come as 8-bit pixels, and are normalised inside.",
}


def split(rows: Iterable[Row], setting: Sequence[str] = SETTING) -> list[list[Row]]:
    """Rows of one tower and one kind of call, which is told by *setting*, towers in their order."""
    return sorted(alike(rows, ("tower", *setting)), key=lambda group: rank(group[0]["tower"]))


def rank(tower: str) -> int:
    """The place of *tower* among all."""
    return [*TOWERS, tower].index(tower)


def heading(rows: Sequence[Row]) -> str:
    """What stands over a table of one kind of call: its tower, and the batch and the load where they are not plain."""
    first = rows[0]
    return ", ".join(filter(None, (f"{TOWERS.get(first['tower'], first['tower'])} Model", brief(first))))


def brief(row: Row) -> str:
    """The batch and the load in a few words; empty for one sample at a time."""
    if pd.isna(row["batch"]):
        return ""
    told = {
        f"batch {row['batch']}": row["batch"] != 1,
        f"{plural(int(row['instances']), 'instance')}, queue {row['queue']}": row["load"] != "latency",
        f"device {row['device_ids']}": row["device_ids"] != "0",
        "fresh inputs": row["inputs"] != "cached",
        row["fed"].replace("-", " and "): bool(row["fed"]),
    }
    return ", ".join(words for words, holds in told.items() if holds)


def describe(rows: Sequence[Row], *, scores: bool = False) -> str:
    """What one call is, and what its time contains; with *scores*, how many samples the accuracies are over."""
    first = rows[0]
    if pd.isna(first["batch"]):
        return "What one call was is not recorded."
    pixels, tokens = _told(rows, "image_size", "px"), _told(rows, "sequence", "tokens")
    batch, texts = int(first["batch"]), int(first["texts"])
    images = f"{plural(batch, 'image')} ({pixels})"
    contents = {"image": images, "text": f"{plural(batch, 'text')} ({tokens})"}
    what = contents.get(first["tower"], f"{images} and {plural(texts, 'text')} ({tokens})")
    inside = first["inside_clock"] or "not recorded"
    sentence = f"One call is {what}, on {_threads(rows)}. Inside the clock: {inside}."
    fed = (told for word, told in FED.items() if word in first["fed"])
    return " ".join(filter(None, (sentence, *fed, _load(first), _scored(rows) if scores else "")))


def _threads(rows: Sequence[Row]) -> str:
    """How many threads; of machines that differ in it, from how many to how many."""
    least, most = (int(pick(row["threads"] for row in rows)) for pick in (min, max))
    if least != most:
        return f"{least} to {most} threads, as each machine ran it"
    return plural(least, "thread") if least else "the runtime's own choice of threads"


def _load(row: Row) -> str:
    """How requests arrive; empty where one at a time does, to the first device."""
    where = "" if row["device_ids"] == "0" else f" on device {row['device_ids']}"
    if row["load"] == "latency":
        return f"It runs{where}." if where else ""
    many, waiting = plural(int(row["instances"]), "instance"), int(row["queue"])
    each = f"{waiting} more waiting" if waiting else "none waiting"
    return f"Under load: {many}{where or ' on device 0'}, each with one request that it executes and {each}."


def _scored(rows: Sequence[Row]) -> str:
    """What the accuracies are over; empty where there are none."""
    scored = [row for row in rows if has(row, "samples")]
    if not scored:
        return ""
    unlike = "" if len({row["data"] for row in scored}) == 1 else ", unlike data for each model: do not compare models"
    return f"Accuracy is over {_told(scored, 'samples', 'samples')}{unlike}."


def _told(rows: Sequence[Row], name: str, unit: str) -> str:
    """A size that belongs to the model: once where all agree, else for each model; empty where none has it."""
    sizes: dict[str, dict[str, None]] = {}
    for row in rows:
        if not pd.isna(row[name]):
            sizes.setdefault(row["model"], {})[str(row[name])] = None
    by_model = {model: " or ".join(several) for model, several in sizes.items()}
    if len(set(by_model.values())) <= 1:
        return "".join(f"{size} {unit}" for size in set(by_model.values()))
    return ", ".join(f"{model} {size} {unit}" for model, size in by_model.items())
