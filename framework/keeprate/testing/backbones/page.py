"""The results of the sweep over all models as a Markdown page, docs/backbones.md."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version

from ...plugins.registry import registry
from .sweep import KindProof, Trial

COMMAND = "keeprate check-backbone --all --write docs/backbones.md"

_INTRODUCTION = """# Backbones

Written by `{command}` ({versions}); not edited by hand.

Every model that timm knows is built without values and tried. A name counts as **proved** if a
family takes it, the plain and a reduced model give logits of one shape and cost what torch's flop
counter counts, to the digit, and one model of the same kind (the same classes and pooling), built
as small as it can be, was right on real numbers. Right means, with every parameter random: every
token kept gives the model's own logits; tokens dropped in the first block and in the middle give
the logits of the plain model, run whole by its own code, whose later attention masks the dropped
tokens and whose pooling leaves them out. Errors are relative to the largest logit: of every token
kept in float32 (0: bit-identical), of dropped tokens in float64. `keeprate check-backbone NAME`
prints the same for one model at its own size.
"""


def page(trials: Sequence[Trial], proofs: Sequence[KindProof]) -> str:
    """Return the page: totals, families, kinds that were run on real numbers, and refusals."""
    versions = ", ".join(_versions())
    parts = [
        _INTRODUCTION.format(command=COMMAND, versions=versions),
        totals(trials, proofs),
        "## Families\n\n" + families_table(trials, proofs),
        _descriptions(trials, proofs),
        "## Kinds run on real numbers\n\n" + _kinds_table(proofs),
        "## Refused\n\n" + refusals_table(trials),
    ]
    failures = _failures(trials, proofs)
    return "\n".join([*parts, *failures])


def totals(trials: Sequence[Trial], proofs: Sequence[KindProof]) -> str:
    """Return the totals in one line."""
    count = Counter(outcome(trial, proofs) for trial in trials)
    return (
        f"{len(trials)} names tried: {count['proved']} proved, {count['refused']} refused with the "
        f"reason, {count['failed']} failed.\n"
    )


def outcome(trial: Trial, proofs: Sequence[KindProof]) -> str:
    """Return "proved", "refused" or "failed" for one name."""
    if trial.refusal:
        return "refused"
    proved = {proof.kind for proof in proofs if proof.holds}
    return "failed" if trial.failure or trial.kind not in proved else "proved"


def families_table(trials: Sequence[Trial], proofs: Sequence[KindProof]) -> str:
    """Return a table with a row for every family and module, and for families' own examples."""
    groups: dict[tuple[str, str], list[Trial]] = defaultdict(list)
    for trial in trials:
        if trial.family:
            groups[trial.family, _last_part(trial.module)].append(trial)
    rows = [_family_row(*key, group, proofs) for key, group in sorted(groups.items())]
    # examples are no names of timm: their kinds are those that no trial has
    tried = {trial.kind for trial in trials}
    examples = [proof for proof in proofs if proof.kind not in tried]
    rows += [_example_row(name, examples) for name in sorted({proof.family for proof in examples})]
    return _table(
        "backbone | models | names | proved | kinds | every token kept | tokens dropped | places "
        "| notes",
        rows,
    )


def refusals_table(trials: Sequence[Trial]) -> str:
    """Return a table with a row for every module and reason to refuse its models."""
    counts = Counter(
        (_last_part(trial.module), _reason(trial)) for trial in trials if trial.refusal
    )
    rows = [
        f"{module} | {number} | {reason}" for (module, reason), number in sorted(counts.items())
    ]
    return _table("module | names | why", rows)


def _family_row(
    family: str, module: str, group: Sequence[Trial], proofs: Sequence[KindProof]
) -> str:
    kinds = {trial.kind for trial in group}
    own = [proof for proof in proofs if proof.kind in kinds]
    proved = sum(outcome(trial, proofs) == "proved" for trial in group)
    return f"{family} | {module} | {len(group)} | {proved} | {len(own)} | {_error_cells(own)}"


