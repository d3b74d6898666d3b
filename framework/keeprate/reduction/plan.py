"""Plans what a reduced model will do: turns a method, a schedule and a budget into stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from ..backbone import Backbone, BlockCost
from ..costs import Budget, parse_budget
from ..errors import KeeprateError, unknown_name
from ..method import Method, Place, Preset, Stage, has_score
from ..plugins.kinds import Registered
from ..plugins.parameters import changed_parameters, parameters_of
from .budget import Solution, solve
from .macs import Costs, block_costs, count, shape_of
from .schedule import Schedule, parse_schedule


class UnfitError(KeeprateError):
    """A method cannot act on this model, or not at these stages, by what it says itself."""


@dataclass
class Plan:
    """The stages of `method` on `backbone`, computed once for each image size.

    The budget must be reachable at the model's own size. A shorter text may have too few tokens to
    reach it; then the cheapest stages are used.
    """

    backbone: Backbone
    method: Method
    schedule: Schedule | None
    budget: Budget | None = None
    empty_last_mlp: bool = False
    _solved: dict[tuple[int, int], Solution | tuple[Stage, ...]] = field(default_factory=dict)

    def stages(self, image_size: tuple[int, int]) -> tuple[Stage, ...]:
        """Return the stages for images of (height, width) pixels.

        Raises KeeprateError for a schedule the model or method cannot follow, or a budget out of
        reach.
        """
        solution = self._solution(image_size)
        return solution.stages if isinstance(solution, Solution) else solution

    def note(self, image_size: tuple[int, int]) -> str | None:
        """Return a sentence for the user if the budget was not met closely, else None."""
        solution = self._solution(image_size)
        return solution.note if isinstance(solution, Solution) else None

    def costs(self, image_size: tuple[int, int]) -> Costs:
        """Return the costs of one image, part by part.

        Raises KeeprateError for a method that keeps a different number of tokens in every image.
        """
        if self.method.keeps_per_image:
            raise KeeprateError(
                f"Method '{self.method.name}' keeps a different number of tokens in every image: "
                "run images and read macs_per_image."
            )
        return self._price(image_size, self.stages(image_size))

    def _solution(self, image_size: tuple[int, int]) -> Solution | tuple[Stage, ...]:
        if image_size not in self._solved:
            solution = self._solve(image_size)
            stages = solution.stages if isinstance(solution, Solution) else solution
            _refuse_unfit(self.backbone, self.method, image_size, stages)
            self._solved[image_size] = solution
        return self._solved[image_size]

    def _solve(self, image_size: tuple[int, int]) -> Solution | tuple[Stage, ...]:
        # a text without patch tokens has nothing to reduce
        if self.schedule is None or not self.backbone.num_patches(image_size):
            return ()
        if self.budget is None:
            return self._make_stages(image_size, None)
        setting = f"{self.method.name} {changed_parameters(self.method)}".rstrip()
        blocks = block_costs(self.backbone)  # read off the model once, for hundreds of schedules
        return solve(
            make=lambda scale: self._make_stages(image_size, scale),
            price=lambda stages: self._price(image_size, stages, blocks).total,
            allowed=self.budget.of(count(self.backbone, image_size).total),
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
    explicit counts together with a budget, or a budget out of reach.
    """
    refuse_unsuited(backbone, method)
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
    parsed_schedule = _resolve_schedule(method, schedule, parsed_budget)
    plan = Plan(backbone, method, parsed_schedule, parsed_budget, empty_last_mlp)
    plan.stages(backbone.image_size)  # raises now instead of at the first batch
    return plan


