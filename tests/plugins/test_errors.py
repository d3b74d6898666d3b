"""What a user reads when a name is unknown."""

from __future__ import annotations

import pytest

from keeprate.errors import unknown_name


@pytest.mark.parametrize(
    ("name", "known", "text"),
    [
        ("tom", ["tome", "full"], "No method 'tom'. Did you mean 'tome'?"),
        ("ToMe", ["tome", "full"], "No method 'ToMe'. Did you mean 'tome'?"),
        ("xyz", ["b", "a"], "No method 'xyz'. Known: a, b."),
        ("xyz", [], "No method 'xyz'. Known: none."),
    ],
)
def test_an_unknown_name_is_explained(name: str, known: list[str], text: str) -> None:
    assert str(unknown_name("method", name, known)) == text


def test_a_remedy_ends_the_explanation() -> None:
    error = unknown_name("data set", "xyz", ["a"], "Add it with --plugin FILE.py.")
    assert str(error) == "No data set 'xyz'. Known: a. Add it with --plugin FILE.py."
