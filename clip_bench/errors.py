"""Every error that clip_bench raises on purpose.

* ClipBenchError
  - UsageError          an option, name or file from the user is not usable: the message says what would be
  - UnavailableError    this machine lacks the device, the package or the weights: the cell is skipped
  - UnsupportedError    the runtime cannot express this graph at this precision: an error, unless a known gap
  - PlacementError      the runtime ran elsewhere than asked: always an error
  - CorruptError        bytes differ from their recorded hash
  - StoreError          the cache cannot be used: full, read-only where something is missing, without locks
"""

from __future__ import annotations


class ClipBenchError(Exception):
    """Base of every deliberate error; its message is one line that says what to do next."""


class UsageError(ClipBenchError):
    """An option, a name or a file that the user gave cannot be used."""


class UnavailableError(ClipBenchError):
    """This machine cannot run the cell; the message says what to install or fetch."""


class UnsupportedError(ClipBenchError):
    """The runtime cannot express this graph at this precision."""


class PlacementError(ClipBenchError):
    """The runtime placed work on a device that was not asked for."""


class CorruptError(ClipBenchError):
    """Bytes on disk or from the network differ from the hash they should have."""


class StoreError(ClipBenchError):
    """The cache folder cannot be written, locked or filled; the message names it and says what to do."""
