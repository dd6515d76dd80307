"""What commands measure goes to a file and back, whole; what does not fit is one clear line."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_bench import finding
from clip_bench.errors import UsageError

WORDS = st.text(st.characters(codec="utf-8"), max_size=20)
MACHINE = {"name": "a_machine", "cpu": "a chip"}


@pytest.mark.parametrize("kind", finding.Told.__args__, ids=lambda kind: kind.__name__.lower()[:4])
def test_what_is_written_is_read_again(kind, tmp_path_factory):
    path = tmp_path_factory.mktemp("kept") / "told.json"
    st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
    st.register_type_strategy(str, WORDS)

    @settings(max_examples=25)
    @given(st.from_type(kind))
    def again(told):
        path.write_text(finding.to_json(told, MACHINE), encoding="utf-8")
        found = finding.read(path)
        assert found.told == told
        assert (found.name, found.machine) == ("told", MACHINE)
        assert found.datetime.startswith("20")

    again()


def whole():
    told = finding.Retrieval(data="some", cases=())
    return json.loads(finding.to_json(told, MACHINE))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.pop("finding"), "no finding of a clip-bench command"),
        (lambda data: data.pop("machine_info"), "no finding of a clip-bench command"),
        (lambda data: data.update(schema=2), "schema 2, and this version reads 1"),
        (lambda data: data.update(machine_info={"clip_bench": []}), "schema 1"),
        (lambda data: data["finding"].update(kind="other"), "finding"),
        (lambda data: data["finding"].update(more=1), "finding.retrieval.more"),
        (lambda data: data["finding"].pop("data"), "finding.retrieval.data"),
        (lambda data: data["finding"].update(cases=3), "finding.retrieval.cases"),
    ],
    ids=list("abcdefgh"),
)
def test_what_does_not_fit_is_named(tmp_path, change, said):
    data, path = whole(), tmp_path / "told.json"
    change(data)
    path.write_text(json.dumps(data), encoding="utf-8")

    with pytest.raises(UsageError, match=said) as error:
        finding.read(path)

    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize("content", ["", "[", "[]", "3", "null", "{}"], ids=list("abcdef"))
def test_what_is_no_such_file_is_refused(tmp_path, content):
    path = tmp_path / "told.json"
    path.write_text(content, encoding="utf-8")

    with pytest.raises(UsageError, match="of a clip-bench command"):
        finding.read(path)


def test_a_file_that_is_gone_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"gone.json: cannot be read \(No such file or directory\)"):
        finding.read(tmp_path / "gone.json")
