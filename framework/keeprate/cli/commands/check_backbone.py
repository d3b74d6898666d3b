"""`keeprate check-backbone`: proves step by step that a model is reduced right."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...errors import KeeprateError
from ..options import ImageSize, plugin_options, settings
from ..printing import echo

if TYPE_CHECKING:
    from torch import nn

    from ...testing.backbones.proof import ProofStep


@click.command("check-backbone")
@click.argument("what", metavar="NAME_OR_FILE", required=False)
@click.option("--all", "everything", is_flag=True, help="Try every model timm knows.")
@click.option("--write", type=click.Path(path_type=Path), metavar="FILE.md", help="With --all.")
@click.option("--weights", type=click.Path(path_type=Path), metavar="FILE", help="Local weights.")
@click.option(
    "--image-size", type=ImageSize(), metavar="PIXELS", help="Side of images, or HEIGHTxWIDTH."
)
@plugin_options
def check_backbone(
    what: str | None,
    everything: bool,
    write: Path | None,
    weights: Path | None,
    image_size: tuple[int, int] | None,
) -> None:
    """Prove that a model is reduced right, or show what is wrong.

    NAME is a model's name as for compare; without --weights every parameter gets a random value.
    FILE.py is a plugin that offers backbones: the models its classes name as examples are checked.
    --all tries every name timm knows, for minutes, and writes what it finds as a table. The status
    is 1 if anything fails.
    """
    if everything:
        if what is not None or weights is not None or image_size is not None:
            raise KeeprateError("--all goes with --write alone.")
        raise click.exceptions.Exit(sweep(write))
    if what is None or write is not None:
        raise KeeprateError("Give a model's name, a plugin FILE.py, or --all (with --write FILE).")
    failed = 0
    for name, build in _models(what, weights, image_size):
        failed += _print_proof(name, build())
    if failed:
        echo(f"{failed} checks failed.", err=True)
        raise click.exceptions.Exit(1)


def _models(
    what: str, weights: Path | None, image_size: tuple[int, int] | None
) -> Iterator[tuple[str, Callable[[], nn.Module]]]:
    from ...backbones.loading.load import load_model
    from ...testing.backbones.proof import randomise

    if not what.endswith(".py"):
        loaded = load_model(what, weights=weights, pretrained=False, image_size=image_size)
        yield what, lambda: loaded.model if weights is not None else randomise(loaded.model)
        return
    if weights is not None or image_size is not None:
        raise KeeprateError("--weights and --image-size go with a model's name, not with a file.")
    for name, build in _examples_of(Path(what)):
        # bound as a default: a closure would build the last example each time
        yield name, lambda build=build: randomise(build()).eval()  # type: ignore[misc]


def _examples_of(path: Path) -> Iterator[tuple[str, Callable[[], nn.Module]]]:
    """Load a plugin file and yield the examples of the backbones that it offers."""
    from ...plugins.registry import activate, load

    if not path.is_file():
        raise KeeprateError(f"No file '{path}'. Give a model's name or a plugin FILE.py.")
    # what other plugin files offer is not checked
    known_classes = {offer.cls for offer in load(settings().files).backbones.values()}
    registry = load([*settings().files, path], strict=True)
    activate(registry)
    offers = [offer for offer in registry.backbones.values() if offer.cls not in known_classes]
    if not offers:
        raise KeeprateError(f"'{path}' offers no backbone (hook keeprate_backbones).")
    for offer in offers:
        examples = offer.cls.examples()
        if not examples:
            raise KeeprateError(
                f"Backbone '{offer.name}' names no example to check: let the class method examples "
                "return small models of the family, by name."
            )
        for name, build in examples.items():
            yield f"{offer.name}: {name}", build


def _print_proof(name: str, model: nn.Module) -> int:
    """Print each step of the proof of a model, and return how many steps failed."""
    from ...backbones.lookup import adapt
    from ...testing.backbones.proof import examine

    backbone = adapt(model)
    patches = backbone.num_patches(backbone.image_size)
    echo(
        f"{name}: {type(model).__name__}, run by backbone '{backbone.name}': {backbone.depth} "
        f"blocks, {patches} patch and {backbone.num_prefix} prefix tokens"
    )
    failed = 0
    for finding in examine(model):
        echo(line(finding))
        failed += not finding.holds
    return failed


def line(finding: ProofStep) -> str:
    """Return a step of the proof as a line of text."""
    return f"  {'ok  ' if finding.holds else 'FAIL'}  {finding.what:24}  {finding.said}"


def sweep(path: Path | None) -> int:
    """Try every model that timm knows, print or write the table, and return the exit status."""
    from ...testing.backbones.page import outcome, page, totals
    from ...testing.backbones.sweep import all_names, prove_examples, prove_kinds, try_names

    # before the minutes that the sweep takes
    if path is not None and not path.absolute().parent.is_dir():
        raise KeeprateError(f"No folder '{path.parent}' to write the table to.")
    started = time.perf_counter()
    trials, proofs = [], []
    names = all_names()
    for trial in try_names(names):
        trials.append(trial)
        outcome_text = trial.failure or ("refused" if trial.refusal else trial.family)
        echo(f"{len(trials)}/{len(names)} {trial.name}: {outcome_text}", err=True)
    for proof in chain(prove_kinds(trials), prove_examples()):
        proofs.append(proof)
        result = "right" if proof.holds else "WRONG"
        echo(f"{proof.family} {proof.name}: {result}, {proof.seconds:.1f} s", err=True)
    text = page(trials, proofs)
    if path is None:
        echo(text)
    else:
        path.write_text(text, encoding="utf-8")
    echo(totals(trials, proofs).strip())
    slowest = max(proofs, key=lambda proof: proof.seconds)
    largest = max(trials, key=lambda trial: trial.num_parameters if trial.family else 0)
    echo(
        f"Slowest proof: {slowest.name}, {slowest.seconds:.0f} s. Largest model, on shapes alone: "
        f"{largest.name}, {largest.num_parameters / 1e6:,.0f} M parameters. "
        f"In all {time.perf_counter() - started:.0f} s."
    )
    outcomes = {outcome(trial, proofs) for trial in trials}
    return int("failed" in outcomes or not all(proof.holds for proof in proofs))
