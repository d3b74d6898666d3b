"""Data sets have promises of their own: each check fails for what breaks it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from keeprate import DataSet, KeeprateError, Sample
from keeprate.plugins.registry import load
from keeprate.testing.data_checks import DATA_CHECKS, DataBench
from keeprate.testing.outcome import Verdict
from keeprate.testing.runner import run_checks


class Stripes(DataSet):
    """Draws stripes, upright and lying in turn."""

    name = "stripes"

    def __init__(self, count: int = 20) -> None:
        self.count = count

    def bind(self, num_classes: int, label_names: Sequence[str] | None) -> None:
        if num_classes < 2:
            raise KeeprateError("stripes needs a model with at least 2 classes.")

    def samples(self) -> list[Sample]:
        return [Sample(f"stripes/{i:04d}", i % 2) for i in range(self.count)]

    def image(self, index: int) -> Tensor:
        row = (torch.arange(12) // 4 % 2 * 255).to(torch.uint8)
        upright = row.expand(3, 12, 12)
        return upright.mT if index % 2 else upright


class Five(Stripes):
    """Has five classes, no more and no fewer."""

    name = "five"

    def bind(self, num_classes: int, label_names: Sequence[str] | None) -> None:
        if num_classes != 5:
            raise KeeprateError(f"five classes, and the model's head has {num_classes}.")


class Nameless(Stripes):
    __doc__ = None


class Forgetful(Stripes):
    """Does not keep its parameter."""

    def __init__(self, count: int = 20) -> None:
        self.many = count

    def samples(self) -> list[Sample]:
        return Stripes(self.many).samples()


class Choosy(Stripes):
    """Fits no model."""

    def bind(self, num_classes: int, label_names: Sequence[str] | None) -> None:
        raise KeeprateError("no folder '/data'.")


class Twice(Stripes):
    """Gives an id twice."""

    def samples(self) -> list[Sample]:
        return [Sample(f"stripes/{i % 19}", i % 2) for i in range(self.count)]


class Labels(Stripes):
    """Has a label beyond the classes."""

    def samples(self) -> list[Sample]:
        return [Sample(f"stripes/{i}", 1000 * (i == 7)) for i in range(self.count)]


class Shuffled(Stripes):
    """Draws its order anew for every instance."""

    orders = 0

    def __init__(self, count: int = 20) -> None:
        super().__init__(count)
        type(self).orders += 1
        self.turn = type(self).orders

    def samples(self) -> list[Sample]:
        found = super().samples()
        return found[self.turn :] + found[: self.turn]


class Floats(Stripes):
    """Gives images that are transformed already."""

    def image(self, index: int) -> Tensor:
        return super().image(index).float()


class Jitter(Stripes):
    """Changes an image every time."""

    drawn = 0

    def image(self, index: int) -> Tensor:
        Jitter.drawn += 1
        return super().image(index) + Jitter.drawn % 200


class Stamp(Stripes):
    """Has a fingerprint of the moment."""

    stamps = 0

    def fingerprint(self) -> str:
        Stamp.stamps += 1
        return f"{Stamp.stamps:064d}"


class Open(Stripes):
    """Holds what cannot be sent to another process."""

    def __init__(self, count: int = 20) -> None:
        super().__init__(count)
        self.draw: Callable[[int], Tensor] = lambda index: super().image(index)


def data_verdict(cls: type[DataSet]) -> Verdict:
    return Verdict(cls.name, tuple(run_checks(DATA_CHECKS, cls, lambda: DataBench.of(cls, cls))))


@pytest.mark.parametrize(
    ("cls", "check", "said"),
    [
        (Nameless, "described", "its docstring begins with no sentence, but ''"),
        (Forgetful, "described", "Forgetful must keep its parameter count as an attribute"),
        (Choosy, "binds", "no folder '/data'."),
        (Twice, "samples", "the id 'stripes/0' is given 2 times"),
        (Labels, "samples", "sample 'stripes/7' has the label 1000, and classes are 0 to 999"),
        (Floats, "images", "the image of sample 'stripes/0000' is float32 (3, 12, 12), not uint8"),
        (Stamp, "fingerprint", "it changes from call to call: 000000000000, "),
        (Open, "pickles", "it cannot be sent to the processes that decode. "),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_data_set_that_breaks_a_promise_fails_that_check_alone(
    cls: type[DataSet], check: str, said: str
) -> None:
    verdict = data_verdict(cls)
    assert [outcome.check for outcome in verdict.broken] == [check], str(verdict)
    assert verdict[check].said.startswith(said), verdict[check].said
    assert verdict[check].where.startswith(__file__)


@pytest.mark.parametrize(
    ("cls", "checks", "said"),
    [
        (Shuffled, ["samples", "fingerprint"], "another instance of samples() gives others"),
        (
            Jitter,
            ["images", "fingerprint", "pickles"],
            "sample 'stripes/0000' is another one when asked",
        ),
    ],
)
def test_what_changes_in_between_is_found_wherever_it_shows(
    cls: type[DataSet], checks: list[str], said: str
) -> None:
    verdict = data_verdict(cls)
    assert [outcome.check for outcome in verdict.broken] == checks, str(verdict)
    assert verdict[checks[0]].said.startswith(said)


@pytest.mark.parametrize("cls", [Stripes, Five])
def test_a_good_data_set_keeps_every_promise(cls: type[DataSet]) -> None:
    verdict = data_verdict(cls)
    assert verdict.holds, str(verdict)
    assert verdict["binds"].said == f"a head of {5 if cls is Five else 1000} classes"


def test_the_data_set_that_ships_keeps_every_promise() -> None:
    found = load(environ={"KEEPRATE_PLUGINS": ""})
    verdict = data_verdict(found.dataset("digits"))
    assert verdict.holds, str(verdict)
