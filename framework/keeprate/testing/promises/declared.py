"""The declarations of a method: name, parameters, schedules; and that it can be copied."""

from __future__ import annotations

import copy
import difflib
import pickle
from functools import cache

import torch

from ...backbone import Backbone
from ...backbones.lookup import adapt
from ...errors import KeeprateError
from ...method import Method, Needs, Place, Preset, Reuse
from ...plugins.kinds import KINDS, Registered, check_class
from ...plugins.parameters import build, parameters_of, values_of
from ...reduction.plan import make_plan
from ...reduction.schedule import parse_schedule
from ...reduction.suitability import UnfitError, refuse_unsuited, suits
from ..bench import Bench, backbone_of
from ..cases import MAIN_KINDS, Case
from ..outcome import Broken, Check, NotAsked


def _described(bench: Bench) -> str:
    cls = bench.subject.cls
    name = check_class(KINDS["methods"], cls)
    sentence = Registered(name, cls, "", "", "").description
    if not sentence.endswith((".", ":", "!", "?")):
        raise Broken(f"its docstring begins with no sentence, but {sentence!r}")
    _check_spelling(cls)
    try:
        method = bench.subject.make()
    except KeeprateError:
        if any(p.required for p in parameters_of(cls)):
            return ""  # the next check says that it has no default
        raise
    for name, kind in (("place", Place), ("needs", Needs), ("reuses", Reuse)):
        value = getattr(method, name)
        if not isinstance(value, kind):
            members = ", ".join(member.name for member in kind)
            raise Broken(f"{name} is {value!r}, not one of {kind.__name__}'s: {members}")
    _check_blocks(method)
    try:
        refuse_unsuited(backbone_of(Case()), method)  # one that implements nothing
    except UnfitError as error:
        return str(error)
    return ""


_LONG_NAME = 8
"""From this length on, a name that is almost one of keeprate's is taken for a misspelled one."""


def _check_spelling(cls: type[Method]) -> None:
    """Raise Broken for a name that is almost one that keeprate looks for, as `overhead_mac`."""
    own_names = {name for base in cls.__mro__[: cls.__mro__.index(Method)] for name in vars(base)}
    known_names = {*dir(Method), *Method.__annotations__}
    unused = {name for name in known_names - own_names if len(name) >= _LONG_NAME}
    for name in sorted(own_names - known_names):
        close = difflib.get_close_matches(name, unused, n=1, cutoff=0.9)
        if close and not name.startswith("_"):
            raise Broken(f"it has {name}, which nothing looks for; did you mean {close[0]}?")


def _check_blocks(method: Method) -> None:
    # 12: they are written for a model of 12 blocks, and scaled to the depth of others
    blocks = method.default_blocks
    if not blocks or list(blocks) != sorted(set(blocks)) or not 0 <= blocks[0] <= blocks[-1] < 12:
        raise Broken(f"default_blocks is {blocks!r}; blocks ascend, each once, from 0 to 11")


def _parameters(bench: Bench) -> str:
    cls = bench.subject.cls
    missing = [parameter.name for parameter in parameters_of(cls) if parameter.required]
    if missing:
        message = f"{missing[0]} has no default, so that the name alone is not enough to run it"
        raise Broken(message) from _error_of_name_alone(cls)
    values = values_of(bench.subject.make())
    for parameter in parameters_of(cls):
        default = build("method", cls, {})
        attribute = getattr(default, parameter.name)
        if attribute != parameter.default:
            raise Broken(
                f"{parameter.name}={parameter.default!r} was given, and the attribute "
                f"{parameter.name} is {attribute!r}"
            )
    rebuilt = values_of(build("method", cls, values))
    if rebuilt != values:
        raise Broken(f"made again from its own values {values}, it has {rebuilt}")
    return ""


def _error_of_name_alone(cls: type[Method]) -> Exception | None:
    """Return the error that a user gets who gives the method's name without parameters."""
    try:
        build("method", cls, {})
    except KeeprateError as error:
        return error
    return None


def _schedules(bench: Bench) -> str:
    method = bench.must_reduce()
    schedule = parse_schedule(method.default_schedule)
    if not schedule.is_scalable:
        raise Broken(
            f"default_schedule is '{schedule.text}', explicit counts, of which no budget can be "
            "solved"
        )
    for name, preset in method.presets.items():
        _check_preset(bench, name, preset)
    backbone = next((b for b in map(_full_size_backbone, WHOLE) if suits(b, method)), None)
    if backbone is None:
        return "no budget solved: it acts on neither of the models this is tried with"
    stages = make_plan(backbone, method, None, "85%").most(backbone.image_size)
    if not stages or stages[-1].keep >= backbone.num_patches(backbone.image_size):
        raise Broken(f"for a budget of 85% its schedule removes nothing: {stages}")
    return ""


WHOLE = ("vit_small_patch16_224", "vit_base_patch16_siglip_gap_224")
"""Models of real size for which a budget is solved; one of them has no class token."""


@cache
def _full_size_backbone(name: str) -> Backbone:
    """Return the backbone of a timm model that has shapes but no values."""
    import timm

    # "meta": costs depend on shapes alone. Cached, so not made in inference mode
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
        raise Broken(f"it cannot be sent to another process. {_describe_error(error)}") from error
    if not method.reduces:
        return ""
    for case in bench.cases(Case(), MAIN_KINDS[:2]):
        expected = bench.run(case, method=method).logits
        for operation, copied in copies.items():
            if not torch.equal(bench.run(case, method=copied).logits, expected):
                raise Broken(f"once {operation} it computes something else", case)
    return ""


def _describe_error(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _limits(bench: Bench) -> str:
    """Try `most_removed` on few and on many patch tokens."""
    method = bench.must_reduce()
    for patches in (1, 2, 3, 25, 196):
        most = method.most_removed(patches)
        # bool is an int to Python, and no number of tokens
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
        _limits,
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
