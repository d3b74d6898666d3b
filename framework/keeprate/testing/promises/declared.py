"""What a method says about itself: name, parameters, schedules; and that it can be copied."""

from __future__ import annotations

import copy
import difflib
import pickle
from functools import cache

import torch

from ...backbone import Backbone
from ...backbones.lookup import adapt
from ...errors import KeeprateError
from ...method import Method, Needs, Place, Preset
from ...plugins.kinds import KINDS, Registered, check_class
from ...plugins.parameters import build, parameters_of, values_of
from ...reduction.plan import make_plan, refuse_unsuited, suits
from ...reduction.schedule import parse_schedule
from ..bench import Bench, backbone_of
from ..cases import MAIN_KINDS, Case
from ..outcome import Broken, Check, NotAsked


def _described(bench: Bench) -> str:
    cls = bench.subject.cls
    name = check_class(KINDS["methods"], cls)
    said = Registered(name, cls, "", "", "").description
    if not said.endswith((".", ":", "!", "?")):
        raise Broken(f"its docstring begins with no sentence, but {said!r}")
    _check_spelling(cls)
    try:
        method = bench.subject.make()
    except KeeprateError:
        if any(each.required for each in parameters_of(cls)):
            return ""  # the next check says that it has no default
        raise
    for value, kind in ((method.place, Place), (method.needs, Needs)):
        if not isinstance(value, kind):
            word, known = kind.__name__, ", ".join(each.name for each in kind)
            raise Broken(f"{word.lower()} is {value!r}, not one of {word}'s: {known}")
    _check_blocks(method)
    refuse_unsuited(backbone_of(Case()), method)  # one that implements nothing
    return ""


_LONG = 8
"""Names of a method's, from this length on, that nobody writes nearly so but by mistake."""


def _check_spelling(cls: type[Method]) -> None:
    """Refuse what is nearly the name of something that keeprate would have looked for."""
    own = {name for each in cls.__mro__[: cls.__mro__.index(Method)] for name in vars(each)}
    known = {name for name in (*dir(Method), *Method.__annotations__) if len(name) >= _LONG}
    for name in sorted(own - known):
        close = difflib.get_close_matches(name, known - own, n=1, cutoff=0.9)
        if close and not name.startswith("_"):
            raise Broken(f"it has {name}, which nothing looks for; did you mean {close[0]}?")


def _check_blocks(method: Method) -> None:
    blocks = method.default_blocks
    if not blocks or list(blocks) != sorted(set(blocks)) or not 0 <= blocks[0] <= blocks[-1] < 12:
        raise Broken(f"default_blocks is {blocks!r}; blocks ascend, each once, from 0 to 11")


def _parameters(bench: Bench) -> str:
    cls = bench.subject.cls
    missing = [each.name for each in parameters_of(cls) if each.required]
    if missing:
        said = f"{missing[0]} has no default, so that the name alone is not enough to run it"
        raise Broken(said) from _refused(cls)
    values = values_of(bench.subject.make())
    for each in parameters_of(cls):
        default = build("method", cls, {})
        kept = getattr(default, each.name)
        if kept != each.default:
            raise Broken(
                f"{each.name}={each.default!r} was given, and the attribute {each.name} is {kept!r}"
            )
    again = values_of(build("method", cls, values))
    if again != values:
        raise Broken(f"made again from its own values {values}, it has {again}")
    return ""


def _refused(cls: type[Method]) -> Exception | None:
    """Return what a user meets who names the method alone."""
    try:
        build("method", cls, {})
    except KeeprateError as error:
        return error
    return None


def _schedules(bench: Bench) -> str:
    method = bench.must_reduce()
    form = parse_schedule(method.default_schedule)
    if not form.is_scalable:
        raise Broken(
            f"default_schedule is '{form.text}', explicit counts, of which no budget can be solved"
        )
    for name, preset in method.presets.items():
        _check_preset(bench, name, preset)
    backbone = next((each for each in map(_whole, WHOLE) if suits(each, method)), None)
    if backbone is None:
        return "no budget solved: it acts on neither of the models this is tried with"
    solved = make_plan(backbone, method, None, "85%").stages(backbone.image_size)
    if not solved or solved[-1].keep >= backbone.num_patches(backbone.image_size):
        raise Broken(f"for a budget of 85% its schedule removes nothing: {solved}")
    return ""


WHOLE = ("vit_small_patch16_224", "vit_base_patch16_siglip_gap_224")
"""Models of real size, without weights, for which a budget is solved."""


@cache
def _whole(name: str) -> Backbone:
    """Return a model of timm as shapes alone."""
    import timm

    with torch.inference_mode(False), torch.device("meta"):
        return adapt(timm.create_model(name).eval())


def _check_preset(bench: Bench, name: str, preset: Preset) -> None:
    try:
        parse_schedule(preset.schedule)
        build("method", bench.subject.cls, preset.parameters)
    except Exception as error:
        raise Broken(f"preset '{name}' cannot be used: {error}") from error


def _pickles(bench: Bench) -> str:
    method = bench.subject.make()
    try:
        copies = {"pickled": pickle.loads(pickle.dumps(method)), "copied": copy.deepcopy(method)}
    except Exception as error:
        raise Broken(f"it cannot be sent to another process. {_said(error)}") from error
    if not method.reduces:
        return ""
    for case in bench.cases(Case(), MAIN_KINDS[:2]):
        expected = bench.run(case, method=method).logits
        for how, each in copies.items():
            if not torch.equal(bench.run(case, method=each).logits, expected):
                raise Broken(f"once {how} it computes something else", case)
    return ""


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _ends(bench: Bench) -> str:
    """Try what `most_removed` promises at its ends."""
    method = bench.must_reduce()
    for patches in (1, 2, 3, 25, 196):
        most = method.most_removed(patches)
        if isinstance(most, bool) or not isinstance(most, int) or not 0 <= most < max(patches, 1):
            raise Broken(
                f"most_removed({patches}) returned {most!r}; 0 to {patches - 1} can be removed"
            )
    if method.most_removed(25) == 0:
        raise NotAsked("it removes nothing of 25 patch tokens")
    return ""


DECLARED = (
    Check(
        "described",
        "It has a name, and a docstring whose first sentence says what it does.",
        _described,
        ("name",),
    ),
    Check(
        "parameters",
        "Every parameter has a type and a default and is kept as an attribute of its name.",
        _parameters,
        ("__init__",),
    ),
    Check(
        "limits",
        "most_removed says how many tokens one stage can remove: none to all but one.",
        _ends,
        ("most_removed",),
    ),
    Check(
        "schedules",
        "Its default schedule can be solved for a budget, and its presets can be used.",
        _schedules,
        ("default_schedule", "presets"),
    ),
)

PICKLES = Check(
    "pickles", "Pickled or copied, it computes the same.", _pickles, ("__init__",), ("repeats",)
)
