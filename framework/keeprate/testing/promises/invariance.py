"""A result must not depend on the rest of the batch, its order, earlier calls or global state."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from ...reduction.method_calls import refuse_stateful
from ..bench import Bench, Ran
from ..cases import MAIN_KINDS, Case
from ..global_state import seed_all, settings, states
from ..outcome import Broken, Check
from ..recording import Call, tensors_of
from .states import compare_states

TOLERANCE = 1e-9
"""The largest difference of float64 logits, relative to the largest, due to the order of sums."""


def _batch(bench: Bench) -> str:
    bench.must_reduce()
    for case in bench.cases(Case(batch=6)):
        together = bench.run(case, trace=True)
        for count in (1, 2, 4):
            rows = torch.arange(count)
            _compare(bench, together, rows, f"in a batch of 6 and in one of {count}")
    return ""


def _order(bench: Bench) -> str:
    bench.must_reduce()
    for case in bench.cases(Case(batch=6)):
        together = bench.run(case, trace=True)
        rows = torch.tensor([4, 2, 0, 5, 1, 3])
        _compare(bench, together, rows, "at two places in a batch of 6")
    return ""


def _compare(bench: Bench, together: Ran, rows: Tensor, where: str) -> None:
    """Raise Broken unless the images `rows` alone give the same result as in the whole batch."""
    case, whole = together.case, together.logits
    alone = bench.run(case, rows=rows, trace=True)
    error = (alone.logits - whole[rows]).abs().amax(dim=1) / whole.abs().max()
    if bool((error > TOLERANCE).any()):
        image = int(rows[int(error.argmax())])
        raise Broken(
            f"logits of image {image} differ by {float(error.max()):.1e} of the largest {where}",
            case,
        )
    # logits can agree by chance while the choice of patches differs
    for stage, stage_together in zip(alone.model.survivors, together.model.survivors, strict=True):
        dropped, expected = (stage.owner < 0), (stage_together.owner[rows] < 0)
        if not torch.equal(dropped, expected):
            image = int(rows[int((dropped != expected).any(dim=1).int().argmax())])
            raise Broken(f"other patches of image {image} survive {where}", case)
    compare_states(alone, together, rows, where)


def _repeats(bench: Bench) -> str:
    bench.must_reduce()
    for case in bench.cases(Case(), MAIN_KINDS):
        method = bench.subject.make()
        first = bench.run(case, method=method)
        rows = torch.arange(case.batch)
        for other_method, source in (
            (method, "a second call"),
            (bench.subject.make(), "a new instance"),
        ):
            other = bench.run(case, method=other_method)
            if not torch.equal(other.logits, first.logits):
                error = float((other.logits - first.logits).abs().max())
                raise Broken(f"{source} gives logits that differ by up to {error:.1e}", case)
            compare_states(other, first, rows, f"in {source}")
    return ""


def _randomness(bench: Bench) -> str:
    bench.must_reduce()
    for case in bench.cases(Case(), MAIN_KINDS):
        outputs = []
        for seed in (1, 2):
            seed_all(seed)
            before = states()
            outputs.append(bench.run(case, seed=None).logits)
            changed = [name for name, state in states().items() if state != before[name]]
            if changed:
                raise Broken(f"the global random state of {changed[0]} changed while it ran", case)
        if not torch.equal(*outputs):
            raise Broken("its result depends on the seed of a global random generator", case)
    return ""


def _settings(bench: Bench) -> str:
    bench.must_reduce()
    for case in bench.cases(Case(), MAIN_KINDS[:2]):
        before = settings()
        _ = bench.run(case).logits
        changed = [name for name, value in settings().items() if value != before[name]]
        if changed:
            name = changed[0]
            raise Broken(f"{name} was {before[name]} and is now {settings()[name]}", case)
    return ""


def _stateless(bench: Bench) -> str:
    bench.must_reduce()
    for case in bench.cases(Case(), MAIN_KINDS):
        method = bench.subject.make()
        attributes, content = dict(vars(method)), _pickled_values(vars(method))
        shared = dict(vars(bench.subject.cls))
        # not watched: a watched copy would store things in itself and in a class of its own
        _ = bench.run(case, method=method, watch=False).logits
        try:
            refuse_stateful(method, attributes)
        except Exception as error:
            raise Broken(str(error), case) from error
        _check_same("attribute", content, _pickled_values(vars(method)), case)
        _check_same("class attribute", shared, dict(vars(bench.subject.cls)), case)
    return ""


def _check_same(
    what: str, before: Mapping[str, object], after: Mapping[str, object], case: Case
) -> None:
    # identity first: a class attribute may be anything, and not everything compares with !=
    changed = [name for name in {**before, **after} if before.get(name) is not after.get(name)]
    for name in changed:
        if before.get(name) != after.get(name):
            raise Broken(f"the {what} '{name}' changed while it ran", case)


def _pickled_values(attributes: Mapping[str, object]) -> dict[str, object]:
    """Return the pickled values of attributes; those that cannot be pickled are left out."""
    # bytes show a change inside a list or a dictionary, which stays the same object
    pickled: dict[str, object] = {}
    for name, value in attributes.items():
        try:
            pickled[name] = pickle.dumps(value)
        except Exception:  # the check "pickles" reports what cannot be pickled
            continue
    return pickled


def _inputs(bench: Bench) -> str:
    bench.must_reduce()
    for case in bench.cases(Case()):
        changes: list[str] = []

        # the list is a default value, so that the function keeps the list of its own case
        @contextmanager
        def unmodified(call: Call, changes: list[str] = changes) -> Iterator[None]:
            before = _tensors(call)
            copies = {name: tensor.clone() for name, tensor in before.items()}
            yield
            changes.extend(_describe_changes(call, before, copies))

        ran = bench.run(case, around=unmodified)
        if changes:
            raise Broken(changes[0], case) from ran.stop
        _ = ran.logits
        if not torch.equal(ran.images, case.images()):
            raise Broken("the images were written into", case)
    return ""


def _tensors(call: Call) -> dict[str, Tensor]:
    """Return every tensor that a method is given, by name."""
    # the fields behind the properties: `attention.weights` would compute the matrix
    tokens, attention = call.tokens, call.attention
    bias = attention.bias
    candidates: dict[str, object] = {f"tokens.{n}": t for n, t in tensors_of(tokens).items()}
    candidates |= {f"attention.{n}": getattr(attention, n) for n in _ATTENTION_FIELDS}
    candidates["attention.weights"] = attention.given_weights
    candidates["attention.score"] = attention.given_score
    candidates["attention.mask"] = None if bias is None else bias.given
    candidates["attention.bias.extra"] = None if bias is None else bias.extra
    return {name: value for name, value in candidates.items() if isinstance(value, Tensor)}


_ATTENTION_FIELDS = ("q", "k", "v", "x_pre")


def _describe_changes(
    call: Call, before: dict[str, Tensor], copies: dict[str, Tensor]
) -> Iterator[str]:
    after = _tensors(call)
    where = f"{call.function} at block {call.stage.block}"
    for name, saved in copies.items():
        if not torch.equal(before[name], saved):
            count = int((before[name] != saved).sum())
            yield f"{where} wrote into {name}: {count} of {saved.numel()} numbers changed"
        elif after.get(name) is not before[name]:
            yield f"{where} put something else in place of {name}"


REPEATS = Check(
    "repeats",
    "The same images give the same result, in a second call and by a new instance.",
    _repeats,
    ("score", "reduce"),
)
"""Checks that compare two runs come after this one: without it their result means nothing."""

INVARIANCE = (
    Check(
        "batch",
        "An image's result does not depend on what else is in its batch.",
        _batch,
        ("score", "reduce"),
        ("repeats",),
    ),
    Check(
        "order",
        "An image's result does not depend on its place in the batch.",
        _order,
        ("score", "reduce"),
        ("repeats",),
    ),
    Check(
        "randomness",
        "No global random state is read or written, of torch, NumPy or Python.",
        _randomness,
        ("score", "reduce"),
        ("repeats",),
    ),
    Check(
        "settings",
        "The process is left as it was: torch's default type, threads, determinism, gradients.",
        _settings,
        ("score", "reduce", "__init__"),
    ),
    Check(
        "stateless",
        "It keeps nothing between calls, neither in itself nor in its class.",
        _stateless,
    ),
    Check(
        "inputs",
        "Images, tokens and attention are not written into.",
        _inputs,
        ("score", "reduce"),
    ),
)
