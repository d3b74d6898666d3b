"""The promises about tokens: their number, unchanged prefix tokens, and sizes that add up."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...reduction.macs import macs
from ...tokens import TOKEN_FIELDS, Tokens
from ..bench import Bench, Ran
from ..cases import Case
from ..outcome import Broken, Check, NotAsked
from ..recording import Call, tensors_of


def patches_left(tokens: Tokens) -> list[int]:
    """Return the number of patch tokens of each image, without padding."""
    if tokens.valid is None:
        return [tokens.num_patch_tokens] * len(tokens.x)
    return (tokens.valid.sum(dim=1) - tokens.num_prefix).tolist()


def _returns(bench: Bench) -> str:
    bench.must_reduce()
    for case in bench.cases(Case()):
        ran = bench.run(case)
        for call in ran.calls:
            problem = _shape_error(call) if call.result is not None else ""
            problem = problem or _none_error(call)
            if problem:
                where = f"at block {call.stage.block} {call.function} returned"
                raise Broken(f"{where} {problem}", case) from ran.stop
        bench.refuse(ran)
    return ""


def _none_error(call: Call) -> str:
    """Return "None" if a call returned None, "" if it raised or returned something else."""
    return "None" if call.result is None and call.error is None else ""


def _shape_error(call: Call) -> str:
    before, after = call.tokens, call.result
    if call.function in ("score", "reweigh"):  # keeprate looks at weights itself
        return _score_error(before, after) if call.function == "score" else ""
    if not isinstance(after, Tokens):
        return f"a {type(after).__name__}, not Tokens"
    if len(after.x) != len(before.x):
        return f"{len(after.x)} images of {len(before.x)}"
    if after.x.dtype != before.x.dtype:
        return f"x of {after.x.dtype}, where {before.x.dtype} came in"
    if after.x.shape[2:] != before.x.shape[2:]:
        return f"x {tuple(after.x.shape)}, where {before.x.shape[2]} channels came in"
    for name, value in tensors_of(after, TOKEN_FIELDS).items():
        if value.shape[:2] != after.x.shape[:2]:
            return f"{name} {tuple(value.shape)} for x {tuple(after.x.shape)}"
    if not bool(after.x.isfinite().all()):
        return f"{int((~after.x.isfinite()).sum())} numbers in x that are not finite"
    return ""


def _score_error(tokens: Tokens, score: Any) -> str:
    expected = tuple(tokens.x.shape[:2])
    if not isinstance(score, Tensor):
        return f"a {type(score).__name__}, not a tensor {expected}"
    if tuple(score.shape) != expected:
        return f"{tuple(score.shape)}, not one number per token, prefix tokens included, {expected}"
    return f"{int(score.isnan().sum())} scores that are NaN" if bool(score.isnan().any()) else ""


def _identity(bench: Bench) -> str:
    method = bench.subject.make()
    if method.keeps_per_image:
        raise NotAsked("how many tokens it keeps is its own choice (keeps_per_image)")
    if method.reweighs:
        raise NotAsked("it changes the attention weights of every block (reweighs)")
    rounding = 1e-9 if method.observes else 0.0  # explicit weights in every block
    for case in bench.cases(Case(schedule="keep=1@0,1,2,3")):
        # computed before the method was made, which could have changed torch or the model
        plain = bench.plain[Case(case.kind)]
        ran = bench.run(case)
        error = float((ran.logits - plain).abs().max())
        if not error <= rounding:
            raise Broken(f"logits differ from the plain model's by up to {error:.1e}", case)
        costs, expected = ran.model.costs(case.size), macs(case.model())
        # what it prepares or observes costs something where nothing is removed, too
        cost = costs.model if ran.model.starts_apart else costs.total
        if cost != expected:
            raise Broken(f"it costs {cost:,} MACs, the plain model {expected:,}", case)
    return ""


def _counts(bench: Bench) -> str:
    method = bench.must_reduce()
    for case in bench.cases(Case()):
        ran = bench.run(case)
        _check_counts(ran)
        bench.refuse(ran)
        _check_result(ran)
    return "at most as many (keeps_per_image)" if method.keeps_per_image else bench.unasked()


def follow(bench: Bench, case: Case) -> Ran:
    """Run a case and raise Broken unless the schedule is followed and the logits are finite."""
    ran = bench.run(case)
    _check_counts(ran)
    _check_result(ran)
    return ran


def _check_counts(ran: Ran) -> None:
    method, case = ran.model.method, ran.case
    for call in ran.reductions:
        if not isinstance(call.result, Tokens):
            continue
        patches, keep = patches_left(call.result), call.stage.keep
        most = keep + method.appends
        if any(count > most if method.keeps_per_image else count != most for count in patches):
            at_most = "at most " if method.keeps_per_image else ""
            appended = f" and {method.appends} to append" if method.appends else ""
            raise Broken(
                f"at block {call.stage.block} {patches} patch tokens are left in the images of the "
                f"batch, where {at_most}{keep}{appended} were scheduled",
                case,
            ) from ran.stop
        if any(count < 1 for count in patches):
            raise Broken(f"at block {call.stage.block} an image has no patch token left", case)


def _check_result(ran: Ran) -> None:
    """Raise the exception that ended the run, and Broken for wrong logits or costs."""
    if not bool(ran.logits.isfinite().all()):
        raise Broken(f"{int((~ran.logits.isfinite()).sum())} logits are not finite", ran.case)
    if ran.model.method.keeps_per_image:
        return
    expected = ran.model.costs(ran.case.size).total
    spent = ran.model.macs_per_image.total.tolist()
    if spent != [expected] * ran.case.batch:
        raise Broken(f"the schedule costs {expected:,} MACs and the run cost {spent}", ran.case)


def _prefix(bench: Bench) -> str:
    bench.must_reduce()
    for case in bench.cases(Case()):
        ran = bench.run(case)
        for call in ran.reductions:
            problem = _prefix_error(call)
            if problem:
                raise Broken(f"at block {call.stage.block} {problem}", case) from ran.stop
        bench.refuse(ran)
    return ""


def _prefix_error(call: Call) -> str:
    before, after = call.tokens, call.result
    if not isinstance(after, Tokens) or len(after.x) != len(before.x):
        return ""
    prefix = before.num_prefix
    if after.num_prefix != prefix or after.has_class_token != before.has_class_token:
        return f"num_prefix is {after.num_prefix}, where {prefix} prefix tokens came in"
    same_shape = after.x[:, :prefix].shape == before.x[:, :prefix].shape
    if not same_shape or not torch.equal(after.x[:, :prefix], before.x[:, :prefix]):
        unchanged = [
            same_shape and torch.equal(after.x[:, i], before.x[:, i]) for i in range(prefix)
        ]
        return f"prefix token {unchanged.index(False)} of {prefix} is not the one that came in"
    if after.valid is not None and not bool(after.valid[:, :prefix].all()):
        return "a prefix token is marked as not valid"
    return ""


def _sizes(bench: Bench) -> str:
    bench.must_reduce()
    for case in bench.cases(Case()):
        for call in _traced_reductions(bench, case):
            problem = _size_error(call.result, case.patches)
            if problem:
                raise Broken(f"after block {call.stage.block} {problem}", case)
    return ""


def _traced_reductions(bench: Bench, case: Case) -> list[Call]:
    ran = bench.run(case, trace=True)
    _ = ran.logits
    return ran.reductions


def _size_error(after: Tokens, patches: int) -> str:
    """Return what is wrong with the sizes, "" if nothing is."""
    prefix = after.num_prefix
    size, valid = after.size, _valid(after)
    if bool((size[:, :prefix] != 1).any()):
        return f"a prefix token has size {float(size[:, :prefix].max()):g}, not 1"
    # padding stands for nothing; a size of 1 passes all tests below
    sizes = size[:, prefix:].masked_fill(~valid[:, prefix:], 1.0)
    if not bool((sizes >= 1).all()):
        return (
            f"a token has size {float(sizes.min()):g}, and every token stands for a patch at least"
        )
    if not after.has_merged and bool((sizes != 1).any()):
        return f"a token has size {float(sizes.max()):g}, and has_merged is False"
    total = (size * valid)[:, prefix:].sum(dim=1)
    if bool((total > patches).any()):
        return f"sizes sum to {float(total.max()):g}, more than the {patches} patches there are"
    alive = _count_alive(after)
    # without a correct trace nobody knows how many patches were dropped, and sums go untested
    if alive is not None and not torch.equal(total, alive.to(total)):
        return f"sizes sum to {total.tolist()}, and {alive.tolist()} patches are left"
    return ""


def _valid(tokens: Tokens) -> Tensor:
    valid = tokens.valid
    return torch.ones_like(tokens.size, dtype=torch.bool) if valid is None else valid


def _count_alive(tokens: Tokens) -> Tensor | None:
    """Return how many patches of each image live in a token (B,), None if `owner` is wrong."""
    if _owner_error(tokens):
        return None
    assert tokens.owner is not None
    alive = _valid(tokens).gather(1, tokens.owner.clamp(min=0)) & (tokens.owner >= 0)
    return alive.sum(dim=1)


def _trace(bench: Bench) -> str:
    bench.must_reduce()
    for case in bench.cases(Case()):
        for call in _traced_reductions(bench, case):
            problem = _owner_error(call.result) or _share_error(call.result)
            if problem:
                raise Broken(f"after block {call.stage.block} {problem}", case)
    return ""


def _owner_error(tokens: Tokens) -> str:
    owner, prefix = tokens.owner, tokens.num_prefix
    if owner is None:
        return "owner is None, so that no picture can show where the patches are"
    if bool((owner >= tokens.count).any()):
        return f"a patch lives in token {int(owner.max())} of {tokens.count}"
    if bool(((owner < prefix) & (owner >= 0)).any()):
        return "a patch lives in a prefix token"
    return ""


def _share_error(tokens: Tokens) -> str:
    """Return a token whose size is not the number of its patches, "" if there is none."""
    assert tokens.owner is not None
    patches = torch.zeros_like(tokens.size)
    patches.scatter_add_(1, tokens.owner.clamp(min=0), (tokens.owner >= 0).to(patches))
    patches = (patches * _valid(tokens))[:, tokens.num_prefix :]
    sizes = (tokens.size * _valid(tokens))[:, tokens.num_prefix :]
    # sums that differ are the finding of the check "sizes"
    if torch.equal(patches.sum(dim=1), sizes.sum(dim=1)) and not torch.equal(patches, sizes):
        position = (patches != sizes).nonzero()[0].tolist()
        index = position[0], position[1]
        return (
            f"token {position[1] + tokens.num_prefix} of image {position[0]} has size "
            f"{float(sizes[index]):g}, and {float(patches[index]):g} patches live in it"
        )
    return ""


TOKENS = (
    Check(
        "returns",
        "score and reduce run on every kind of model; one gives a number per token, one Tokens.",
        _returns,
        ("score", "reduce"),
    ),
    Check(
        "counts",
        "As many patch tokens are left as are scheduled and appended, and logits are finite.",
        _counts,
    ),
    Check(
        "identity",
        "Keeping every token gives the plain model's logits, bit for bit, at the same cost.",
        _identity,
        ("__init__", "reduce", "score"),
    ),
    Check(
        "prefix",
        "Class token, distillation token and registers stay first, whole and unchanged.",
        _prefix,
    ),
    Check(
        "sizes",
        "Sizes say how many patches each token stands for: merged ones sum to the patches left.",
        _sizes,
    ),
    Check(
        "trace",
        "The trace says in which token each patch lives, and agrees with the sizes.",
        _trace,
    ),
)
