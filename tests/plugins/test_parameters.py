"""Constructor arguments and their text form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeprate.errors import KeeprateError
from keeprate.plugins.parameters import build, parameters_of, parse_spec, spec_text, values_of


@dataclass(frozen=True)
class Everything:
    name = "everything"

    count: int = 3
    rate: float = 0.5
    flag: bool = True
    word: str = "a"
    mode: Literal["I", "S", "I'-S"] = "I"
    limit: float | None = None
    steps: tuple[int, ...] = (30, 5, 1)
    size: tuple[int, int] = (2, 2)
    root: Path = Path("here")
    rule: int | str = 1


class Folder:
    name = "folder"

    def __init__(self, root: Path, limit: int | None = None) -> None:
        if limit == 0:
            raise ValueError("limit must not be 0.")
        self.root, self.limit = root, limit


class Bare:
    name = "bare"


def test_parameters_are_shown_as_a_signature_shows_them() -> None:
    assert [each.text for each in parameters_of(Everything)] == [
        "count: int = 3",
        "rate: float = 0.5",
        "flag: bool = True",
        "word: str = 'a'",
        """mode: Literal['I', 'S', "I'-S"] = 'I'""",
        "limit: float | None = None",
        "steps: tuple[int, ...] = (30, 5, 1)",
        "size: tuple[int, int] = (2, 2)",
        "root: Path = 'here'",
        "rule: int | str = 1",
    ]
    assert [(each.text, each.required) for each in parameters_of(Folder)] == [
        ("root: Path", True),
        ("limit: int | None = None", False),
    ]
    assert parameters_of(Bare) == ()


class Star:
    def __init__(self, *values: int) -> None: ...


class Keywords:
    def __init__(self, **values: int) -> None: ...


class Untyped:
    def __init__(self, value=1) -> None: ...  # type: ignore[no-untyped-def]


class Unknown:
    def __init__(self, value: NoSuchType = 1) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("cls", "text"),
    [
        (Star, "Star takes *values: int: give each parameter a name."),
        (Keywords, "Keywords takes **values: int: give each parameter a name."),
        (Untyped, "Untyped declares no type for its parameter value."),
        (Unknown, "Unknown has a parameter of unknown type: name 'NoSuchType' is not defined."),
    ],
)
def test_constructors_without_names_or_types_are_refused(cls: type, text: str) -> None:
    with pytest.raises(KeeprateError) as error:
        parameters_of(cls)
    assert str(error.value).replace("'int'", "int") == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tome", ("tome", {})),
        ("tome:", ("tome", {})),
        ("tome:flag=false", ("tome", {"flag": "false"})),
        ("x:steps=30,5,1,mode=I'-S", ("x", {"steps": "30,5,1", "mode": "I'-S"})),
        ("x: steps = 30, 5 , mode = S", ("x", {"steps": "30, 5", "mode": "S"})),
        ("folder:/data/val", ("folder", {"": "/data/val"})),
        ("folder:/data/a=b,limit=2", ("folder", {"": "/data/a=b", "limit": "2"})),
        ("folder:/a,b:c", ("folder", {"": "/a,b:c"})),
        ("x:word=", ("x", {"word": ""})),
        ('folder:"/a/lr=0.1,b=2",limit=2', ("folder", {"": "/a/lr=0.1,b=2", "limit": "2"})),
        ("folder:'lr=0.1/val'", ("folder", {"": "lr=0.1/val"})),
        ("x: word = ' a, b=\\'c\\' ' , mode=S", ("x", {"word": " a, b='c' ", "mode": "S"})),
        ("x:word=a\"b,mode=I'-S", ("x", {"word": 'a"b', "mode": "I'-S"})),
    ],
)
def test_specs_are_split_at_parameters(text: str, expected: tuple[str, dict[str, str]]) -> None:
    assert parse_spec(text) == expected


class Texts:
    name = "texts"

    def __init__(self, root: Path, word: str, names: tuple[str, ...], steps: tuple[int, ...]):
        self.root, self.word, self.names, self.steps = root, word, names, steps


_INT64 = st.integers(-(2**63), 2**63 - 1)
_HARD = st.text(alphabet="ab=,\"'()[] \\\n/:1", max_size=12)


@given(_HARD, _HARD, st.lists(_HARD, max_size=4), st.lists(_INT64, max_size=3))
def test_values_of_any_characters_are_spelled_so_that_they_are_read_again(
    path: str, word: str, names: list[str], steps: list[int]
) -> None:
    given = {"root": f"/{path}", "word": word, "names": names, "steps": steps}
    name, texts = parse_spec(spec_text("texts", given))
    built = build("thing", Texts, texts)
    assert (name, built.root, built.word) == ("texts", Path(f"/{path}"), word)
    assert (built.names, built.steps) == (tuple(names), tuple(steps))


def test_what_needs_no_quotes_has_none() -> None:
    values = {"iterations": [30, 5, 1], "pattern": "I'-S", "root": "/it's my/a,b", "flag": True}
    spelled = "x:iterations=30,5,1,pattern=I'-S,root=/it's my/a,b,flag=true"
    assert spec_text("x", values) == spelled
    assert spec_text("x", {}) == "x"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (":a=1", "':a=1' names nothing; write name or name:parameter=value."),
        ("x:a=1,a=2", "Parameter 'a' is given twice in 'x:a=1,a=2'."),
        ('x:"/a,b=2', "The quote before /a in 'x:\"/a,b=2' must end that value."),
    ],
)
def test_specs_that_cannot_be_read_are_refused(text: str, said: str) -> None:
    with pytest.raises(KeeprateError) as error:
        parse_spec(text)
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("parameter", "text", "value"),
    [
        ("count", "7", 7),
        ("rate", "7", 7.0),
        ("rate", "1e-3", 1e-3),
        ("flag", "false", False),
        ("flag", "Yes", True),
        ("flag", "0", False),
        ("word", "none", "none"),
        ("word", "", ""),
        ("mode", "I'-S", "I'-S"),
        ("limit", "none", None),
        ("limit", "2.5", 2.5),
        ("steps", "30,5,1", (30, 5, 1)),
        ("steps", "(30, 5, 1)", (30, 5, 1)),
        ("steps", "30,", (30,)),
        ("steps", "", ()),
        ("size", "4,5", (4, 5)),
        ("root", "/a/b", Path("/a/b")),
        ("root", "~", Path.home()),
        ("root", "~no such user/a", Path("~no such user/a")),
        ("rule", "4", 4),
        ("rule", "four", "four"),
    ],
)
def test_text_becomes_the_type_of_the_parameter(parameter: str, text: str, value: object) -> None:
    built = getattr(build("method", Everything, {parameter: text}), parameter)
    assert built == value
    assert type(built) is type(value)


@pytest.mark.parametrize(
    ("parameter", "value", "wanted"),
    [
        ("count", "3.5", "an int, not '3.5'"),
        ("count", True, "an int, not True"),
        ("count", 3.5, "an int, not 3.5"),
        ("rate", "fast", "a float, not 'fast'"),
        ("flag", "maybe", "a bool, not 'maybe'"),
        ("flag", 1, "a bool, not 1"),
        ("word", 1, "a str, not 1"),
        ("mode", "X", "one of I, S, I'-S, not 'X'"),
        ("limit", "low", "a float or none, not 'low'"),
        ("steps", "30,x", "ints separated by commas, not '30,x'"),
        ("steps", 30, "ints separated by commas, not 30"),
        ("size", "1,2,3", "2 values separated by commas, not '1,2,3'"),
        ("root", 5, "a path, not 5"),
    ],
)
def test_values_that_do_not_fit_are_refused(parameter: str, value: object, wanted: str) -> None:
    with pytest.raises(KeeprateError) as error:
        build("method", Everything, {parameter: value})
    assert str(error.value) == f"Method 'everything': {parameter} must be {wanted}."


@pytest.mark.parametrize(
    ("kind", "cls", "values", "said"),
    [
        (
            "method",
            Everything,
            {"stpes": "1"},
            "No parameter 'stpes' in method 'everything'. Did you mean 'steps'?",
        ),
        ("data set", Bare, {"x": "1"}, "Data set 'bare' has no parameters."),
        ("data set", Bare, {"": "1"}, "Data set 'bare' has no parameters."),
        ("data set", Folder, {}, "Data set 'folder' needs root: write folder:root=...."),
        ("data set", Folder, {"": "a", "root": "b"}, "Data set 'folder': root is given twice."),
        (
            "data set",
            Folder,
            {"": "a", "limit": "0"},
            "Data set 'folder': limit must not be 0.",
        ),
    ],
)
def test_what_cannot_be_built_is_explained(
    kind: str, cls: type, values: dict[str, object], said: str
) -> None:
    with pytest.raises(KeeprateError) as error:
        build(kind, cls, values)
    assert str(error.value) == said


def test_a_value_without_name_belongs_to_the_first_parameter() -> None:
    folder = build("data set", Folder, parse_spec("folder:/data,limit=4")[1])
    assert (folder.root, folder.limit) == (Path("/data"), 4)


class Open:
    name = "open"

    def __init__(self, rule: Callable[[int], int] | None = None, extra: Any = None) -> None:
        self.rule, self.extra = rule, extra


def test_values_of_other_types_pass_only_as_objects() -> None:
    assert build("method", Open, {"rule": abs}).rule is abs
    with pytest.raises(KeeprateError, match="rule must be"):
        build("method", Open, {"rule": "abs"})
    with pytest.raises(KeeprateError, match=r"Open\.extra holds a set, which a result cannot"):
        values_of(Open(extra={1}))


class Forgetful:
    def __init__(self, rate: float = 1.0) -> None: ...


def test_a_parameter_that_is_not_kept_is_an_error() -> None:
    with pytest.raises(KeeprateError, match="must keep its parameter rate as an attribute"):
        values_of(Forgetful())


@dataclass(frozen=True)
class Derived(Everything):
    more: int = 0


def test_inherited_parameters_come_first() -> None:
    assert [each.name for each in parameters_of(Derived)][-2:] == ["rule", "more"]
    assert build("method", Derived, {"mode": "S", "more": "2"}) == Derived(mode="S", more=2)


everything = st.builds(
    Everything,
    count=_INT64,
    rate=st.floats(allow_nan=False),
    flag=st.booleans(),
    mode=st.sampled_from(["I", "S", "I'-S"]),
    limit=st.none() | st.floats(allow_nan=False),
    steps=st.lists(_INT64).map(tuple),
    size=st.tuples(_INT64, _INT64),
    root=st.sampled_from([Path("a"), Path("/a/b"), Path("a b")]),
)


@given(everything)
def test_recorded_values_build_the_same_instance(instance: Everything) -> None:
    assert build("method", Everything, values_of(instance)) == instance


@given(everything)
def test_values_written_as_text_build_the_same_instance(instance: Everything) -> None:
    words = {
        name: ",".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in values_of(instance).items()
    }
    text = ",".join(f"{name}={value}" for name, value in words.items())
    name, values = parse_spec(f"everything:{text}")
    assert name == "everything"
    assert build("method", Everything, values) == instance


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("count", 2**63),
        ("count", str(-(2**63) - 1)),
        pytest.param("count", 10**5000, id="count-long"),
        ("count", "9" * 5000),
        pytest.param("rate", 10**400, id="rate-long"),
        pytest.param("limit", 10**400, id="limit-long"),
        ("steps", f"1,{2**64}"),
        ("size", [1, 2**64]),
    ],
)
def test_numbers_that_nothing_can_hold_are_refused(name: str, value: object) -> None:
    with pytest.raises(KeeprateError) as error:
        build("method", Everything, {name: value})
    said = "must be a number from -9223372036854775808 to 9223372036854775807."
    assert str(error.value) == f"Method 'everything': {name} {said}"


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63)])
def test_the_largest_numbers_are_taken(number: int) -> None:
    assert build("method", Everything, {"count": str(number)}).count == number
    assert build("method", Everything, {"rate": 2**64}).rate == 2.0**64


def test_an_object_with_a_number_that_nothing_can_hold_is_refused() -> None:
    with pytest.raises(KeeprateError, match=r"Everything.count must be a number from -92233720368"):
        values_of(Everything(count=2**63))
