"""The text of a study: read with its lines, checked against its types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from keeprate.data.text_files import read_text
from keeprate.errors import KeeprateError
from keeprate.study.study_file import read_study_text
from keeprate.study.validate import validated
from keeprate.study.yaml_lines import read_document
from study_factory import content, told

UNREADABLE = {
    "empty": ("", "s.yaml:1: is empty. Write at least one key, as methods: [NAME]."),
    "comments": ("# nothing\n", "s.yaml:1: is empty. Write at least one key, as methods: [NAME]."),
    "list": ("\n- 1\n", "s.yaml:2: is no mapping. Write key: value lines."),
    "tab": ("methods:\n\t- a", "s.yaml:2: a tab cannot indent in YAML. Use spaces."),
    "colon": (
        "limit: 1\ndescription: a: b",
        "s.yaml:2: is not YAML: ': ' inside a value. Put quotes around it, or mend the indent.",
    ),
    "two": (
        "limit: 1\n---\nlimit: 2",
        "s.yaml:2: a second document begins here. One file holds one study: remove the '---'.",
    ),
    "control": ("limit: 1\nname: \x01", "s.yaml:2: character '\\x01' has no place in YAML."),
    "deep": ("[" * 5000, "s.yaml:1: is nested too deep."),
    "open": (
        "limit: 1\nmethods: [a,",
        "s.yaml:2: is not YAML: expected the node content, but found '<stream end>'. "
        "Put texts with special characters in quotes.",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("text", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_mapping_is_told_with_its_line(text: str, message: str) -> None:
    assert told(text) == [message]


def test_what_is_wrong_inside_does_not_hide_the_rest() -> None:
    assert told("limit: 1\nlimit: 2\n? [a]\n: b\nname: !!python/name:os.system x\nskip: 1") == [
        "s.yaml:2: limit: is given twice, first on line 1.",
        "s.yaml:3: a key must be a word.",
        "s.yaml:5: name: has the tag tag:yaml.org,2002:python/name:os.system. Write plain values.",
        "s.yaml:6: skip: is no key here. Did you mean 'skip_bad'?",
    ]


def test_aliases_that_never_end_are_refused() -> None:
    assert told("description: &a [*a]")[0] == "s.yaml:1: description.0: holds too much."
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
    )
    assert any(line.endswith("holds too much.") for line in told(bomb))


def test_an_alias_repeats_what_it_names() -> None:
    found = content("budgets: &b [65%, 80%]\nmethods:\n  - {name: a, budgets: *b}")
    assert found.methods is not None
    assert found.methods[0] is not None
    assert found.methods[0].budgets == ("65%", "80%")


def test_words_stay_words() -> None:
    read = read_document(
        "a: none\nb: I'-S\nc: on\nd: no\ne: 2024-01-01\nf: 1:30\ng: 65%\nh: 010\ni: true\n"
        "j: 1e-3\nk: -5\nl: .5\nm: ~\nn:\no: '1'\np: 0x10\n"
    )
    assert read.data == {
        "a": "none",
        "b": "I'-S",
        "c": "on",
        "d": "no",
        "e": "2024-01-01",
        "f": "1:30",
        "g": "65%",
        "h": "010",
        "i": True,
        "j": 0.001,
        "k": -5,
        "l": 0.5,
        "m": None,
        "n": None,
        "o": "1",
        "p": "0x10",
    }


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab'- :#"), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.slow
@given(data=st.dictionaries(st.text("abc%@'", min_size=1), PLAIN, min_size=1))
def test_what_a_writer_of_yaml_writes_is_read_back(data: dict[str, Any]) -> None:
    assert read_document(yaml.safe_dump(data)).data == data


@given(before=st.integers(0, 5), between=st.integers(0, 5))
def test_lines_are_those_of_keys_and_items(before: int, between: int) -> None:
    gap = "# more\n" * between
    text = "\n" * before + f"a:\n{gap}  - b: 1\n{gap}    c: 2\n{gap}  - 3\n"
    assert dict(read_document(text).lines) == {
        ("a",): before + 1,
        ("a", 0): before + between + 2,
        ("a", 0, "b"): before + between + 2,
        ("a", 0, "c"): before + 2 * between + 3,
        ("a", 1): before + 3 * between + 4,
    }


WRONG = {
    "limit: ten": "limit: must be a whole number, not 'ten'.",
    "limit: 0": "limit: must be greater than or equal to 1, not 0.",
    "limit: true": "limit: must be a whole number, not True.",
    "limit: 1.5": "limit: must be a whole number, not 1.5.",
    "seeds: 18446744073709551616": "seeds: must be from -9223372036854775808 to "
    "9223372036854775807, not 18446744073709551616.",
    "workers: 100000": "workers: must be from 0 to 1024, not 100000.",
    "skip_bad: perhaps": "skip_bad: must be true or false, not 'perhaps'.",
    "precision: 8": "precision: No precision '8'. Known: 16-mixed, 16-true, 32-true, 64-true, "
    "bf16-mixed, bf16-true.",
    "accelerator: cuba": "accelerator: No accelerator 'cuba'. Did you mean 'cuda'?",
    "devices: 0": "devices: must be a number of devices from 1, or auto.",
    "workers: -1": "workers: must be greater than or equal to 0, not -1.",
    "checkpoint_seconds: 0": "checkpoint_seconds: must be greater than 0, not 0.",
    "cache_decoded: 5": "cache_decoded: must be a path, not 5.",
    "name: a/b": "name: 'a/b' must be one plain folder name.",
    "name: ..": "name: '..' must be one plain folder name.",
    "description: [a]": "description: must be text, not a list.",
    "limits: 1": "limits: is no key here. Did you mean 'limit'?",
    "methods: []": "methods: is an empty list. Name something, or leave it out.",
    "methods: [a, ]\nmodels: [~]": None,
    "models: [~]": "models.0: is an empty item. Fill it or take it out.",
    "models: 5": "models: must be a name, not 5.",
    "models: {weights: a}": "models: weights goes with a model's name.",
    "models: {name: a, given: a}": "models: given is no key here.",
    "models: {name: a, weight: b}": "models.weight: is no key here. Did you mean 'weights'?",
    "models: {name: a, image_size: 3x}": "models.image_size: must be pixels, as 384, or "
    "HEIGHTxWIDTH, as 384x288.",
    "methods: {name: a, parameters: 3}": "methods.parameters: must be key: value lines, not 3.",
    "methods: {name: a, zip: 3}": "methods.zip: must be a list, not 3.",
    "methods: [a, {name: b, seeds: 1}]": "methods.1.seeds: is no key here. Known: budgets, name, "
    "parameters, schedules, zip.",
    "budgets: [65%, [1]]": "budgets.1: must be text, not a list.",
    "seeds: [one]": "seeds.0: must be a whole number, not 'one'.",
    "exclude: {methods: a}": "exclude.methods: is no key here. Did you mean 'method'?",
    "data: [a, b, {parameters: {}}]": "data.2: has no name. Write name: NAME.",
}


@pytest.mark.parametrize(("text", "message"), WRONG.items(), ids=WRONG)
def test_what_does_not_fit_is_told_with_line_key_and_remedy(text: str, message: str | None) -> None:
    if message is None:
        message = "models.0: is an empty item. Fill it or take it out."
        assert told(text) == [f"s.yaml:2: {message}"]
    else:
        assert told(f"\n{text}") == [f"s.yaml:2: {message}"]


def test_all_problems_are_told_at_once_in_the_order_of_the_lines() -> None:
    text = (
        "throughput: 7\nmodels:\n  - {weight: 1}\n  - 7\nlimit: x\nfoo: 1\nmethods:\n  - {name: 5}"
    )
    lines = told(text, "batch_size=0", "bar=2")
    assert [line.split(": ")[:2] for line in lines] == [
        ["s.yaml:1", "throughput"],
        ["s.yaml:3", "models.0"],
        ["s.yaml:3", "models.0.weight"],
        ["s.yaml:4", "models.1"],
        ["s.yaml:5", "limit"],
        ["s.yaml:6", "foo"],
        ["s.yaml:8", "methods.0.name"],
        ["--set batch_size", "must be greater than or equal to 1, not 0."],
        ["--set bar", "is no key here. Known"],
    ]


def test_several_problems_are_listed_and_one_stands_alone() -> None:
    ledger = read_study_text("s.yaml", "limit: 0", [])
    validated(ledger)
    assert str(ledger.error()) == "s.yaml:1: limit: must be greater than or equal to 1, not 0."
    ledger = read_study_text("s.yaml", "limit: 0\nseed: 1", [])
    validated(ledger)
    assert str(ledger.error()) == (
        "2 problems in s.yaml:\n"
        "  s.yaml:1: limit: must be greater than or equal to 1, not 0.\n"
        "  s.yaml:2: seed: is no key here. Did you mean 'seeds'?"
    )


def test_single_values_stand_for_lists_and_texts_for_names() -> None:
    short = content("models: vit\ndata: d:x=1\nmethods: a\nbudgets: 0.8\nseeds: 3\nlogger: csv")
    long = content(
        "models: [{name: vit}]\ndata: [{name: 'd:x=1'}]\nmethods: [{name: a}]\nbudgets: ['0.8']\n"
        "seeds: [3]\nlogger: [csv]"
    )
    assert short == long
    assert short.budgets == ("0.8",)


def test_sizes_are_height_first() -> None:
    found = content("models:\n" + "".join(f"  - {{name: a, image_size: {s}}}\n" for s in SIZES))
    sizes = [each.image_size for each in found.models or () if each is not None]
    assert sizes == [(384, 384), (384, 288), (384, 288), (224, 224)]


SIZES = ("384", "384x288", "[384, 288]", "[224]")


def test_a_key_left_empty_is_a_key_left_out() -> None:
    assert content("limit:\nmodels:\nbatch_size:\nskip_bad: yes") == content("skip_bad: true")


def test_a_file_that_is_not_utf_8_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(b"limit: 1\nname: \xff")
    with pytest.raises(KeeprateError, match=r"Line 2 of '.*s\.yaml' is not UTF-8 text\. Save it"):
        read_text(path)
    for encoding in ("utf-8-sig", "utf-16"):
        path.write_bytes("limit: 1\r\n".encode(encoding))
        assert read_text(path) == "limit: 1\r\n"
