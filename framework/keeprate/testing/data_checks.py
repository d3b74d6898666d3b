"""What is promised of every data set: ids, labels, images, the same every time and everywhere."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..dataset import DataSet, Sample, TextDataSet
from ..errors import KeeprateError
from ..plugins.kinds import KINDS, Registered, check_class
from ..plugins.parameters import values_of
from .outcome import Broken, Check, NotTried

LOOKED_AT = 8
"""Samples whose image or text is looked at, spread over the data set."""

_CLASSES = (1000, 10, 100, *range(2, 10), *range(11, 100), *range(101, 400), 1)


@dataclass(frozen=True)
class DataBench:
    """A data set under test: its class, how one is made, and how many classes it fits."""

    cls: type[DataSet]
    make: Callable[[], DataSet]
    num_classes: int
    refused: str = ""
    """Why its labels fit no number of classes, "" where they fit one."""

    @classmethod
    def of(cls, data: type[DataSet], make: Callable[[], DataSet]) -> DataBench:
        """Find a number of classes that the data set accepts."""
        said = ""
        for number in _CLASSES:
            try:
                make().bind(number, None)
            except KeeprateError as error:
                said = str(error)
                if str(number) not in said:  # it is not the number that it minds
                    break
            else:
                return cls(data, make, number)
        return cls(data, make, 0, said)

    def bound(self) -> DataSet:
        """Return a new data set, bound to a number of classes; NotTried where none fits."""
        if self.refused:
            raise NotTried(f"its labels fit no model without names of its classes. {self.refused}")
        data = self.make()
        data.bind(self.num_classes, None)
        return data


def _described(bench: DataBench) -> str:
    name = check_class(KINDS["datasets"], bench.cls)
    said = Registered(name, bench.cls, "", "", "").description
    if not said.endswith((".", ":", "!", "?")):
        raise Broken(f"its docstring begins with no sentence, but {said!r}")
    values_of(bench.make())
    return ""


def _binds(bench: DataBench) -> str:
    if bench.refused:
        raise Broken(bench.refused)
    return f"a head of {bench.num_classes} classes"


def _samples(bench: DataBench) -> str:
    data = bench.bound()
    samples = list(data.samples())
    if not samples:
        raise Broken("it has no sample")
    twice, times = Counter(sample.id for sample in samples).most_common(1)[0]
    if times > 1:
        raise Broken(f"the id '{twice}' is given {times} times")
    for sample in samples:
        fits = isinstance(sample.label, int) and 0 <= sample.label < bench.num_classes
        if not fits:
            raise Broken(
                f"sample '{sample.id}' has the label {sample.label!r}, and classes are 0 to "
                f"{bench.num_classes - 1}"
            )
    for again, whose in ((data, "a second call"), (bench.bound(), "another instance")):
        if list(again.samples()) != samples:
            raise Broken(f"{whose} of samples() gives others, or another order")
    return f"{len(samples)} samples"


def _images(bench: DataBench) -> str:
    data = bench.bound()
    for index, sample in _looked_at(data):
        first, again = _content(data, index), _content(data, index)
        _check_content(first, sample.id, isinstance(data, TextDataSet))
        if not _same(first, again):
            raise Broken(f"sample '{sample.id}' is another one when asked for again")
    return ""


def _check_content(content: object, name: str, is_text: bool) -> None:
    if is_text:
        if not isinstance(content, str):
            raise Broken(f"the text of sample '{name}' is a {type(content).__name__}, not a str")
        return
    if not isinstance(content, Tensor):
        raise Broken(f"the image of sample '{name}' is a {type(content).__name__}, not a Tensor")
    wanted = content.dtype == torch.uint8 and content.dim() == 3 and content.shape[0] == 3
    if not wanted or not content.numel():
        found = f"{str(content.dtype).removeprefix('torch.')} {tuple(content.shape)}"
        raise Broken(f"the image of sample '{name}' is {found}, not uint8 (3, H, W)")


def _pickles(bench: DataBench) -> str:
    data = bench.bound()
    try:
        sent = pickle.loads(pickle.dumps(data))
    except Exception as error:
        raise Broken(
            f"it cannot be sent to the processes that decode. {type(error).__name__}: {error}"
        ) from error
    for index, sample in _looked_at(data):
        if not _same(_content(sent, index), _content(data, index)):
            raise Broken(f"in another process sample '{sample.id}' is another one")
    return ""


def _fingerprint(bench: DataBench) -> str:
    data, other = bench.bound(), bench.bound()
    found = [data.fingerprint(), data.fingerprint(), other.fingerprint()]
    if len(set(found)) > 1:
        raise Broken(f"it changes from call to call: {', '.join(each[:12] for each in found)}")
    return ""


def _looked_at(data: DataSet) -> Iterator[tuple[int, Sample]]:
    samples = data.samples()
    count = len(samples)
    for index in dict.fromkeys(i * (count - 1) // max(LOOKED_AT - 1, 1) for i in range(LOOKED_AT)):
        yield index, samples[index]


def _content(data: DataSet, index: int) -> object:
    return data.text(index) if isinstance(data, TextDataSet) else data.image(index)


def _same(first: object, again: object) -> bool:
    if isinstance(first, Tensor) and isinstance(again, Tensor):
        return torch.equal(first, again)
    return type(first) is type(again) and first == again


DATA_CHECKS: tuple[Check[DataBench], ...] = (
    Check(
        "described",
        "It has a name, a docstring that begins with a sentence, and keeps its parameters.",
        _described,
        ("__init__", "name"),
    ),
    Check("binds", "Its labels fit a model's head.", _binds, ("bind",)),
    Check(
        "samples",
        "Sample ids are unique, labels are classes, and the order never changes.",
        _samples,
        ("samples",),
    ),
    Check(
        "images",
        "Images are uint8 (3, H, W), texts are str, and an index always gives the same one.",
        _images,
        ("image", "text"),
    ),
    Check(
        "fingerprint",
        "The fingerprint is the same in every call and every instance.",
        _fingerprint,
        ("fingerprint", "stored_bytes", "samples"),
    ),
    Check(
        "pickles",
        "Pickled, as for the processes that decode, it gives the same images.",
        _pickles,
        ("__init__",),
    ),
)
"""Every promise of a data set."""
