"""The promises of every data set: ids, labels and images are right and always the same."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..dataset import DataSet, Sample, TextDataSet
from ..errors import KeeprateError
from ..plugins.parameters import values_of
from .described import check_described
from .outcome import Broken, Check, NotTried

LOOKED_AT = 8
"""How many samples have their image or text checked; they are spread over the data set."""

# frequent numbers of classes come first, since the first that fits ends the search
_CLASSES = (1000, 10, 100, *range(2, 10), *range(11, 100), *range(101, 400), 1)


@dataclass(frozen=True)
class DataBench:
    """A data set under test: its class, a function that makes one, and its number of classes."""

    cls: type[DataSet]
    make: Callable[[], DataSet]
    num_classes: int
    refused: str = ""
    """Why its labels fit no number of classes; "" if they fit one."""

    @classmethod
    def of(cls, data: type[DataSet], make: Callable[[], DataSet]) -> DataBench:
        """Find a number of classes that the data set accepts."""
        message = ""
        for num_classes in _CLASSES:
            try:
                make().bind(num_classes, None)
            except KeeprateError as error:
                message = str(error)
                # an error that does not name the number is about something else: others fail too
                if str(num_classes) not in message:
                    break
            else:
                return cls(data, make, num_classes)
        return cls(data, make, 0, message)

    def bound(self) -> DataSet:
        """Return a new data set bound to a number of classes; raises NotTried if none fits."""
        if self.refused:
            raise NotTried(f"its labels fit no model without names of its classes. {self.refused}")
        data = self.make()
        data.bind(self.num_classes, None)
        return data


def _described(bench: DataBench) -> str:
    check_described("datasets", bench.cls)
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
    sample_id, occurrences = Counter(sample.id for sample in samples).most_common(1)[0]
    if occurrences > 1:
        raise Broken(f"the id '{sample_id}' is given {occurrences} times")
    for sample in samples:
        classes = sample.label if isinstance(sample.label, tuple) else (sample.label,)
        are_classes = all(isinstance(c, int) and 0 <= c < bench.num_classes for c in classes)
        if not are_classes or list(classes) != sorted(set(classes)) or not classes:
            raise Broken(
                f"sample '{sample.id}' has the label {sample.label!r}, and classes are 0 to "
                f"{bench.num_classes - 1}"
            )
    for other, source in ((data, "a second call"), (bench.bound(), "another instance")):
        if list(other.samples()) != samples:
            raise Broken(f"{source} of samples() gives others, or another order")
    return f"{len(samples)} samples"


def _images(bench: DataBench) -> str:
    data = bench.bound()
    for index, sample in _sample_positions(data):
        first, second = _content(data, index), _content(data, index)
        _check_content(first, sample.id, isinstance(data, TextDataSet))
        if not _same(first, second):
            raise Broken(f"sample '{sample.id}' is another one when asked for again")
    return ""


def _check_content(content: object, name: str, is_text: bool) -> None:
    if is_text:
        if not isinstance(content, str):
            raise Broken(f"the text of sample '{name}' is a {type(content).__name__}, not a str")
        return
    if not isinstance(content, Tensor):
        raise Broken(f"the image of sample '{name}' is a {type(content).__name__}, not a Tensor")
    has_format = content.dtype == torch.uint8 and content.dim() == 3 and content.shape[0] == 3
    if not has_format or not content.numel():
        format_found = f"{str(content.dtype).removeprefix('torch.')} {tuple(content.shape)}"
        raise Broken(f"the image of sample '{name}' is {format_found}, not uint8 (3, H, W)")


def _pickles(bench: DataBench) -> str:
    data = bench.bound()
    try:
        unpickled = pickle.loads(pickle.dumps(data))
    except Exception as error:
        raise Broken(
            f"it cannot be sent to the processes that decode. {type(error).__name__}: {error}"
        ) from error
    for index, sample in _sample_positions(data):
        if not _same(_content(unpickled, index), _content(data, index)):
            raise Broken(f"in another process sample '{sample.id}' is another one")
    return ""


def _fingerprint(bench: DataBench) -> str:
    data, other = bench.bound(), bench.bound()
    fingerprints = [data.fingerprint(), data.fingerprint(), other.fingerprint()]
    if len(set(fingerprints)) > 1:
        raise Broken(
            f"it changes from call to call: {', '.join(text[:12] for text in fingerprints)}"
        )
    return ""


def _sample_positions(data: DataSet) -> Iterator[tuple[int, Sample]]:
    samples = data.samples()
    count = len(samples)
    # a data set of fewer samples would give some indices twice
    for index in dict.fromkeys(i * (count - 1) // max(LOOKED_AT - 1, 1) for i in range(LOOKED_AT)):
        yield index, samples[index]


def _content(data: DataSet, index: int) -> object:
    return data.text(index) if isinstance(data, TextDataSet) else data.image(index)


def _same(first: object, second: object) -> bool:
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return torch.equal(first, second)
    return type(first) is type(second) and first == second


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
        ("fingerprint", "content", "samples"),
    ),
    Check(
        "pickles",
        "Pickled, as for the processes that decode, it gives the same images.",
        _pickles,
        ("__init__",),
    ),
)
"""Every promise of a data set."""
