"""What a reduced model will do: a method, a schedule and perhaps a budget, made into stages."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..backbone import Backbone
from ..costs import Budget, parse_budget
from ..errors import KeeprateError, unknown_name
from ..method import Method, Place, Preset, Stage, has_score
from .budget import Solution, solve
from .macs import Costs, count
from .schedule import Schedule, parse_schedule


@dataclass
class Plan:
    """The stages of `method` on `backbone`, worked out once for every image size met.

    A budget must be within reach at the model's own size. A shorter text, whose tokens may be too
    few for it, takes the cheapest stages there are.
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
        found = self._found(image_size)
        return found.stages if isinstance(found, Solution) else found

    def note(self, image_size: tuple[int, int]) -> str | None:
        """Return what a user should know about how the budget was met, if anything."""
        found = self._found(image_size)
        return found.note if isinstance(found, Solution) else None

    def costs(self, image_size: tuple[int, int]) -> Costs:
        """Return the costs of one image, part by part.

        Raises KeeprateError for a method that keeps a different number of tokens in every image.
        """
        if self.method.keeps_per_image:
            raise KeeprateError(
                f"Method '{self.method.name}' keeps a different number of tokens in every image: "
                "run images and read macs_per_image."
            )
        return self._priced(image_size, self.stages(image_size))

    def _found(self, image_size: tuple[int, int]) -> Solution | tuple[Stage, ...]:
        if image_size not in self._solved:
            self._solved[image_size] = self._work_out(image_size)
        return self._solved[image_size]

    def _work_out(self, image_size: tuple[int, int]) -> Solution | tuple[Stage, ...]:
        if self.schedule is None or not self.backbone.num_patches(image_size):
            return ()
        if self.budget is None:
            return self._made(image_size, None)
        return solve(
            make=lambda scale: self._made(image_size, scale),
            price=lambda stages: self._priced(image_size, stages).total,
            allowed=self.budget.of(count(self.backbone, image_size).total),
            what=f"method '{self.method.name}' with schedule '{self.schedule.text}'",
            or_cheapest=bool(self.backbone.text_inputs) and image_size != self.backbone.image_size,
        )

    def _made(self, image_size: tuple[int, int], scale: float | None) -> tuple[Stage, ...]:
        assert self.schedule is not None
        patches = self.backbone.num_patches(image_size)
        depth = self.backbone.depth
        stages = self.schedule.stages(self.method, patches, depth, scale)
        if self.empty_last_mlp:  # its last block keeps prefix tokens only: nothing left to reduce
            return tuple(stage for stage in stages if stage.block < depth - 1)
        return stages

    def _priced(self, image_size: tuple[int, int], stages: tuple[Stage, ...]) -> Costs:
        return count(
            self.backbone, image_size, self.method, stages, empty_last_mlp=self.empty_last_mlp
        )


def make_plan(
    backbone: Backbone,
    method: Method,
    schedule: str | None,
    budget: str | float | None,
    *,
    empty_last_mlp: bool = False,
) -> Plan:
    """Check that `method` suits `backbone` and that its schedule or budget can be followed.

    Raises KeeprateError before anything is computed: a class token that is missing, a schedule of
    another form, explicit counts with a budget, a budget out of reach.
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
    parsed = None if budget is None else parse_budget(budget)
    if backbone.text_inputs and parsed is not None and parsed.share is None:
        raise KeeprateError(
            f"Budget '{parsed.text}' is one cost for texts of all lengths: give a share, as 65%."
        )
    chosen = _chosen_schedule(method, schedule, parsed)
    plan = Plan(backbone, method, chosen, parsed, empty_last_mlp)
    plan.stages(backbone.image_size)
    return plan


def refuse_unsuited(backbone: Backbone, method: Method) -> None:
    """Raise KeeprateError if `method` does nothing, or needs what `backbone` has not.

    That is a class token, or a place between a block's halves.
    """
    if method.reduces and not has_score(method) and type(method).reduce is Method.reduce:
        raise KeeprateError(
            f"Method '{method.name}' implements neither score nor reduce. "
            "Define one of them, by this very name."
        )
    if method.reduces and method.place not in backbone.places:
        raise KeeprateError(
            f"Method '{method.name}' acts {method.place}, and in the blocks of this "
            f"{type(backbone.model).__name__} attention and MLP run side by side. "
            f"Methods that would work: {', '.join(_after_block())}."
        )
    if method.requires_class_token and not backbone.has_class_token:
        raise KeeprateError(
            f"Method '{method.name}' needs a class token, and this {type(backbone.model).__name__} "
            f"has none. Methods that would work: {', '.join(_without_class_token())}."
        )


def suits(backbone: Backbone, method: Method) -> bool:
    """Tell whether `method` can act on `backbone`."""
    try:
        refuse_unsuited(backbone, method)
    except KeeprateError:
        return False
    return True


def preset_of(method: type[Method], schedule: str | None) -> Preset | None:
    """Return the preset of `method` that `schedule` names, if it names one."""
    return None if schedule is None else method.presets.get(schedule)


def _chosen_schedule(method: Method, schedule: str | None, budget: Budget | None) -> Schedule:
    if schedule is None and budget is None:
        raise KeeprateError(
            f"Method '{method.name}' needs a schedule (r=13, keep=0.7) or a budget (65%)."
        )
    preset = preset_of(type(method), schedule)
    text = preset.schedule if preset is not None else schedule or method.default_schedule
    try:
        parsed = parse_schedule(text)
    except KeeprateError:
        if method.presets and text.replace("-", "").isalnum() and not text.isdigit():
            raise unknown_name("schedule or preset", text, method.presets) from None
        raise
    if budget is not None and not parsed.is_scalable:
        raise KeeprateError(
            f"Schedule '{text}' gives explicit counts: no scale is left for a budget. "
            "Drop one of the two."
        )
    return parsed


def _after_block() -> list[str]:
    from ..plugins.registry import registry

    offers = registry().methods.values()
    return [o.name for o in offers if o.cls.reduces and o.cls.place is Place.AFTER_BLOCK]


def _without_class_token() -> list[str]:
    from ..plugins.registry import registry

    offers = registry().methods.values()
    return [o.name for o in offers if o.cls.reduces and not o.cls.requires_class_token]
