"""What a data set says of its samples is recorded; names that are not UTF-8 are refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

import keeprate
from keeprate import KeeprateError, Sample
from keeprate.request import DataSpec, ModelSpec, Options, Request
from keeprate.study.build import prepare
from keeprate_datasets.digits import Digits


class Odd(Digits):
    """Digits with a note, and a first sample of another name."""

    def __init__(self, first: str) -> None:
        self.first = first

    def samples(self) -> Sequence[Sample]:
        first, *others = super().samples()
        return [replace(first, id=self.first), *others]

    def notes(self) -> Sequence[str]:
        return ["One is odd."]


def request(first: str) -> Request:
    return Request(ModelSpec(), DataSpec(built=Odd(first)), (), Options(limit=4))


def test_notes_of_a_data_set_are_shown_and_recorded() -> None:
    comparison = prepare(request("odd"))
    assert comparison.notes == ["One is odd."]
    assert comparison.unpruned.info.data.notes == ("One is odd.",)


def test_a_sample_id_that_is_not_utf8_is_refused_before_the_pass() -> None:
    with pytest.raises(KeeprateError, match=r"a sample id that is not UTF-8 text: 'caf\\xe9'\."):
        prepare(request("caf\udce9"))


@pytest.mark.parametrize("where", ["data", "weights", "folder"])
def test_a_path_that_is_not_utf8_is_refused_in_python(where: str) -> None:
    with pytest.raises(KeeprateError, match=r"'/caf\\xe9' is not UTF-8 text: rename"):
        keeprate.compare(**{where: "/caf\udce9"})
