"""The clip-bench command: list, compile, report, and look at what the times are worth."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Mapping, Sequence

from clip_bench import plain
from clip_bench.commands import (
    Command,
    archive,
    audit,
    best,
    cache,
    ceilings,
    compare,
    compile,  # noqa: A004
    doctor,
    embed,
    evaluate,
    gates,
    history,
    index,
    listing,
    preprocess,
    report,
    retrieval,
    run,
    score,
    timings,
    tokens,
    topk,
    verify,
)
from clip_bench.errors import ClipBenchError

COMMANDS: Mapping[str, Command] = {
    "list": listing,
    "run": run,
    "compile": compile,
    "embed": embed,
    "doctor": doctor,
    "ceilings": ceilings,
    "preprocess": preprocess,
    "report": report,
    "verify": verify,
    "archive": archive,
    "compare": compare,
    "history": history,
    "best": best,
    "timings": timings,
    "audit": audit,
    "gates": gates,
    "score": score,
    "evaluate": evaluate,
    "topk": topk,
    "tokens": tokens,
    "retrieval": retrieval,
    "index": index,
    "cache": cache,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; a deliberate error is one line on stderr and exit status 2."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if hasattr(options, "pytest"):
        options.pytest = rest
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if isinstance(sys.stdout, io.TextIOWrapper):  # names have letters that this terminal's encoding may lack
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except ClipBenchError as exc:
        return _failed(str(exc))
    except KeyboardInterrupt:
        _failed("interrupted; what is written is kept")
        return 128 + signal.SIGINT
    except BrokenPipeError:  # as of `| head`; Python flushes once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as exc:  # a full disk, a folder that may not be read: the file is named by the system
        named = " and ".join(
            os.fsdecode(each) for each in (exc.filename, exc.filename2) if isinstance(each, str | bytes)
        )
        return _failed(f"{named or 'a file'}: {exc.strerror or exc}; give one that can be read and written")
    return status


def _failed(message: str) -> int:
    """Say on stderr what is wrong, in one line; the exit status."""
    sys.stderr.write(f"clip-bench: {plain.line(message)}\n")
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="clip-bench", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        own = commands.add_parser(name, help=command.HELP)
        command.add(own)
        own.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
