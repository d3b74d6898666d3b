"""The promise of methods that skip: what they do not keep comes back as it was."""

from __future__ import annotations

from ...tokens import Tokens, take_rows
from ..bench import Bench
from ..cases import Case
from ..outcome import Broken, Check, NotAsked
from .tokens import patches_left


def _comes_back(bench: Bench) -> str:
    if not bench.must_reduce().skips:
        raise NotAsked("what it does not keep is gone (skips = False)")
    for case in bench.cases(Case()):
        ran = bench.run(case)
        for call in ran.reductions:
            problem = _problem(call.tokens, call.result)
            if problem:
                raise Broken(f"at block {call.stage.block} {problem}", case) from ran.stop
        bench.refuse(ran)
        at_head = ran.model.token_counts[:, -1] - ran.model.backbone.num_prefix
        if at_head.tolist() != [case.patches] * case.batch:
            raise Broken(f"{at_head.tolist()} patch tokens reach the head of {case.patches}", case)
    return ""


def _problem(before: Tokens, after: object) -> str:
    """Return which of the tokens that go do not come back as they were, "" if all do."""
    if not isinstance(after, Tokens):
        return ""
    was = before.bring_back()
    lost = max(
        entered - left
        for entered, left in zip(patches_left(was), patches_left(after.bring_back()), strict=True)
    )
    if lost:
        return f"{lost} tokens are neither kept nor set aside"
    aside = after.aside
    if aside is None:
        return ""
    assert aside.position is not None
    changed = (aside.x != take_rows(was.x, aside.position)).any(dim=2)
    if aside.valid is not None:
        changed &= aside.valid
    if bool(changed.any()):
        image, place = changed.nonzero()[0].tolist()
        return (
            f"token {int(aside.position[image, place])} of image {image} is changed and set aside"
        )
    return ""


SKIPPING = (
    Check(
        "comes-back",
        "If it skips, every token that it does not keep comes back as it was.",
        _comes_back,
        ("skips", "reduce"),
    ),
)
