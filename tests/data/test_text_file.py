"""Texts in a file: read line by line, labelled by name or number, compared at their own lengths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from keeprate import KeeprateError
from keeprate.plugins.parameters import build
from keeprate_datasets.text_file import TextFile

NAMES = ("negative", "positive")


def bound(file: Path, names: Sequence[str] | None = NAMES, **parameters: object) -> TextFile:
    data = TextFile(file, **parameters)
    data.bind(len(NAMES), names)
    return data


def written(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_bytes(text.encode())
    return file


FILES = {
    "reviews.csv": (
        'text,stars,label\ngood,5,positive\n"bad,\nvery bad",1,negative\n\nfine,4,positive\n'
    ),
    "reviews.tsv": "text\tlabel\ngood\tpositive\nbad\tnegative\nfine\tpositive\n",
    "reviews.jsonl": (
        '{"text": "good", "label": "positive"}\n\n'
        '{"label": "negative", "text": "bad\u2028", "id": 7}\n{"text": "fine", "label": "positive"}'
    ),
}


@pytest.mark.parametrize(("name", "content"), FILES.items(), ids=FILES.keys())
def test_a_row_is_a_sample_named_by_its_line(tmp_path: Path, name: str, content: str) -> None:
    data = bound(written(tmp_path, name, "\ufeff" + content))
    lines = {"reviews.csv": [2, 3, 6], "reviews.tsv": [2, 3, 4], "reviews.jsonl": [1, 3, 4]}[name]
    assert [sample.id for sample in data.samples()] == [f"line-{line:07d}" for line in lines]
    assert [sample.label for sample in data.samples()] == [1, 0, 1]
    assert (data.text(0), data.text(2)) == ("good", "fine")
    assert data.text(1).startswith("bad")
    assert data.bad_samples() == {}
    with pytest.raises(KeeprateError, match="Data set 'text-file' has texts, no images"):
        data.image(0)


def test_columns_and_numbers_are_taken_as_asked_for(tmp_path: Path) -> None:
    file = written(tmp_path, "a.jsonl", '{"body": "good", "y": 1}\n{"body": "bad", "y": "0"}\n')
    data = bound(file, text_column="body", label_column="y")
    assert [sample.label for sample in data.samples()] == [1, 0]
    assert [data.text(0), data.text(1)] == ["good", "bad"]
    given = {"": str(file), "text_column": "body", "label_column": "y", "max_length": "9"}
    assert build("data set", TextFile, given).max_length == 9


def test_names_that_are_numbers_are_names_where_all_labels_are(tmp_path: Path) -> None:
    stars = written(tmp_path, "stars.csv", "text,label\na,1\nb,2\n")
    indices = written(tmp_path, "indices.csv", "text,label\na,1\nb,0\n")
    assert [sample.label for sample in bound(stars, ("1", "2")).samples()] == [0, 1]
    assert [sample.label for sample in bound(indices, ("1", "2")).samples()] == [1, 0]


def test_a_label_that_names_several_classes_is_refused_and_indices_are_not(tmp_path: Path) -> None:
    names = written(tmp_path, "names.csv", "text,label\na,y\nb,x\n")
    with pytest.raises(KeeprateError, match=r"Line 3 of .*'x' names several classes .* \(0, 2\)"):
        bound(names, ("x", "y", "x"))
    indices = written(tmp_path, "indices.csv", "text,label\na,1\nb,0\n")
    assert [sample.label for sample in bound(indices, ("x", "x")).samples()] == [1, 0]
    # a name given twice that no row has does no harm
    assert [sample.label for sample in bound(names, ("x", "y", "z", "z")).samples()] == [1, 0]


@pytest.mark.parametrize("name", ["a.tsv", "a.jsonl"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ending", ["\r\n", "\r", "\n\n"])
def test_tables_are_read_as_any_editor_saves_them(
    name: str, encoding: str, ending: str, tmp_path: Path
) -> None:
    lines = ["text\tlabel", "gut\tpositive", "öde\tnegative", ""]
    if name == "a.jsonl":
        lines = ['{"text": "gut", "label": 1}', '{"text": "öde", "label": 0}', ""]
    (tmp_path / name).write_bytes(ending.join(lines).encode(encoding))
    data = bound(tmp_path / name)
    assert [data.text(0), data.text(1)] == ["gut", "öde"]
    assert [sample.label for sample in data.samples()] == [1, 0]


def test_empty_texts_are_bad_samples_and_another_text_is_another_data_set(tmp_path: Path) -> None:
    data = bound(written(tmp_path, "a.csv", 'text,label\n"  ",positive\ngood,positive\n'))
    assert data.bad_samples() == {"line-0000002": "empty text"}
    other = bound(written(tmp_path, "b.csv", 'text,label\n"  ",positive\ndull,positive\n'))
    assert data.fingerprint() != other.fingerprint()


MISTAKES = {
    "a.csv": [
        ("text,label\n", "'a.csv' has no row"),
        ("", "'a.csv' has no row"),
        ("txt,label\na,positive\n", "No column 'text' on line 2 of 'a.csv'. Did you mean 'txt'?"),
        ("text,label\na,positive,1\n", "Line 2 of 'a.csv' has 3 values for 2 columns"),
        ('text,label\n"a" b,positive\n', "Line 2 of 'a.csv': ',' expected after '\"'"),
        (
            "text,label\na,positiv\n",
            "Line 2 of 'a.csv': label 'positiv' is no class of the",
        ),
        ("text,label\na,1\nb,2\n", "Line 3 of 'a.csv': label '2' is no class of the model"),
        ("text,label\na,1\nb,positive\n", "Line 3 of 'a.csv': label 'positive' is no number from "),
    ],
    "a.jsonl": [
        ('{"text": "a", "label": 0}\n{"text": \n', "Line 2 of 'a.jsonl' is not JSON"),
        ('["a", 0]\n', "Line 1 of 'a.jsonl' is no JSON object"),
        ('{"text": "a"}\n', "No column 'label' on line 1 of 'a.jsonl'"),
        ('{"text": "a", "label": true}\n', "label must be text or a whole number, not True"),
        ('{"text": null, "label": 1}\n', "text must be text or a whole number, not None"),
    ],
    "a.txt": [("good\n", "none of .csv, .tsv, .jsonl, .ndjson")],
}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [(name, *case) for name, cases in MISTAKES.items() for case in cases],
)
def test_a_mistake_is_told_with_its_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    content: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, name, content)
    with pytest.raises(KeeprateError) as refused:
        bound(Path(name))
    assert message in str(refused.value)


def test_missing_files_and_other_encodings_are_told(tmp_path: Path) -> None:
    with pytest.raises(KeeprateError, match=r"No file '.*nowhere\.csv'"):
        bound(tmp_path / "nowhere.csv")
    (tmp_path / "latin.csv").write_bytes(b"text,label\ngood,positive\nd\xe9j\xe0,negative\n")
    with pytest.raises(KeeprateError, match=r"Line 3 of '.*latin\.csv' is not UTF-8"):
        bound(tmp_path / "latin.csv")
    with pytest.raises(KeeprateError, match="label '2' is no number from 0 to 1"):
        bound(written(tmp_path, "b.csv", "text,label\na,2\n"), names=None)
