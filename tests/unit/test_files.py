"""Files are written whole, or stay as they are."""

import pytest

from clip_bench import files


def write(path, text, *, until=None):
    with files.whole(path) as partial:
        partial.write_text(text, encoding="utf-8")
        if until is not None:
            raise until


def test_a_file_is_there_once_it_is_whole_with_the_folders_above(tmp_path):
    path = tmp_path / "a" / "b" / "told.json"

    write(path, "one")
    write(path, "two")

    assert path.read_text(encoding="utf-8") == "two"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "stopped"]
)
def test_what_breaks_off_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path, error):
    path = tmp_path / "told.json"
    write(path, "one")

    with pytest.raises(type(error)):
        write(path, "two", until=error)

    assert path.read_text(encoding="utf-8") == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_what_lies_below_a_folder_is_in_order_and_what_is_hidden_is_not(tmp_path):
    for name in ("b/z.png", "b/a/y.txt", "a.png", ".x.png", ".git/x.png", "b/.a/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "linked").symlink_to(tmp_path / "b")

    assert files.below(tmp_path) == ["a.png", "b/a/y.txt", "b/z.png"]
