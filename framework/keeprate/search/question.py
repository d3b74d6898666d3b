"""What is searched, and what no search can be made for."""

from __future__ import annotations

from dataclasses import dataclass

from ..analysis.metrics import MetricInfo
from ..errors import KeeprateError
from ..method import Method
from ..request import Request, RunSpec
from ..resizing import InputMethod
from ..strategy import Strategy
from ..study.build import build_run


@dataclass(frozen=True)
class SearchQuestion:
    """What is searched: `request` has a run for each setting of the method's parameters.

    `own` is the run of the method as it was named, at the budget; `others` are schedules made by
    hand that are compared as well. About `candidates` schedules are tried, judged by `metric` on
    the share `share` of the images.
    """

    request: Request
    own: RunSpec
    others: tuple[RunSpec, ...]
    budget: str
    strategy: Strategy
    candidates: int
    metric: MetricInfo
    share: float = 0.5

    def methods(self) -> list[Method]:
        """Return the method of each setting."""
        seed = self.request.options.seed
        return [build_run(spec, seed).method for spec in self.request.runs]


def refuse(question: SearchQuestion) -> None:
    """Raise KeeprateError for a method whose schedules cannot be searched."""
    for method in question.methods():
        if not method.reduces or isinstance(method, InputMethod):
            raise KeeprateError(f"Method '{method.name}' has no stages that could be searched for.")
        if method.keeps_per_image:
            raise KeeprateError(
                f"Method '{method.name}' keeps a different number of tokens in every image: its "
                "schedules do not cost the same, so that they cannot be compared."
            )
