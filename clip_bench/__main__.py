"""The clip-bench command: list, compile, report, and look at what the times are worth."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clip_bench.errors import ClipBenchError, UsageError

if TYPE_CHECKING:
    from clip_bench.backends import Backend


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; a deliberate error is one line on stderr and exit status 2."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except ClipBenchError as exc:
        sys.stderr.write(f"clip-bench: {exc}\n")
        return 2
    except BrokenPipeError:  # as of `| head`; Python flushes once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def _parser() -> argparse.ArgumentParser:
    from clip_bench.settings import LOADS, OPTIONS
    from clip_bench.specs import Precision

    parser = argparse.ArgumentParser(prog="clip-bench", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="every case and every device: will it run here, or why not")
    listing.add_argument("--devices", action="store_true", help="list devices and options alone, not every case")
    for flag, attributes in (*OPTIONS, *LOADS):
        listing.add_argument(flag, **attributes)
    listing.set_defaults(run=_list)
    compiling = commands.add_parser("compile", help="compile for chips that are not here, and check on their emulator")
    for flag, attributes in OPTIONS:
        compiling.add_argument(flag, **attributes)
    chip = compiling.add_mutually_exclusive_group(required=True)
    chip.add_argument(
        "--soc", action="append", metavar="CHIP", help="context binaries for a Qualcomm chip, such as SC8380XP"
    )
    chip.add_argument(
        "--trtrtx", action="append", metavar="SM", help="TensorRT for RTX's engines, such as SM89: built, and never run"
    )
    chip.add_argument("--bm1684x", action="store_true", help="SOPHON's bmodels, by --tpu-mlir-python")
    compiling.add_argument(
        "--precision",
        action="append",
        choices=("fp32", "fp16", "int8_qdq", "a16w8"),
        help="may be repeated, as --soc and --trtrtx may (default: a16w8 for --soc, else fp16)",
    )
    compiling.add_argument(
        "--batch", action="append", type=int, metavar="N", help="pictures of a bmodel: 1, 8, 16, 32 (default: 1)"
    )
    compiling.add_argument(
        "-o", "--out", type=Path, default=Path("compiled"), help="folder to write (default: compiled)"
    )
    compiling.set_defaults(run=_compile)
    doctor = commands.add_parser("doctor", help="what stands in the way of believable times here, now")
    doctor.add_argument(
        "--seconds", type=float, default=2.0, metavar="N", help="how long to watch (default: %(default)s)"
    )
    doctor.add_argument("--strict", action="store_true", help="exit status 1 where there is a warning")
    doctor.set_defaults(run=_doctor)
    ceilings = commands.add_parser("ceilings", help="how fast a runtime here can multiply, and memory can be read")
    for flag, attributes in OPTIONS:
        ceilings.add_argument(flag, **attributes)
    ceilings.add_argument("--device", action="append", choices=("cpu", "gpu", "npu"), help="(default: what is here)")
    ceilings.add_argument("--precision", action="append", choices=tuple(map(str, Precision)), help="(default: all)")
    ceilings.set_defaults(run=_ceilings)
    report = commands.add_parser("report", help="make the tables from the JSON files of runs, without any runtime")
    report.add_argument(
        "runs", nargs="*", type=Path, metavar="JSON", help="run files, or folders of them (default: reports)"
    )
    report.add_argument("-o", "--out", type=Path, default=Path("reports"), help="folder to write (default: reports)")
    report.set_defaults(run=_report)
    timings = commands.add_parser("timings", help="what anybody's raw timings are worth: proven percentiles, stability")
    timings.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="a JSON list, pytest-benchmark's JSON, or a number per line"
    )
    timings.add_argument(
        "--percentiles", default="50,90,95,99", metavar="P,P", help="in percent (default: 50,90,95,99)"
    )
    timings.add_argument("--batch", type=int, default=1, metavar="N", help="samples per call (default: 1)")
    timings.add_argument("--unit", choices=("s", "ms", "us", "ns"), default="s", help="of lists and lines (default: s)")
    timings.set_defaults(run=_timings)
    auditing = commands.add_parser("audit", help="hold published times against what the named hardware can do at most")
    auditing.add_argument("published", type=Path, metavar="CSV", help="rows that others published")
    auditing.set_defaults(run=_audit)
    return parser


def _list(options: argparse.Namespace) -> int:
    from dataclasses import replace

    from clip_bench import backends, matrix, settings

    chosen, found = settings.checked(vars(options)), backends.discover()
    planned = {case.id for case in matrix.cells(chosen, found)}
    lacking, ready = matrix.lacking(chosen, found), 0
    for case in matrix.cells(replace(chosen, full=True), found):
        reason = lacking(case)
        ready += not reason
        state = f"not here: {reason}" if reason else "will run" if case.id in planned else "will run with --full"
        if not options.devices:
            sys.stdout.write(f"{case.id}  {state}\n")
    _tell_devices(found, chosen.by_name)
    sys.stdout.write(f"{ready} cells can run here; {len(planned)} are in this selection\n")
    return 0


def _tell_devices(found: Mapping[str, Backend], given: Mapping[str, Mapping[str, str]]) -> None:
    """A line per target: the device that was found, or what to install or plug in; then the options there are."""
    from clip_bench import backends

    for backend in found.values():
        for target, here in backends.found(backend, given).items():
            state = f"not here: {here.missing}" if here.missing else f"here: {here.device}"
            sys.stdout.write(f"device {target}  {state}\n")
    for backend in found.values():
        for name, keys in backends.options_of(backend).items():
            for key, meaning in keys.items():
                sys.stdout.write(f"option {name}.{key}  {meaning}\n")


def _compile(options: argparse.Namespace) -> int:
    from clip_bench import offline, settings

    chosen = settings.checked({**vars(options), "batch": []})
    if options.bm1684x and options.precision not in (None, ["fp16"]):
        msg = "--bm1684x compiles in fp16 alone: leave --precision out"
        raise UsageError(msg)
    if options.batch and not options.bm1684x:
        msg = "--batch is for --bm1684x: every other file takes one picture or text"
        raise UsageError(msg)
    if options.bm1684x:
        return _tell(offline.bmodels(chosen, options.batch or [1], options.out))
    if options.trtrtx:
        return _tell(offline.engines(chosen, options.trtrtx, options.precision or ["fp16"], options.out))
    failed = False
    for made in offline.for_chips(chosen, options.soc, options.precision or ["a16w8"], options.out):
        failed = failed or bool(made.failures)
        _tell([str(made)])
    return int(failed)


def _tell(lines: Iterable[str]) -> int:
    """Print each line as it comes."""
    for line in lines:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from clip_bench import doctor

    found = doctor.findings(doctor.look(options.seconds))
    _tell(map(str, found))
    return int(options.strict and any(each.level is doctor.Level.WARN for each in found))


def _ceilings(options: argparse.Namespace) -> int:
    from clip_bench import backends, ceilings, settings
    from clip_bench.specs import Device, Precision

    chosen, runtimes = settings.checked(vars(options)), backends.discover()
    here = ceilings.here(chosen, runtimes)
    devices = map(Device, options.device) if options.device else {device for device, _ in here}
    precisions = [Precision(word) for word in options.precision or ()]
    wanted = {(device, each) for device in devices for each in precisions or {each for d, each in here if d is device}}
    found = ceilings.measure(chosen, runtimes, wanted, _tell_apart)
    return _tell(ceilings.table(found))


def _tell_apart(line: str) -> None:
    """Print a line of progress, where it is no part of what is asked for."""
    sys.stderr.write(f"{line}\n")


def _report(options: argparse.Namespace) -> int:
    from clip_bench.report import pages

    for path in pages.write(options.runs or [Path("reports")], options.out):
        sys.stdout.write(f"{path}\n")
    return 0


def _timings(options: argparse.Namespace) -> int:
    from clip_bench.report import timings
    from clip_bench.timing import percentiles

    chosen = percentiles.parse(options.percentiles)
    sys.stdout.write(timings.table(options.files, unit=options.unit, percentiles=chosen, batch=options.batch))
    return 0


def _audit(options: argparse.Namespace) -> int:
    from clip_bench.report import audit

    sys.stdout.write(audit.page(audit.read(options.published)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
