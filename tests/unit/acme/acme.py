"""A backend of somebody else's, found by its entry point: it answers as the reference did, and breaks it in one way.

Every provider is one way. ``ACME_LOG`` names the file where it tells what it loaded and closed, ``ACME_DEVICES`` how
``devices()`` fails. It gives the machine a host name that must not leave it.
"""

import os
import platform
import socket
from pathlib import Path

import numpy as np

from clip_bench.backends import Found, Placement, null
from clip_bench.errors import PlacementError, UnavailableError, UnsupportedError
from clip_bench.specs import Device, Format, Precision, Target

FORMAT = Format.REPLAY
HOST = "a-host-of-mine.example"
platform.node = socket.gethostname = lambda: HOST

DIED = "the device is gone"
LOADS = {
    "absent": UnavailableError("install the acme driver"),
    "refused": UnsupportedError("acme knows no LayerNormalization"),
    "misplaced": PlacementError("acme ran 7 nodes elsewhere"),
    "exhausted": MemoryError("2 GiB asked"),
    "broken": RuntimeError("acme said\n  error 7"),
}
ANSWERS = {
    "constants": lambda rows, _: rows * 0 + 1,
    "nans": lambda rows, _: rows * np.nan,
    "one_nan": lambda rows, turn: rows * (np.nan if turn == 3 else 1),
    "strangers": lambda rows, turn: np.random.default_rng(turn).normal(size=rows.shape).astype(rows.dtype),
    "narrow": lambda rows, _: rows[..., :5],
    "doubled": lambda rows, _: np.concatenate([rows, rows]),
    "good": lambda rows, _: rows,
    "late": lambda rows, _: rows,
    "dying": lambda rows, _: rows,
    "nowhere": lambda rows, _: rows,
    "clingy": lambda rows, _: rows,
    "changed": lambda rows, turn: rows * (1 if turn > 1 else 1 + 1e-6),
    "drifting": lambda rows, turn: rows * (1 if turn < TIMED else 1 + 1e-6),
    "restless": lambda rows, turn: rows * (1 + 1e-6 * turn),
    **dict.fromkeys(["elsewhere", "unplaced", "shared", "delegated", "brainy", "moving"], lambda rows, _: rows),
}
PLACED = {
    "elsewhere": {"nodes": {"acme": 3, "host": 1}},
    "unplaced": {"nodes": {"acme": 0}},
    "shared": {"nodes": {"acme": 3, "host": 1}, "share": 0.25},
    "delegated": {"nodes": {"host": 4}, "share": 1.0},
    "brainy": {"dtypes": {"float32": 8, "bfloat16": 2}},
}
MOVED = {"shuffled": 5, "previous": -1}  # answers of the call so many places on
RENAMED = "renamed"
PROVIDERS = (*LOADS, *ANSWERS, *MOVED, RENAMED)
EMULATED = Target(backend="acme", provider="good", device=Device.EMULATED)
TARGETS = {
    **{Target(backend="acme", provider=each, device=Device.CPU): frozenset({Precision.FP32}) for each in PROVIDERS},
    EMULATED: frozenset({Precision.FP32}),
}
OPTIONS = {"good": {"speed": "how fast it answers"}}
ENDED = 2  # cells that end before all does
asked = []
TIMED = 38  # with 24 samples: the first call under the clock, after two that are compared and ten warm-ups
LATE = {"late": 3, "dying": TIMED}  # the call at which the device dies: while judged, and while timed
LAST = 5  # how often a session is asked where it runs: loaded, before the first call, after it, judged, and timed


def devices(settings):  # noqa: ARG001  the signature of the door
    """What its installation says of every target."""
    asked.append(True)
    match os.environ.get("ACME_DEVICES"):
        case "killed" if len(asked) > ENDED:
            os._exit(9)
        case "interrupted" if len(asked) > ENDED:
            raise KeyboardInterrupt
        case "killed" | "interrupted" | "failing":
            raise RuntimeError(DIED)
    return dict.fromkeys(TARGETS, Found(device="acme 1"))


def load(artifact, target, options):
    """A session that breaks as its provider says."""
    if target.provider in LOADS:
        raise LOADS[target.provider]
    tell("load", target)
    return Session(null.load(artifact, target, options), target)


def tell(what, target):
    """Leave a line for the test."""
    with Path(os.environ["ACME_LOG"]).open("a", encoding="utf-8") as stream:
        stream.write(f"{what} {target}\n")


class Session:
    """The null session with one thing changed."""

    def __init__(self, session, target):
        self.session, self.target, self.turn, self.asked = session, target, 0, 0

    def run(self, feeds):
        """Answer, somehow."""
        self.turn += 1
        provider = self.target.provider
        if self.turn == LATE.get(provider):
            raise RuntimeError(DIED)
        outputs = self.session.run(feeds)
        if provider == RENAMED:
            return {f"{name}_0": rows for name, rows in outputs.items()}
        if provider in MOVED:
            known = list(self.session.answers.values())
            return known[(self.turn - 1 + MOVED[provider]) % len(known)]
        return {name: ANSWERS[provider](rows, self.turn) for name, rows in outputs.items()}

    def placement(self):
        """Its provider's word."""
        if self.target.provider == "nowhere":
            raise PlacementError(DIED)
        self.asked += 1
        where = {"nodes": {"acme": 1}, "dtypes": {"float32": 1}, **PLACED.get(self.target.provider, {})}
        if self.target.provider == "moving" and self.asked == LAST:
            where["nodes"] = {"host": 1}
        return Placement(asked="acme", options={"home": str(Path("/home/somebody/acme.cfg").absolute())}, **where)

    def close(self):
        """Tell that it was closed."""
        tell("close", self.target)
        if self.target.provider == "clingy":
            raise RuntimeError(DIED)
