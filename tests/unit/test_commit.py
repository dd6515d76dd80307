"""A run says whether the checkout that measured it had changes: those that are made from runs are none."""

import subprocess

import pytest

SOURCE, PAGE, RUN = "clip_bench/a.py", "reports/machine/README.md", "reports/machine/run.json"


@pytest.fixture
def commit_info(pytestconfig):
    """What a run would say of the checkout in the current folder."""
    return lambda: pytestconfig.hook.pytest_benchmark_generate_commit_info(config=pytestconfig)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (SOURCE, PAGE, RUN):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("as committed", encoding="utf-8")
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    for words in (("init", "--quiet"), ("add", "."), (*author, "commit", "--quiet", "--message", "one")):
        subprocess.run(["git", *words], check=True)  # noqa: S603, S607  git, as users have it
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "dirty"),
    [([], False), ([PAGE], False), ([SOURCE], True), ([RUN], True), ([PAGE, SOURCE], True)],
    ids=["none", "page", "source", "run", "both"],
)
def test_a_checkout_has_changes_where_more_than_a_page_was_made_anew(commit_info, checkout, changed, dirty):
    for name in changed:
        (checkout / name).write_text("another", encoding="utf-8")
    (checkout / "reports" / "new.json").write_text("not of git", encoding="utf-8")

    assert commit_info()["dirty"] is dirty
