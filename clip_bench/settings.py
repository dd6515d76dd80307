"""What a user set for a run: the checked values of its options."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clip_bench import machine, store
from clip_bench.errors import UsageError
from clip_bench.options import DATA, OPTIONS, SWEEP
from clip_bench.specs import Inputs, Load, Pattern, Rewrite, Tower
from clip_bench.timing import percentiles

LEAST_SAMPLES = 2
CALIBRATION = re.compile(r"(minmax|percentile|entropy)_[1-9]\d*")
OPTION = re.compile(r"(?P<name>[a-z0-9_]+)\.(?P<key>\w+)=(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The checked options; ``cache`` is the store's folder.

    ``samples`` is None where the user leaves it to the case. ``options`` are names, keys and values. ``batches`` is
    empty for the sweep, which is another one for each tower. ``data_kind`` is one of ``options.DATA``, or empty;
    ``data_root`` is where the pictures lie, if not at ``data``.
    """

    models: tuple[str, ...]
    full: bool
    samples: int | None
    data: Path | None
    weights: Path | None
    threads: int
    rounds: int
    cache: Path
    calibrations: tuple[str, ...] = ()
    rewrites: tuple[tuple[Rewrite, ...], ...] = ()
    options: tuple[tuple[str, str, str], ...] = ()
    batches: tuple[int, ...] = (1,)
    loads: tuple[Load, ...] = (Load(),)
    percentiles: tuple[float, ...] = percentiles.SHOWN
    paired: bool = False
    roofline: bool = False
    data_kind: str = ""
    data_root: Path | None = None

    @property
    def by_name(self) -> Mapping[str, Mapping[str, str]]:
        """The options: values by name and key."""
        names = {name for name, _, _ in self.options}
        return {name: {key: value for owner, key, value in self.options if owner == name} for name in names}

    def batches_of(self, tower: Tower) -> tuple[int, ...]:
        """Samples per call, one cell for each; a pair is always one picture with its texts."""
        chosen = self.batches or SWEEP.get(tower, (1,))
        return tuple(batch for batch in chosen if batch == 1) if tower is Tower.PAIR else chosen


def defaults() -> dict[str, Any]:
    """What ``options.OPTIONS`` are where none is given."""
    return {
        flag.removeprefix("--").replace("-", "_"): told.get("default", False if "action" in told else None)
        for flag, told in OPTIONS
    }


def checked(options: Mapping[str, Any]) -> Settings:
    """Settings from parsed options; those of ``options.LOADS`` and ``options.TIMING`` may be left out.

    Raises:
        UsageError: a number is too small, a path does not exist, or an option is not of its form.
    """
    if options["samples"] is not None and options["samples"] < LEAST_SAMPLES:
        msg = f"--samples {options['samples']}: at least {LEAST_SAMPLES}"
        raise UsageError(msg)
    threads = machine.cores() if options["threads"] is None else options["threads"]
    if threads < 1:
        msg = f"--threads {threads}: at least 1"
        raise UsageError(msg)
    kind, data = _data(options["data"])
    for name, path in (("weights", options["weights"]), ("data-root", options.get("data_root"))):
        if path is not None and not path.exists():
            msg = f"--{name} {path}: no such file or folder"
            raise UsageError(msg)
    return Settings(
        models=tuple(options["model"]),
        full=options["full"],
        samples=options["samples"],
        data=data,
        data_kind=kind,
        data_root=options.get("data_root"),
        weights=options["weights"],
        threads=threads,
        rounds=_rounds(str(options["rounds"])),
        cache=store.default_root(),
        calibrations=_calibrations(options["calibration"]),
        rewrites=_rewrites(options.get("rewrite") or []),
        options=_options(options["option"], options["tpu_mlir_python"]),
        batches=_batches(options.get("batch") or []),
        loads=_loads({"load": [], "inputs": Inputs.CACHED, **options}),
        percentiles=percentiles.parse(options["percentiles"]) if options.get("percentiles") else percentiles.SHOWN,
        paired=options.get("paired", False),
        roofline=options.get("roofline", False),
    )


def _data(given: str | None) -> tuple[str, Path | None]:
    """The data set's name, empty where none is given, and its path."""
    if given is None:
        return "", None
    name, colon, rest = str(given).partition(":")
    kind, path = (name, Path(rest)) if colon and rest and name in DATA else ("", Path(given))
    if not path.exists():
        known = f"; NAME:PATH takes {', '.join(DATA)}" if colon and not kind else ""
        msg = f"--data {given}: no such file or folder{known}"
        raise UsageError(msg)
    return kind, path


