"""Put what runners measured beside the reports that are committed: ``python .ci/merge.py FOLDER``.

FOLDER has, at any depth, the JSON files that lay under a runner's reports/, each in the folder of its machine: GitHub gives
each of several runners a folder of its own, and a single one none. What is committed stays as it is.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

REPORTS = Path(__file__).parents[1] / "reports"
WORDS = 2  # of the command


def main() -> None:
    """A line for each new file, or an exit that says what is wrong."""
    if len(sys.argv) != WORDS:
        sys.exit("name the folder of what runners measured: python .ci/merge.py FOLDER")
    try:
        added = merge(Path(sys.argv[1]), REPORTS)
    except ValueError as exc:
        sys.exit(str(exc))
    sys.stdout.writelines(f"{path}\n" for path in added)
    sys.stdout.write(f"{len(added)} new\n")


def merge(folder: Path, reports: Path) -> list[Path]:
    """Copy each ``MACHINE/NAME.json`` in *folder* that *reports* has not; the copies.

    Raises:
        ValueError: there is no such file, or two of one name differ; nothing was copied.
    """
    new: dict[Path, Path] = {}
    measured = [path for path in sorted(folder.rglob("*.json")) if path.parent != folder]
    if not measured:
        msg = f"{folder}: no runner has left a MACHINE/NAME.json there; its job tells why"
        raise ValueError(msg)
    for path in measured:
        target = reports / path.parent.name / path.name
        there = new.get(target, target)
        if not there.exists():
            new[target] = path
        elif there.read_bytes() != path.read_bytes():
            msg = f"{path} differs from {there}: a run has one file, which nothing changes; measure it again"
            raise ValueError(msg)
    for target, path in new.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return list(new)


if __name__ == "__main__":
    main()
