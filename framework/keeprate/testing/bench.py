"""Run a method on tiny models: the tool of all checks of a method."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

import torch
from torch import Tensor

from ..backbone import Backbone
from ..backbones.lookup import adapt
from ..errors import KeeprateError
from ..method import Method
from ..plugins.author_errors import package_of, raise_place
from ..reduction.patch_count import PatchCount
from ..reduction.plan import make_plan
from ..reduction.reduced_model import ReducedModel
from ..reduction.suitability import UnfitError, refuse_unsuited, suits
from ..resizing import InputMethod
from .cases import BLOCKS, KINDS, Case
from .global_state import seed_all
from .outcome import Broken, NotAsked, NotTried
from .recording import Around, Call, Lens, all_alike, watched

RATES: Mapping[int, float] = {0: 0.72, 2: 0.62, 3: 0.73}
"""Keep rates by block: 25 patch tokens become 18, 11 and 8."""


@dataclass(frozen=True)
class Subject:
    """A method under test: its class, a function that makes one, and the user's name for it."""

    label: str
    cls: type[Method]
    make: Callable[[], Method]

    @property
    def package(self) -> str:
        """The top-level package, or the module, of the method's code."""
        return package_of(self.cls)


@dataclass
class Ran:
    """One run: the calls of the method, and the logits or the exception that ended the run."""

    case: Case
    model: ReducedModel
    calls: list[Call]
    images: Tensor
    output: Tensor | None
    stop: Exception | None

    @property
    def logits(self) -> Tensor:
        """The logits (B, K); raises the exception that ended the run, if one did."""
        if self.stop is not None:
            raise self.ending
        assert self.output is not None
        return self.output

    @property
    def ending(self) -> Exception:
        """The exception that ended the run, with the case as an attribute."""
        assert self.stop is not None
        self.stop.__dict__.setdefault("keeprate_case", self.case)
        return self.stop

    @property
    def reductions(self) -> list[Call]:
        """The calls of `reduce` that returned something."""
        return [
            call for call in self.calls if call.function == "reduce" and call.result is not None
        ]


@dataclass(frozen=True)
class Bench:
    """Runs one method on cases; every check gets a new method, so that checks are independent."""

    subject: Subject
    plain: Mapping[Case, Tensor] = field(default_factory=dict)
    """The logits of the unpruned models of some cases, computed before the method was made."""
    kinds: Collection[str] = tuple(KINDS)
    """The kinds of model that are tried, of those that a check asks for."""

    @classmethod
    def of(cls, subject: Subject, kinds: Collection[str] = tuple(KINDS)) -> Bench:
        """Return the bench of a method, on these kinds of model."""
        # before the method is made: its constructor could change torch, and so these logits
        return cls(subject, {Case(kind): _plain(kind) for kind in kinds}, kinds)

    def must_reduce(self) -> Method:
        """Return a new method; raises NotAsked for a method that reduces nothing."""
        if not self.subject.cls.reduces:
            raise NotAsked("it reduces nothing (reduces = False)")
        if issubclass(self.subject.cls, InputMethod):
            raise NotAsked("it makes the input smaller, and reduces no tokens itself")
        return self.subject.make()

    def cases(self, case: Case, kinds: Iterable[str] = tuple(KINDS)) -> Iterator[Case]:
        """Yield a case for each kind of model that suits the method.

        A case without a schedule gets that of `scheduled`. Raises NotAsked if no kind suits.
        """
        method, found = self.subject.make(), False
        for kind in kinds:
            each = replace(case, kind=kind)
            if kind not in self.kinds or not suits(backbone_of(each), method):
                continue
            found = True
            yield each if each.schedule is not None else scheduled(method, each)
        if not found:
            _ask(method, case)
            raise NotAsked(f"it acts on none of these models: {'; '.join(kinds)}")

    def run(
        self,
        case: Case,
        *,
        method: Method | None = None,
        rows: Tensor | None = None,
        around: Around | None = None,
        lens: Lens | None = None,
        trace: bool = False,
        watch: bool = True,
        seed: int | None = 0,
    ) -> Ran:
        """Run the case, or its images `rows`, and return the run, also if it ended early.

        With `watch=False` the method itself runs, and no calls are recorded. Global random
        generators are seeded with `seed` before, so that a method that uses them repeats itself;
        the check "randomness" alone finds it.
        """
        if seed is not None:
            seed_all(seed)
        images, index = case.images(), case.index()
        if rows is not None:
            images, index = images[rows], index[rows]
        plain = self.subject.make() if method is None else method
        refuse_unsuited(backbone_of(case), plain)
        lens = all_alike if case.alike and lens is None else lens
        twin, calls = watched(plain, around, lens) if watch else (plain, [])
        model = reduced(case, twin, trace=trace)
        with torch.inference_mode():
            return attempted(case, model, calls, images, index)

    def refusal(self, stop: Exception) -> NotTried | None:
        """Return why other promises cannot be tried, if keeprate itself ended the run."""
        # an exception from the author's own lines is a finding of the check that met it
        if isinstance(stop, KeeprateError) and not raise_place(stop, self.subject.package):
            refused = NotTried(f"keeprate refused what it did. {stop}")
            refused.__cause__ = stop
            return refused
        return None

    def refuse(self, ran: Ran) -> None:
        """Raise what ended a run; NotTried if keeprate refused something that others check."""
        if ran.stop is not None:
            raise self.refusal(ran.stop) or ran.ending

    def unasked(self) -> str:
        """Return a note on the kinds of model that the method does not act on, "" for none."""
        method = self.subject.make()
        left_out = [kind for kind in KINDS if not suits(backbone_of(Case(kind)), method)]
        if not left_out:
            return ""
        why = "needs a class token" if method.requires_class_token else f"it acts {method.place}"
        return f"{why}, so not tried with: {'; '.join(left_out)}"