def _example_row(family: str, proofs: Sequence[KindProof]) -> str:
    own = [proof for proof in proofs if proof.family == family]
    names = ", ".join(sorted({proof.cls for proof in own}))
    proved = sum(proof.holds for proof in own)
    # each example is a kind of its own, so the number of names is that of kinds
    return f"{family} | {names} | {len(own)} | {proved} | {len(own)} | {_error_cells(own)}"


def _error_cells(proofs: Sequence[KindProof]) -> str:
    if not proofs:
        return " | | | "
    kept = _largest(proof.error("every token kept") for proof in proofs)
    dropped = _largest(proof.error("dropped") for proof in proofs)
    return f"{_number(kept)} | {_number(dropped)} | {_places(proofs)} | {_blocks_note(proofs)}"


def _places(proofs: Sequence[KindProof]) -> str:
    refused = {
        proof.block
        for proof in proofs
        for finding in proof.findings
        if finding.what == "dropped after-attention" and finding.error is None
    }
    if not refused:
        return "both"
    return f"both; after-block only for {', '.join(sorted(refused))}"


def _blocks_note(proofs: Sequence[KindProof]) -> str:
    blocks = sorted({proof.block for proof in proofs})
    sizes = any(
        finding.what == "another, oblong size" and finding.error is not None
        for proof in proofs
        for finding in proof.findings
    )
    size_note = "; oblong images and other sizes without rebuilding" if sizes else ""
    return f"blocks: {', '.join(blocks)}{size_note}"


def _descriptions(trials: Sequence[Trial], proofs: Sequence[KindProof]) -> str:
    names = {trial.family for trial in trials if trial.family} | {proof.family for proof in proofs}
    backbones = registry().backbones
    lines = [
        f"- `{name}`: {backbones[name].description}" for name in sorted(names & set(backbones))
    ]
    return "\n".join([*lines, ""])


def _kinds_table(proofs: Sequence[KindProof]) -> str:
    rows = [
        f"{proof.family} | {proof.name} | {proof.block} | {proof.num_parameters / 1e6:.1f} | "
        f"{_number(proof.error('every token kept'))} | {_number(proof.error('dropped'))} | "
        f"{_number(proof.error('bfloat16'))} | {_number(proof.error('float16'))} | "
        f"{'right' if proof.holds else 'WRONG'}"
        for proof in sorted(proofs, key=lambda proof: (proof.family, proof.name))
    ]
    return _table(
        "backbone | model run | block | M parameters | "
        "every token kept | tokens dropped | bfloat16 | float16 | result",
        rows,
    )


def _failures(trials: Sequence[Trial], proofs: Sequence[KindProof]) -> list[str]:
    lines = [f"- {trial.name}: {trial.failure}" for trial in trials if trial.failure]
    for proof in proofs:
        failed_steps = [f"{step.what}: {step.said}" for step in proof.findings if not step.holds]
        if proof.failure or failed_steps:
            lines.append(
                f"- {proof.name}: {'; '.join([*failed_steps, proof.failure]).rstrip('; ')}"
            )
    return ["## Failed\n", *lines, ""] if lines else []


def _reason(trial: Trial) -> str:
    """Return the reason of a refusal without the class at its start and the hint at its end."""
    # without them equal reasons are counted together
    return trial.refusal.partition(f"{trial.cls}: ")[2].partition(" Another family can be")[0]


def _table(head: str, rows: Sequence[str]) -> str:
    rule = " | ".join("---" for _ in head.split(" | "))
    return "\n".join(f"| {row} |" for row in [head, rule, *rows]) + "\n"


def _largest(errors: Iterable[float | None]) -> float | None:
    return max((error for error in errors if error is not None), default=None)


def _number(error: float | None) -> str:
    if error is None:
        return "not measured"
    return f"{error:.1e}" if error else "0"


def _last_part(module: str) -> str:
    return module.rpartition(".")[2]


def _versions() -> list[str]:
    versions = []
    for name in ("timm", "torch", "torchvision", "transformers"):
        try:
            # "+cpu" and the like: the page must be the same for every build of a release
            versions.append(f"{name} {version(name).partition('+')[0]}")
        except PackageNotFoundError:
            versions.append(f"no {name}")
    return versions
