"""Try every model that timm knows: which are reduced correctly, which are refused, and why."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import nn

from ...backbone import Backbone
from ...backbones.lookup import adapt
from ...errors import KeeprateError
from ...plugins.registry import registry
from ...reduction.proof import counted_macs, probed
from .proof import ProofStep, examine, randomise, two_stages

DEPTH, CHANNELS, HEADS, SIDE = 4, 192, 3, 6
"""Blocks, channels, heads, and patches along a side of the models that are run on real numbers,
where the family lets them be chosen."""

_NARROW = {"embed_dim": CHANNELS, "num_heads": HEADS}

# modules that compute nothing of their own: with or without them a model is of the same kind
_UNIMPORTANT = {"Dropout", "Identity", "Sequential", "ModuleList", "ModuleDict", "DropPath"}


@dataclass(frozen=True)
class Trial:
    """One name, tried on shapes alone; `refusal` or `failure` say why it is not run, else "".

    `module` is where the name is registered, `cls` is the class of its model. `kind` names the
    classes that the model is made of; models of one kind share a proof on real numbers.
    """

    name: str
    module: str
    cls: str
    family: str = ""
    kind: tuple[str, ...] = ()
    num_parameters: int = 0
    refusal: str = ""
    failure: str = ""


@dataclass(frozen=True)
class KindProof:
    """One model of a kind, compared on real numbers with the plain and the masked model."""

    family: str
    kind: tuple[str, ...]
    name: str
    cls: str
    block: str
    num_parameters: int
    findings: tuple[ProofStep, ...]
    seconds: float
    failure: str = ""

    @property
    def holds(self) -> bool:
        """Whether every check passed."""
        return not self.failure and all(finding.holds for finding in self.findings)

    def error(self, what: str) -> float | None:
        """Return the largest error of the steps whose names begin with `what`, None if none."""
        errors = [
            step.error
            for step in self.findings
            if step.what.startswith(what) and step.error is not None
        ]
        return max(errors, default=None)


def all_names() -> list[str]:
    """Return every name that timm knows, with the models that plugins registered there."""
    # loading the plugins is what registers their models with timm
    _ = registry().backbones
    names: list[str] = timm.list_models()
    return names


def try_names(names: Iterable[str]) -> Iterator[Trial]:
    """Yield the trial of each name, on shapes alone."""
    for name in names:
        yield _try(name)


def prove_kinds(trials: Iterable[Trial]) -> Iterator[KindProof]:
    """Yield a proof of each accepted kind, on its model with the fewest parameters."""
    smallest: dict[tuple[str, ...], Trial] = {}
    for trial in trials:
        if trial.family and not trial.failure:
            best = smallest.get(trial.kind)
            if best is None or trial.num_parameters < best.num_parameters:
                smallest[trial.kind] = trial
    for trial in smallest.values():
        yield _prove(trial.name, trial.kind, lambda name=trial.name: _build_small(name))  # type: ignore[misc]


def prove_examples() -> Iterator[KindProof]:
    """Yield a proof of every example that a backbone names."""
    for offer in registry().backbones.values():
        for name, build in offer.cls.examples().items():
            yield _prove(name, (offer.name, name), build)


def _try(name: str) -> Trial:
    try:
        # without values: some names are models of billions of parameters
        with torch.device("meta"):
            model = timm.create_model(name).eval()
    except Exception as error:  # whatever timm raises for a model it cannot build offline
        return Trial(name, "", "", failure=f"cannot be built: {_describe_error(error)}")
    module, cls = timm.model_entrypoint(name).__module__, type(model).__qualname__
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    try:
        backbone = adapt(model)
    except KeeprateError as error:
        return Trial(name, module, cls, num_parameters=num_parameters, refusal=str(error))
    try:
        failure = _shape_failure(backbone)
    except Exception as error:  # any failure is a finding
        failure = _describe_error(error)
    return Trial(name, module, cls, backbone.name, _kind(backbone), num_parameters, failure=failure)


def _shape_failure(backbone: Backbone) -> str:
    """Run a plain and a reduced model on shapes; return how shapes or costs differ, "" if not."""
    inputs = backbone.example(1)
    with torch.no_grad():
        expected = tuple(backbone.plain(inputs).shape)
    for schedule in ("keep=1@0", two_stages(backbone)):
        reduced = probed(backbone, schedule)
        with torch.no_grad():
            shape = tuple(reduced(inputs).shape)
        counted = counted_macs(backbone, reduced, inputs)
        if shape != expected:
            return f"{schedule} gives logits {shape} instead of {expected}"
        macs = reduced.costs(backbone.input_size(inputs)).model
        if macs != counted:
            return f"{schedule} costs {macs}, by torch's flop counter {counted}"
    return ""


def _kind(backbone: Backbone) -> tuple[str, ...]:
    """Return what distinguishes models of one family: their classes, pooling and prefix tokens."""
    classes = {type(module).__qualname__ for module in backbone.model.modules()} - _UNIMPORTANT
    pooling = str(getattr(backbone.model, "global_pool", ""))
    prefix = "prefix" if backbone.num_prefix else "no prefix"
    groups = {getattr(module, "num_kv_groups", 1) for module in backbone.model.modules()}
    key_heads = "keys of several heads" if max(groups) > 1 else "keys of each head"
    return backbone.name, prefix, pooling, key_heads, *sorted(classes)


def _build_small(name: str) -> nn.Module:
    """Build a model with as few blocks, channels, heads and patches as its family allows."""
    # timm's functions take different options; the way to learn which is to try
    for options in _small_options(name):
        try:
            return timm.create_model(name, **options)
        except (TypeError, ValueError, AssertionError, IndexError, RuntimeError, KeyError):
            continue
    return timm.create_model(name)


def _small_options(name: str) -> Iterator[dict[str, Any]]:
    """Yield options that build a smaller model, from the smallest on."""
    with torch.device("meta"):
        patch = getattr(getattr(timm.create_model(name), "patch_embed", None), "patch_size", None)
    few = {"depth": DEPTH}
    rows, columns = (patch, patch) if isinstance(patch, int) else patch or (1, 1)
    # a patch size of 1 stands after convolutions, and says nothing of pixels
    if rows > 1:
        size = {"img_size": (SIDE * rows, SIDE * columns)}
        yield from (few | _NARROW | size, few | size, size)
    yield from (few | _NARROW, few)


def _prove(name: str, kind: tuple[str, ...], build: Callable[[], nn.Module]) -> KindProof:
    started = time.perf_counter()
    model = randomise(build()).eval()
    backbone = adapt(model)
    findings: list[ProofStep] = []
    failure = ""
    try:
        findings.extend(examine(model))
    except Exception as error:  # any failure is a finding
        failure = _describe_error(error)
    return KindProof(
        family=backbone.name,
        kind=kind,
        name=name,
        cls=type(model).__qualname__,
        block=type(backbone.blocks[0]).__qualname__,
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        findings=tuple(findings),
        seconds=time.perf_counter() - started,
        failure=failure,
    )


def _describe_error(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
