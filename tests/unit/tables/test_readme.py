"""README shows what was measured."""

import importlib.util
from pathlib import Path

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("regenerate", HERE / "regenerate.py")
regenerate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(regenerate)


def test_readme_holds_the_tables_of_the_run_that_it_names():
    readme = (regenerate.ROOT / "README.md").read_text(encoding="utf-8")

    assert regenerate.SHOWN.search(readme), "README names no run"
    assert readme == regenerate.with_tables(readme), "run: python tests/unit/tables/regenerate.py"
