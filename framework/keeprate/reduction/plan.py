"""Plans what a reduced model will do: turns a method, a schedule and a budget into stages."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..backbone import Backbone, BlockCost
from ..costs import Budget, parse_budget
from ..errors import KeeprateError
from ..method import Method, Place, Stage
from ..plugins.parameters import build, changed_parameters, parse_spec
from ..resizing import InputMethod
from .budget import Solution, solve
from .input_sizes import Resized, resized_at, solved_size
from .macs import Costs, block_costs, count
from .named_schedules import resolve_schedule
from .schedule import Schedule
from .suitability import refuse_unfit, refuse_unsuited


@dataclass
class Plan:
    """The stages of `method` on `backbone`, computed once for each image size.

    The budget must be reachable at the model's own size. A shorter text may have too few tokens to
    reach it; then the cheapest stages are used. Where a method that makes the input smaller was
    asked for, `resized` says so, `backbone` runs at the smaller size, and `method` reduces what is
    left. `scale` is that of the schedule where the budget was solved on images (`calibrate`).
    """

    backbone: Backbone
    method: Method
    schedule: Schedule | None
    budget: Budget | None = None
    empty_last_mlp: bool = False
    resized: Resized | None = None
    scale: float | None = None
    _solved: dict[tuple[int, int], Solution[tuple[Stage, ...]] | tuple[Stage, ...]] = field(
        default_factory=dict
    )

    @property
    def asked(self) -> Method:
        """The method that was asked for."""
        return self.method if self.resized is None else self.resized.method

    @property
    def own(self) -> Backbone:
        """The backbone at the model's own size."""
        return self.backbone if self.resized is None else self.resized.own

    @property
    def awaits_calibration(self) -> bool:
        """Whether the budget can be solved only on images, and is not solved yet."""
        return self.method.keeps_per_image and self.budget is not None and self.scale is None

    def settle(self, scale: float) -> None:
        """Take the schedule at a scale, in place of any other solution of the budget."""
        self.scale = scale
        self._solved.clear()

    def bound_scale(self) -> float:
        """Return the scale that meets the budget if every image keeps as many tokens as it may."""
        solution = self._solution(self.backbone.image_size)
        return solution.scale if isinstance(solution, Solution) else 0.0

    def runs_at(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Return the size in pixels at which images of (height, width) pixels are run.

        Raises KeeprateError for a size that a smaller input was not planned for.
        """
        if self.resized is None or image_size == self.backbone.image_size:
            return image_size
        return self.resized.runs_at(image_size, self.backbone.image_size)

    def stages(self, image_size: tuple[int, int]) -> tuple[Stage, ...]:
        """Return the stages for images of (height, width) pixels.

        Raises KeeprateError for a schedule the model or method cannot follow, a budget out of
        reach, or one that has to be solved on images first.
        """
        if self.awaits_calibration:
            raise uncalibrated(self)
        return self.most(image_size)

    def most(self, image_size: tuple[int, int]) -> tuple[Stage, ...]:
        """Return the stages, or those that meet the budget if images keep all that they may.

        These serve to check and estimate what is not calibrated. Raises KeeprateError as `stages`.
        """
        solution = self._solution(self.runs_at(image_size))
        return solution.found if isinstance(solution, Solution) else solution

    def note(self, image_size: tuple[int, int]) -> str | None:
        """Return a sentence for the user if the budget was not met closely, else None."""
        solution = self._solution(self.runs_at(image_size))
        scaled = None
        if self.schedule is not None:
            patches = self.backbone.num_patches(self.runs_at(image_size))
            scaled = self.schedule.note(patches, self.backbone.depth)
        if isinstance(solution, Solution):
            return " ".join(filter(None, [scaled, solution.note])) or None
        return scaled if self.resized is None else self.resized.note

    def costs(self, image_size: tuple[int, int]) -> Costs:
        """Return the costs of one image, part by part.

        Raises KeeprateError for a method that keeps a different number of tokens in every image.
        """
        if self.method.keeps_per_image:
            raise KeeprateError(
                f"Method '{self.method.name}' keeps a different number of tokens in every image: "
                "run images and read macs_per_image."
            )
        return self.most_costs(image_size)

    def most_costs(self, image_size: tuple[int, int]) -> Costs:
        """Return the costs of an image that keeps as many tokens as it may, part by part."""
        return self._price(self.runs_at(image_size), self.most(image_size))

    def _solution(
        self, image_size: tuple[int, int]
    ) -> Solution[tuple[Stage, ...]] | tuple[Stage, ...]:
        if image_size not in self._solved:
            solution = self._solve(image_size)
            stages = solution.found if isinstance(solution, Solution) else solution
            refuse_unfit(self.backbone, self.method, image_size, stages)
            self._solved[image_size] = solution
        return self._solved[image_size]

    def _solve(
        self, image_size: tuple[int, int]
    ) -> Solution[tuple[Stage, ...]] | tuple[Stage, ...]:
        # a text without patch tokens has nothing to reduce
        if self.schedule is None or not self.backbone.num_patches(image_size):
            return ()
        if self.budget is None or self.scale is not None:
            return self._make_stages(image_size, self.scale)
        setting = f"{self.asked.name} {changed_parameters(self.asked)}".rstrip()
        # a share is one of the whole model, also of images made smaller
        whole = image_size if self.resized is None else self.own.image_size
        blocks = block_costs(self.backbone)  # read off the model once, for hundreds of schedules
        return solve(
            make=lambda scale: self._make_stages(image_size, scale),
            price=lambda stages: self._price(image_size, stages, blocks).total,
            allowed=self.budget.of(count(self.own, whole).total),
            what=f"method '{setting}' with schedule '{self.schedule.text}'",
            or_cheapest=bool(self.backbone.text_inputs) and image_size != self.backbone.image_size,
        )

    def _make_stages(self, image_size: tuple[int, int], scale: float | None) -> tuple[Stage, ...]:
        assert self.schedule is not None
        patches = self.backbone.num_patches(image_size)
        depth = self.backbone.depth
        stages = self.schedule.stages(self.method, patches, depth, scale)
        if self.empty_last_mlp:  # its last block keeps prefix tokens only: nothing left to reduce
            return tuple(stage for stage in stages if stage.block < depth - 1)
        return stages

    def _price(
        self,
        image_size: tuple[int, int],
        stages: tuple[Stage, ...],
        blocks: tuple[BlockCost, ...] | None = None,
    ) -> Costs:
        return count(
            self.backbone,
            image_size,
            self.method,
            stages,
            empty_last_mlp=self.empty_last_mlp,
            blocks=blocks,
        )


def make_plan(
    backbone: Backbone,
    method: Method,
    schedule: str | None,
    budget: str | float | None,
    *,
    empty_last_mlp: bool = False,
) -> Plan:
    """Return the plan, after checks that `method` suits `backbone` and can follow the schedule.

    Raises KeeprateError before any image is computed: for a missing class token, a wrong schedule,
    explicit counts together with a budget, a budget out of reach, or a grid that is impossible.
    """
    refuse_unsuited(backbone, method)
    if isinstance(method, InputMethod):
        return _plan_of_input(backbone, method, schedule, budget, empty_last_mlp=empty_last_mlp)
    return _plan_of_tokens(backbone, method, schedule, budget, empty_last_mlp, None)


def _plan_of_input(
    backbone: Backbone,
    method: InputMethod,
    schedule: str | None,
    budget: str | float | None,
    *,
    empty_last_mlp: bool,
) -> Plan:
    """Return the plan of a method that makes the input smaller, and of the method after it."""
    if method.reduces_after:
        then = _method_after(method)
        refuse_unsuited(backbone, then)
        smaller, resized = resized_at(backbone, method)
        return _plan_of_tokens(smaller, then, schedule, budget, empty_last_mlp, resized)
    if schedule is not None:
        raise KeeprateError(
            f"Method '{method.name}' has no stages: leave the schedule out, or name a method that "
            "has some with grid=... and then=NAME."
        )
    if (method.rows_and_columns is None) == (budget is None):
        raise KeeprateError(
            f"Method '{method.name}' needs a budget (65%) or a grid ({method.name}:grid=12), not "
            "both."
        )
    parsed = None if budget is None else parse_budget(budget)
    smaller, resized = (
        resized_at(backbone, method) if parsed is None else solved_size(backbone, method, parsed)
    )
    return Plan(smaller, method, None, parsed, empty_last_mlp, resized)


def _method_after(method: InputMethod) -> Method:
    """Return the method that reduces what another leaves of the input."""
    from ..plugins.registry import registry

    name, values = parse_spec(method.then)
    then = build("method", registry().method(name), values)
    if isinstance(then, InputMethod) or not then.reduces:
        raise KeeprateError(
            f"Method '{method.name}': then={name} reduces no tokens. Name one that does, as "
            "then=tome."
        )
    return then


def _plan_of_tokens(
    backbone: Backbone,
    method: Method,
    schedule: str | None,
    budget: str | float | None,
    empty_last_mlp: bool,
    resized: Resized | None,
) -> Plan:
    if empty_last_mlp and Place.AFTER_ATTENTION not in backbone.places:
        raise KeeprateError(
            "empty_last_mlp needs blocks whose MLP follows their attention; here they run side by "
            "side."
        )
    if empty_last_mlp and not backbone.head_reads_prefix_only:
        raise KeeprateError(
            "empty_last_mlp needs a head that reads only the class token; "
            "this model pools its patches."
        )
    if not method.reduces:
        if schedule is not None or budget is not None:
            raise KeeprateError(
                f"Method '{method.name}' reduces nothing: drop schedule and budget."
            )
        return Plan(backbone, method, None, empty_last_mlp=empty_last_mlp)
    parsed_budget = None if budget is None else parse_budget(budget)
    if backbone.text_inputs and parsed_budget is not None and parsed_budget.share is None:
        raise KeeprateError(
            f"Budget '{parsed_budget.text}' is one cost for texts of all lengths: "
            "give a share, as 65%."
        )
    parsed_schedule = resolve_schedule(method, schedule, parsed_budget)
    plan = Plan(backbone, method, parsed_schedule, parsed_budget, empty_last_mlp, resized)
    plan.most(backbone.image_size)  # raises now instead of at the first batch
    return plan


def uncalibrated(plan: Plan, remedy: str = "--calibration DATA") -> KeeprateError:
    """Return the error for a budget that has to be solved on images, where there are none."""
    assert plan.budget is not None
    return KeeprateError(
        f"Method '{plan.method.name}' keeps a different number of tokens in every image, so the "
        f"budget {plan.budget.text} has to be solved on images that are not tested: give some "
        f"with {remedy}, or a schedule in place of the budget."
    )
