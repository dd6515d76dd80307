"""A backend of somebody else's under which the process dies, hangs or runs out of memory: every provider is one way."""

import ctypes
import os
import signal
import time

import numpy as np

from clip_bench.backends import Found, null
from clip_bench.specs import Device, Format, Precision, Target

FORMAT = Format.REPLAY
CHUNK = 64 << 20
AT_ONCE = "FATAL_AT_ONCE"  # a variable: who waits does not


def eaten(then=None):
    """Take memory until there is none, and end as Python does, or as a runtime in C++ may."""
    taken = []
    try:
        while True:
            taken.append(np.ones(CHUNK, np.uint8))
    except MemoryError:
        if then:
            then()
        raise


LOADS = {
    "aborts": os.abort,
    "hangs": lambda: time.sleep(1e6),
}
CALLS = {
    "segfaults": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "sticks": lambda: ctypes.PyDLL(None).sleep(10**6),  # with the interpreter's lock held
    "eats": eaten,
    "eats_on": lambda: eaten(then=os.abort),
    "good": lambda: None,
    "waits": lambda: time.sleep(0 if AT_ONCE in os.environ else 1e6),
    "wrong": lambda: None,
    "leaves": lambda: None,
}
TARGETS = {
    Target(backend="fatal", provider=each, device=Device.CPU): frozenset({Precision.FP32}) for each in (*LOADS, *CALLS)
}


def devices(settings):  # noqa: ARG001  the signature of the door
    """All are here."""
    return dict.fromkeys(TARGETS, Found(device="fatal 1"))


def load(artifact, target, options):
    """A session, or the end."""
    LOADS.get(target.provider, lambda: None)()
    return Session(null.load(artifact, target, options), target.provider)


class Session:
    """The null session with an end."""

    def __init__(self, session, provider):
        self.session, self.provider = session, provider
        self.placement = session.placement

    def run(self, feeds):
        """Answer, or end."""
        CALLS[self.provider]()
        factor = 0 if self.provider == "wrong" else 1
        return {name: rows * factor + 1 - factor for name, rows in self.session.run(feeds).items()}

    def close(self):
        """Let go, of the process too."""
        if self.provider == "leaves":
            os._exit(7)
