"""`keeprate macs`: counts the cost of a model, part by part, plain and reduced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ...errors import KeeprateError
from ..options import ImageSize, plugin_options

if TYPE_CHECKING:
    from torch import nn

    from ...reduction.macs import Costs
    from ...reduction.reduced_model import ReducedModel


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
        reduced = _reduced(plain, method, schedule, budget, empty_last_mlp)
        columns[method] = reduced.costs(size)
        note = reduced.plan.note(size or reduced.backbone.image_size)
        if note:
            click.echo(f"Note: {note}", err=True)
    click.echo("\n".join(table(columns)))
    if method is not None and reduced.stages(size):
        click.echo(f"Patch tokens kept: {stages_text(reduced, size)}")


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


def stages_text(reduced: ReducedModel, image_size: tuple[int, int] | None = None) -> str:
    """Return the schedule as explicit counts, in the form that `--schedule` takes."""
    return ",".join(f"{stage.keep}@{stage.block}" for stage in reduced.stages(image_size))


def _reduced(
    plain: nn.Module, method: str, schedule: str | None, budget: str | None, empty: bool
) -> ReducedModel:
    from ...plugins.parameters import parse_spec
    from ...reduction.reduce import reduce

    name, texts = parse_spec(method)
    values: dict[str, Any] = dict(texts)
    return reduce(plain, name, schedule, budget=budget, empty_last_mlp=empty, **values)


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