def refuse_unsuited(backbone: Backbone, method: Method) -> None:
    """Raise KeeprateError if `method` does nothing or cannot act on `backbone`."""
    if method.reduces and not has_score(method) and type(method).reduce is Method.reduce:
        raise KeeprateError(
            f"Method '{method.name}' implements neither score nor reduce. "
            "Define one of them, by this very name."
        )
    appends: object = method.appends
    if isinstance(appends, bool) or not isinstance(appends, int) or appends < 0:
        raise KeeprateError(
            f"Method '{method.name}' declares appends = {appends!r}: it is a number of tokens, "
            "0 for none."
        )
    lack = _lack(backbone, method)
    if lack is _Lack.PLACE:
        raise KeeprateError(
            f"Method '{method.name}' acts {method.place}, and in the blocks of this "
            f"{type(backbone.model).__name__} attention and MLP run side by side. "
            f"Methods that would work: {', '.join(_after_block())}."
        )
    if lack is _Lack.CLASS_TOKEN:
        raise KeeprateError(
            f"Method '{method.name}' needs a class token, and this {type(backbone.model).__name__} "
            f"has none. Methods that would work: {', '.join(_without_class_token())}."
        )
    if lack is _Lack.WEIGHTS:
        raise UnfitError(
            f"Method '{method.name}' needs weights=FILE: the checkpoint of a model that was "
            "trained with it."
        )
    _refuse_unfit(backbone, method, backbone.image_size, ())


def _refuse_unfit(
    backbone: Backbone, method: Method, image_size: tuple[int, int], stages: Sequence[Stage]
) -> None:
    reason = method.unfit(shape_of(backbone, backbone.num_patches(image_size)), stages)
    if reason:
        raise UnfitError(f"Method '{method.name}' {reason}.")


def suits(backbone: Backbone, method: Method) -> bool:
    """Tell whether `backbone` has what `method` declares that it needs."""
    shape = shape_of(backbone, backbone.num_patches(backbone.image_size))
    return _lack(backbone, method) is None and not method.unfit(shape, ())


class _Lack(Enum):
    """What a method needs and does not get."""

    PLACE = auto()
    """A place between the two halves of its blocks."""
    CLASS_TOKEN = auto()
    WEIGHTS = auto()
    """The file that its parameter `weights` names."""


def _lack(backbone: Backbone, method: Method) -> _Lack | None:
    if method.reduces and method.place not in backbone.places:
        return _Lack.PLACE
    if method.requires_class_token and not backbone.has_class_token:
        return _Lack.CLASS_TOKEN
    if method.requires_weights and getattr(method, "weights", None) is None:
        return _Lack.WEIGHTS
    return None


def preset_of(method: type[Method], schedule: str | None) -> Preset | None:
    """Return the preset of `method` that `schedule` names, if it names one."""
    return None if schedule is None else method.presets.get(schedule)


def _resolve_schedule(method: Method, schedule: str | None, budget: Budget | None) -> Schedule:
    if schedule is None and budget is None:
        raise KeeprateError(
            f"Method '{method.name}' needs a schedule (r=13, keep=0.7) or a budget (65%)."
        )
    preset = preset_of(type(method), schedule)
    text = preset.schedule if preset is not None else schedule or method.default_schedule
    try:
        parsed = parse_schedule(text)
    except KeeprateError:
        # a plain word is more likely a misspelled preset than a schedule
        if method.presets and text.replace("-", "").isalnum() and not text.isdigit():
            raise unknown_name("schedule or preset", text, method.presets) from None
        raise
    if budget is not None and not parsed.is_scalable:
        raise KeeprateError(
            f"Schedule '{text}' gives explicit counts: no scale is left for a budget. "
            "Drop one of the two."
        )
    return parsed


def _ready() -> list[Registered[Method]]:
    """Return the methods that reduce tokens and need nothing but their name."""
    # imported here: the registry loads every plugin, which only error messages need
    from ..plugins.registry import registry

    offers = registry().methods.values()
    return [offer for offer in offers if offer.cls.reduces and not offer.cls.requires_weights]


def _after_block() -> list[str]:
    found = []
    for method in _ready():
        if method.cls.place is Place.AFTER_BLOCK:
            found.append(method.name)
        elif any(parameter.name == "place" for parameter in parameters_of(method.cls)):
            found.append(f"{method.name}:place={Place.AFTER_BLOCK}")
    return found


def _without_class_token() -> list[str]:
    return [method.name for method in _ready() if not method.cls.requires_class_token]
