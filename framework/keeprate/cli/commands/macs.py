"""`keeprate macs`: counts the cost of a model, part by part, plain and reduced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ...errors import KeeprateError
from ..options import ImageSize, plugin_options
from ..printing import echo

if TYPE_CHECKING:
    from torch import nn

    from ...reduction.macs import Costs
    from ...reduction.plan import Plan


@click.command()
@click.argument("model")
@click.option("--method", metavar="NAME[:PARAMETERS]", help="Reduce tokens with this method.")
@click.option("--schedule", metavar="SCHEDULE", help="As r=13 or keep=0.7@3,6,9.")
@click.option("--budget", metavar="COST", help="GMACs (0.8) or a share (65%).")
@click.option(
    "--image-size", type=ImageSize(), metavar="PIXELS", help="Side, or HEIGHTxWIDTH, of images."
)
@click.option("--empty-last-mlp", is_flag=True, help="Drop all patches before the last MLP.")
@plugin_options
def macs(
    model: str,
    method: str | None,
    schedule: str | None,
    budget: str | None,
    image_size: tuple[int, int] | None,
    empty_last_mlp: bool,
) -> None:
    """Count the multiply-accumulates per image of the model MODEL, part by part.

    MODEL is a timm name, torchvision:NAME, or hf:FOLDER or hf:NAME for one of transformers;
    --image-size of a model that reads texts is their number of tokens. One multiply-accumulate
    counts as one, what papers call FLOPs. No weights are downloaded, nothing is run.
    """
    if method is None and (schedule or budget or empty_last_mlp):
        raise KeeprateError("--schedule, --budget and --empty-last-mlp need --method NAME.")
    from ...reduction.macs import costs

    plain, size = _without_weights(model, image_size)
    columns = {"unpruned": costs(plain, size)}
    if method is not None:
        plan = _plan(plain, method, schedule, budget, empty_last_mlp)
        seen = size or plan.backbone.image_size
        columns[method] = plan.most_costs(seen)
        if note := _note(plan, seen):
            echo(f"Note: {note}", err=True)
    echo("\n".join(table(columns)))
    if method is not None and (stages := plan.most(seen)):
        at_most = "at most " * plan.method.keeps_per_image
        counts = ",".join(f"{stage.keep}@{stage.block}" for stage in stages)
        echo(f"Patch tokens kept: {at_most}{counts}")


def table(columns: dict[str, Costs]) -> list[str]:
    """Return the lines of a table of costs in MMACs, with each part's share of its model's total.

    The last line is what each model costs of the first one, in per cent.
    """
    unpruned = next(iter(columns.values())).total
    parts = ["embedding", "projections", "attention", "mlp", "head", "model", "overhead", "total"]
    if any(costs.fixed for costs in columns.values()):
        parts.insert(parts.index("model"), "fixed")
    texts = [
        [name, *(_cell(costs, part) for part in parts), f"{costs.total / unpruned:.1%}"]
        for name, costs in columns.items()
    ]
    width = 2 + max(len(text) for column in texts for text in column)
    labels = ["MMACs per image", *parts, "of unpruned"]
    return [
        label.ljust(16) + "".join(text.rjust(width) for text in row)
        for label, *row in zip(labels, *texts, strict=True)
    ]


def _cell(costs: Costs, part: str) -> str:
    macs = getattr(costs, part)
    return f"{macs / 1e6:.3f}{macs / costs.total:8.1%}"


def _note(plan: Plan, size: tuple[int, int]) -> str | None:
    """Return a sentence on how the costs are to be read, None if they are those of every image."""
    if not plan.method.keeps_per_image:
        return plan.note(size)
    solved = "" if plan.budget is None else " A run solves the budget for their mean, on images."
    return (
        f"Method '{plan.method.name}' keeps a different number of tokens in every image: these are "
        f"the most that an image can cost.{solved}"
    )


def _plan(
    plain: nn.Module, method: str, schedule: str | None, budget: str | None, empty: bool
) -> Plan:
    from ...backbones.lookup import adapt
    from ...plugins.parameters import parse_spec
    from ...reduction.plan import make_plan
    from ...reduction.reduce import resolve_method

    name, texts = parse_spec(method)
    resolved = resolve_method(name, schedule, texts)
    return make_plan(adapt(plain), resolved, schedule, budget, empty_last_mlp=empty)


def _without_weights(
    name: str, image_size: tuple[int, int] | None
) -> tuple[nn.Module, tuple[int, int] | None]:
    """Build a model without weights, and return it with the image size at which it is counted.

    The size None is the model's own.
    """
    from ...request import PREFIX

    if name.startswith(PREFIX):
        from ...backbones.loading.huggingface import shapes_of

        return shapes_of(name, image_size)
    from ...backbones.loading.load import shapes_alone

    return shapes_alone(name, image_size), None
