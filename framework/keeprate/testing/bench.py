"""A method on tiny models: what all checks of a method are made with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

import torch
from torch import Tensor

from ..backbone import Backbone
from ..backbones.lookup import adapt
from ..errors import KeeprateError
from ..method import Method
from ..plugins.author_errors import package_of, raise_place
from ..reduction.plan import make_plan, refuse_unsuited
from ..reduction.reduced_model import ReducedModel
from .cases import BLOCKS, KINDS, Case
from .global_state import seed_all
from .outcome import Broken, NotAsked, NotTried
from .recording import Around, Call, Lens, all_alike, watched

RATES: Mapping[int, float] = {0: 0.72, 2: 0.62, 3: 0.73}
"""Keep rates by block: 25 patch tokens become 18, 11 and 8."""


@dataclass(frozen=True)
class Subject:
    """A method under test: its class, how one is made, and what the user calls it."""

    label: str
    cls: type[Method]
    make: Callable[[], Method]

    @property
    def package(self) -> str:
        """The top-level package, or the module, that the method's code is in."""
        return package_of(self.cls)


@dataclass
class Ran:
    """One run: the calls that were made, and the logits, or the exception that ended it."""

    case: Case
    model: ReducedModel
    calls: list[Call]
    images: Tensor
    output: Tensor | None
    stop: Exception | None

    @property
    def logits(self) -> Tensor:
        """The logits (B, K); raises what ended the run instead."""
        if self.stop is not None:
            raise self.ending
        assert self.output is not None
        return self.output

    @property
    def ending(self) -> Exception:
        """What ended the run, with the case written on it."""
        assert self.stop is not None
        self.stop.__dict__.setdefault("keeprate_case", self.case)
        return self.stop

    @property
    def reductions(self) -> list[Call]:
        """The calls of `reduce` that returned."""
        return [
            call for call in self.calls if call.function == "reduce" and call.result is not None
        ]


@dataclass(frozen=True)
class Bench:
    """Runs one method on cases; makes each method anew, so that checks do not meet."""

    subject: Subject
    plain: Mapping[Case, Tensor] = field(default_factory=dict)
    """What the models of some cases compute by themselves, found before the method was made."""

    @classmethod
    def of(cls, subject: Subject) -> Bench:
        """Return the bench of a method; what is to be compared with it later is computed now."""
        return cls(subject, {Case(kind): _plain(kind) for kind in KINDS})

    def must_reduce(self) -> Method:
        """Return a new method; raises NotAsked for the one that reduces nothing."""
        if not self.subject.cls.reduces:
            raise NotAsked("it reduces nothing (reduces = False)")
        return self.subject.make()

    def cases(self, case: Case, kinds: Iterable[str] = tuple(KINDS)) -> Iterator[Case]:
        """Yield a case for each kind of model that suits the method.

        Where the case has no schedule it is that of `scheduled`. Raises NotAsked if none suits.
        """
        method, found = self.subject.make(), False
        for kind in kinds:
            each = replace(case, kind=kind)
            if not acts_on(each, method):
                continue
            found = True
            yield each if each.schedule is not None else scheduled(method, each)
        if not found:
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
        """Run the case, or the images `rows` of it, and return whatever came of it.

        With `watch=False` the method itself runs, and no calls are recorded. Global random
        generators are seeded with `seed` before, so that what depends on them is found once.
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
        """Return what keeps other promises from being tried, if keeprate itself ended the run."""
        if isinstance(stop, KeeprateError) and not raise_place(stop, self.subject.package):
            refused = NotTried(f"keeprate refused what it did. {stop}")
            refused.__cause__ = stop
            return refused
        return None

    def refuse(self, ran: Ran) -> None:
        """Raise what ended a run: NotTried where keeprate did for something looked at elsewhere."""
        if ran.stop is not None:
            raise self.refusal(ran.stop) or ran.ending

    def unasked(self) -> str:
        """Return a note about kinds of model the method does not act on, "" for none."""
        method = self.subject.make()
        left_out = [kind for kind in KINDS if not acts_on(Case(kind), method)]
        if not left_out:
            return ""
        why = "needs a class token" if method.requires_class_token else f"it acts {method.place}"
        return f"{why}, so not tried with: {'; '.join(left_out)}"


def attempted(
    case: Case, model: ReducedModel, calls: list[Call], images: Tensor, index: Tensor
) -> Ran:
    """Call a reduced model and return what came of it, an exception included."""
    try:
        return Ran(case, model, calls, images, model(images, index), None)
    except Exception as error:  # whatever a method makes of it
        return Ran(case, model, calls, images, None, _as_raised(error))


def _as_raised(error: Exception) -> Exception:
    """Return what a method raised, before keeprate explained it."""
    cause = error.__cause__
    return cause if isinstance(error, KeeprateError) and isinstance(cause, Exception) else error


def reduced(case: Case, method: Method, *, trace: bool = False) -> ReducedModel:
    """Return the case's model reduced by a method."""
    plan = make_plan(backbone_of(case), method, case.schedule if method.reduces else None, None)
    return ReducedModel(plan.backbone, plan, trace=trace)


def acts_on(case: Case, method: Method) -> bool:
    """Tell whether a method can act on the case's model, by what it says of itself."""
    backbone = backbone_of(case)
    lacks = method.requires_class_token and not backbone.has_class_token
    return method.place in backbone.places and not lacks


def backbone_of(case: Case) -> Backbone:
    """Return the backbone of the case's model."""
    return adapt(case.model())


def scheduled(method: Method, case: Case, rates: Mapping[int, float] = RATES) -> Case:
    """Return the case with a schedule of counts: keep rates by block, as far as the method goes."""
    left, stages = case.patches, []
    for block, rate in rates.items():
        most = method.most_removed(left)
        if isinstance(most, bool) or not isinstance(most, int) or most < 0:
            raise Broken(f"most_removed({left}) returned {most!r}, not a number of tokens")
        left = max(int(left * rate), left - most, 1)
        stages.append(f"{left}@{block}")
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