def attempted(
    case: Case, model: ReducedModel, calls: list[Call], images: Tensor, index: Tensor
) -> Ran:
    """Call a reduced model and return the run, with the exception if one ended it."""
    try:
        return Ran(case, model, calls, images, model(images, index), None)
    except Exception as error:  # whatever a method makes of it
        return Ran(case, model, calls, images, None, _as_raised(error))


def _as_raised(error: Exception) -> Exception:
    """Return the exception that a method raised, without keeprate's explanation."""
    cause = error.__cause__
    return cause if isinstance(error, KeeprateError) and isinstance(cause, Exception) else error


def reduced(case: Case, method: Method, *, trace: bool = False) -> ReducedModel:
    """Return the case's model reduced by a method; NotAsked where the method says it cannot be."""
    schedule, budget = case.schedule if method.reduces else None, None
    if isinstance(method, InputMethod):  # it has no stages, and keeps all at its model's own size
        schedule, budget = None, "100%"
    try:
        plan = make_plan(backbone_of(case), method, schedule, budget)
    except UnfitError as error:
        raise NotAsked(str(error)) from None
    return ReducedModel(plan.backbone, plan, trace=trace)


def _ask(method: Method, case: Case) -> None:
    """Raise KeeprateError for a method that does nothing, NotAsked for one that says it cannot."""
    try:
        refuse_unsuited(backbone_of(case), method)
    except UnfitError as error:
        raise NotAsked(str(error)) from None


def backbone_of(case: Case) -> Backbone:
    """Return the backbone of the case's model."""
    return adapt(case.model())


def scheduled(method: Method, case: Case, rates: Mapping[int, float] = RATES) -> Case:
    """Return the case with a schedule of counts; no stage removes more than the method can."""
    refuse_unsuited(backbone_of(case), method)  # what it appends is counted below
    counted, stages = PatchCount(method, case.patches), []
    for block, rate in rates.items():
        left = counted.entering(block)
        most = method.most_removed(left)
        if isinstance(most, bool) or not isinstance(most, int) or most < 0:
            raise Broken(f"most_removed({left}) returned {most!r}, not a number of tokens")
        keep = max(int(left * rate), left - most, 1)
        stages.append(f"{keep}@{block}")
        counted.reduce(keep)
    return replace(case, schedule=",".join(stages) if method.reduces else None)


def every_block(rate: float) -> Mapping[int, float]:
    """Return one keep rate for every block."""
    return {block: rate for block in range(BLOCKS)}


@cache
def _plain(kind: str) -> Tensor:
    case = Case(kind)
    with torch.inference_mode():
        logits: Tensor = case.model()(case.images())
    return logits