def _rounds(text: str) -> int:
    """A number of calls, or what a percentile takes to be proven: ``p99``."""
    match = re.fullmatch(r"(?P<kind>p?)(?P<number>\d+(\.\d+)?)", text)
    if match and match["kind"]:
        return percentiles.needed(float(match["number"]))
    if match is None or not text.isdecimal() or int(text) < 1:
        msg = f"--rounds {text}: a number of calls, at least 1, or a percentile to prove, such as p99"
        raise UsageError(msg)
    return int(text)


def _numbers(flag: str, text: str, least: int) -> tuple[int, ...]:
    """``1,2,8`` or ``1-4``, each once."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or int(first) < least:
            msg = f"{flag} {text}: a number of at least {least}, several such as 1,2, or a range such as 1-4"
            raise UsageError(msg)
        found += range(int(first), int(last or first) + 1)
    if not found:
        msg = f"{flag} {text}: a range begins with its smaller number"
        raise UsageError(msg)
    return tuple(dict.fromkeys(found))


def _batches(given: Sequence[str]) -> tuple[int, ...]:
    if "sweep" in given:
        if len(given) > 1:
            msg = "--batch sweep: give it alone, or the numbers that you want"
            raise UsageError(msg)
        return ()
    return tuple(dict.fromkeys(size for text in given for size in _numbers("--batch", text, 1))) or (1,)


def _loads(options: Mapping[str, Any]) -> tuple[Load, ...]:
    patterns = tuple(dict.fromkeys(map(Pattern, options["load"]))) or (Pattern.LATENCY,)
    given = {flag: options.get(flag) for flag in ("instances", "queue", "device_ids")}
    ids = _numbers("--device-ids", given["device_ids"] or "0", 0)
    inputs = Inputs(options["inputs"])
    for flag in ("instances", "queue"):
        if given[flag] is not None and Pattern.THROUGHPUT not in patterns:
            msg = f"--{flag} {given[flag]}: add --load throughput; a latency is that of one request at a time"
            raise UsageError(msg)
    if len(ids) > 1 and Pattern.LATENCY in patterns:
        msg = f"--device-ids {given['device_ids']}: one request at a time has one device; add --load throughput"
        raise UsageError(msg)
    many = [
        Load(pattern=Pattern.THROUGHPUT, instances=instances, queue=queue, device_ids=ids, inputs=inputs)
        for instances in _numbers("--instances", given["instances"] or "1", 1)
        for queue in _numbers("--queue", given["queue"] or "1", 0)
    ]
    one = Load(device_ids=ids, inputs=inputs)
    return tuple(load for pattern in patterns for load in (many if pattern is Pattern.THROUGHPUT else [one]))


def _calibrations(given: Sequence[str]) -> tuple[str, ...]:
    for text in given:
        if not CALIBRATION.fullmatch(text):
            msg = f"--calibration {text}: a method and a number of rows, such as minmax_100, percentile_200, entropy_12"
            raise UsageError(msg)
    return tuple(dict.fromkeys(given))


def _rewrites(given: Sequence[str]) -> tuple[tuple[Rewrite, ...], ...]:
    """Each once, in the order of :class:`Rewrite`."""
    for text in given:
        if unknown := set(text.split("+")) - set(Rewrite):
            msg = f"--rewrite {text}: no rewrite {min(unknown)!r}; there are {', '.join(Rewrite)}, joined by +"
            raise UsageError(msg)
    return tuple(dict.fromkeys(tuple(each for each in Rewrite if each in text.split("+")) for text in given))


def _options(given: Sequence[str], tpu_mlir_python: str | None) -> tuple[tuple[str, str, str], ...]:
    """The last value of each name and key."""
    found = {}
    for text in given:
        match = OPTION.fullmatch(text)
        if match is None:
            msg = f"--option {text}: NAME.KEY=VALUE, such as qnn.soc=SM8650; clip-bench list shows all there are"
            raise UsageError(msg)
        found[match["name"], match["key"]] = match["value"]
    if tpu_mlir_python is not None:
        found["sophon", "tpu_mlir_python"] = tpu_mlir_python
    return tuple((name, key, value) for (name, key), value in found.items())
