"""A method reads and computes what it declares: needs and multiply-accumulates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ...method import Method, Needs, Place, Shape, Stage
from ...reduction.macs import shape_of
from ...reduction.proof import flop_counter
from ..bench import Bench, Ran
from ..cases import MAIN_KINDS, Case
from ..outcome import Broken, Check, NotTried
from ..recording import LEVELS, Call, ReadAttention
from .tokens import patches_left

TOLERANCE = 0.02
"""The largest difference of declared from counted multiply-accumulates, relative to the latter."""


def _reads(bench: Bench) -> str:
    bench.must_reduce()
    for case in bench.cases(Case()):
        log, ran = _read(bench, case)
        # before the exception is looked at: an undeclared read is often what raised it
        _check_declared(log, ran)
        if ran.stop is not None:
            raise NotTried(f"every run ends with an exception. {ran.stop}")
    return ""


def _check_declared(log: set[str], ran: Ran) -> None:
    declared = ran.model.method.needs
    name = max(log, key=lambda attribute: LEVELS[attribute], default=None)
    if name is not None and LEVELS[name] > declared:
        need = LEVELS[name].name
        raise Broken(
            f"it reads attention.{name} and declares needs = Needs.{Needs(declared).name}; "
            f"declare needs = Needs.{need}",
            ran.case,
        ) from ran.stop


def _needs(bench: Bench) -> str:
    declared = bench.must_reduce().needs
    log: set[str] = set()
    for case in bench.cases(Case()):
        attributes_read, ran = _read(bench, case)
        _ = ran.logits
        log |= attributes_read
    greatest_need = max((LEVELS[name] for name in log), default=Needs.NOTHING)
    if greatest_need < declared:
        reads = f"reads {', '.join(f'attention.{name}' for name in sorted(log))}" if log else ""
        raise Broken(
            f"it declares needs = Needs.{Needs(declared).name} and "
            f"{reads or 'reads nothing of the attention'}; Needs.{greatest_need.name} suffices"
            f"{', and spares the attention matrix' if declared is Needs.WEIGHTS else ''}"
        )
    return ""


def _read(bench: Bench, case: Case) -> tuple[set[str], Ran]:
    """Run a case and return the attributes of the attention that were read, with the run."""
    log: set[str] = set()
    return log, bench.run(
        case, lens=lambda *arguments: (arguments[0], ReadAttention.of(arguments[1], log))
    )


def _overhead(bench: Bench) -> str:
    bench.must_reduce()
    notes: list[str] = []
    # a second size: a formula may be right for one number of tokens by accident
    for size, kinds in ((Case().size, MAIN_KINDS), ((28, 24), MAIN_KINDS[:2])):
        for case in bench.cases(Case(batch=1, size=size), kinds):
            notes += _check_overhead(bench, case)
    return notes[0] if notes else ""


def _check_overhead(bench: Bench, case: Case) -> list[str]:
    """Return a note for each stage: the declared and the counted costs."""
    spent: dict[tuple[str, int, int], _Spent] = {}

    @contextmanager
    def counting(call: Call) -> Iterator[None]:
        _look_ahead(ran_method, call)
        counter, elements = flop_counter(), _Elements()
        with counter, elements:
            yield
        patches = patches_left(call.tokens)[0]
        counts = spent.setdefault(_place_of(call, patches), _Spent(call.stage))
        # torch counts a multiply-accumulate as two operations
        counts.products += counter.get_total_flops() // 2
        counts.elements += elements.count

    ran_method = bench.subject.make()
    ran = bench.run(case, method=ran_method, around=counting)
    _ = ran.logits
    stages = {stage.block: stage for stage in ran.model.stages(case.size)}
    notes = []
    for (where, block, patches), counts in spent.items():
        shape = shape_of(ran.model.backbone, patches)
        stage = stages.get(block, counts.stage)
        name, declared = _DECLARED[where](ran.model.method, shape, stage)
        difference = _difference(name, declared, counts.products, counts.elements)
        if difference:
            raise Broken(f"at block {block}, for {shape}, {difference}", case)
        notes.append(
            f"block {block}: declared {declared:,}; products {counts.products:,}, other arithmetic "
            f"{counts.elements:,} at most"
        )
    return notes


@dataclass
class _Spent:
    """What the calls at one stage took."""

    stage: Stage
    products: int = 0
    elements: int = 0


def _place_of(call: Call, patches: int) -> tuple[str, int, int]:
    where = call.function if call.function in _DECLARED else "stage"
    return where, call.stage.block, patches


_DECLARED: Mapping[str, Callable[[Method, Shape, Stage], tuple[str, int]]] = {
    "stage": lambda method, shape, stage: ("overhead_macs", method.overhead_macs(shape, stage)),
    "prepare": lambda method, shape, stage: ("prepare_macs", method.prepare_macs(shape)),
    "reweigh": lambda method, shape, stage: ("the ruler, which counts nothing of reweigh,", 0),
}
"""What a method declares for what it does at a stage, and before the first block."""


def _look_ahead(method: Method, call: Call) -> None:
    """Compute the weights that a method reads before a block: they are counted with the look."""
    before = method.place is Place.BEFORE_BLOCK and call.function != "prepare"
    if before and method.needs is Needs.WEIGHTS:
        call.attention.all_weights()


def _difference(name: str, declared: int, products: int, elements: int) -> str:
    """Return how the declared costs differ from what was counted, "" if they may be right."""
    if declared < products * (1 - TOLERANCE):
        return f"{name} says {declared:,} and its products take {products:,}"
    # whether element-wise arithmetic is declared is the author's choice, so it is allowed, not due
    upper_limit = products + elements
    if declared > upper_limit * (1 + TOLERANCE):
        return (
            f"{name} says {declared:,}, and its products take {products:,}, sums and "
            f"element-wise arithmetic {elements:,} more at most"
        )
    return ""


_SUMS = ("sum", "mean", "var", "std", "var_mean", "linalg_vector_norm", "norm", "cumsum", "prod")
_ELEMENTWISE = ("add", "sub", "rsub", "mul", "div", "pow", "square", "sqrt", "addcmul", "lerp")
_SCATTERED = ("scatter_add", "index_add", "scatter_reduce", "index_reduce")
_ARITHMETIC = frozenset({*_SUMS, *_ELEMENTWISE, *_SCATTERED})


class _Elements(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the input numbers of sums and element-wise arithmetic; products are not counted."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        # composite operations (a norm, say) are counted by their parts, hence `self` stays active
        with self:
            result = func.decompose(*args, **(kwargs or {}))
        if result is not NotImplemented:
            return result
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.removesuffix("_")
        tensors = [value for value in (*args, result) if isinstance(value, Tensor)]
        if name in _ARITHMETIC:
            self.count += max((tensor.numel() for tensor in tensors), default=0)
        # distances of all pairs: the result is smaller than the arithmetic by the last dimension
        if name == "_cdist_forward":
            self.count += args[0].numel() * args[1].shape[-2]
        return result


ECONOMY = (
    Check(
        "needs",
        "It declares no more in needs than it reads: what is asked for is computed.",
        _needs,
        ("needs", "score", "reduce"),
    ),
    Check(
        "overhead",
        "overhead_macs is what score, reduce and observe compute, prepare_macs what prepare does, "
        "within 2%.",
        _overhead,
        ("overhead_macs", "prepare_macs", "prepare", "observe", "reweigh", "score", "reduce"),
    ),
)

READS = Check(
    "reads",
    "It reads nothing of the attention beyond what it declares in needs.",
    _reads,
    ("score", "reduce", "observe"),
)
