"""A method as one plain function, in a notebook cell, a script or a plugin file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter as Argument
from inspect import Signature, signature
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, get_type_hints, overload

from ..errors import KeeprateError
from ..method import Method, Needs, Place, Shape, Stage
from ..plugins.kinds import checked_method_class
from ..plugins.parameters import parameters_of

if TYPE_CHECKING:
    from torch import Tensor

    from ..attention import Attention
    from ..tokens import Tokens

_GIVEN: Final = ["tokens", "attention", "stage"]
Returns = Literal["scores", "tokens"]


class FunctionMethod(Method):
    """A method whose one verb is a function; `as_method` makes its subclasses."""

    function: ClassVar[Callable[..., Any]]
    counted: ClassVar[Callable[[Shape, Stage], int] | None]

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        """Return what the author's own count says, 0 where there is none."""
        counted = type(self).counted
        return 0 if counted is None else counted(shape, stage)

    def _called(self, tokens: Tokens, attention: Attention, stage: Stage) -> Any:
        cls = type(self)
        values = {each.name: getattr(self, each.name) for each in parameters_of(cls)}
        return cls.function(tokens, attention, stage, **values)


class _Scoring(FunctionMethod):
    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        """Return the function's scores (B, N)."""
        found: Tensor = self._called(tokens, attention, stage)
        return found


class _Reducing(FunctionMethod):
    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        """Return the function's tokens."""
        found: Tokens = self._called(tokens, attention, stage)
        return found


_BASES: Final[Mapping[str, type[FunctionMethod]]] = {"scores": _Scoring, "tokens": _Reducing}


@overload
def as_method(function: Callable[..., Any], /) -> type[Method]: ...


@overload
def as_method(
    function: None = None,
    /,
    *,
    name: str | None = None,
    needs: Needs = Needs.NOTHING,
    place: Place = Place.AFTER_ATTENTION,
    returns: Returns = "scores",
    requires_class_token: bool = False,
    proportional_attention: bool = False,
    overhead_macs: Callable[[Shape, Stage], int] | None = None,
) -> Callable[[Callable[..., Any]], type[Method]]: ...


def as_method(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    needs: Needs = Needs.NOTHING,
    place: Place = Place.AFTER_ATTENTION,
    returns: Returns = "scores",
    requires_class_token: bool = False,
    proportional_attention: bool = False,
    overhead_macs: Callable[[Shape, Stage], int] | None = None,
) -> type[Method] | Callable[[Callable[..., Any]], type[Method]]:
    """Make a class of method of a function of tokens, attention and stage.

    The function returns importance scores (B, N), higher = keep, or, with `returns="tokens"`, the
    tokens reduced to `stage.keep` patch tokens. Arguments after the three, each with a type, become
    the parameters of the method. Its name is the function's with dashes, unless `name` says
    another. `overhead_macs` counts the multiply-accumulates per image that the function spends at
    one stage; without it they count as 0. The rest is as in `keeprate.Method`.

    Raises KeeprateError for a function with other arguments, an argument without a type, and a name
    that cannot be one.

    Example: `@keeprate.as_method(needs=keeprate.Needs.KEYS)` before
    `def key_norm(tokens, attention, stage, power: float = 1.0): ...`.
    """
    if returns not in _BASES:
        raise KeeprateError(f"returns must be one of {', '.join(_BASES)}, not {returns!r}.")

    def made(function: Callable[..., Any]) -> type[Method]:
        declared = {
            "needs": needs,
            "place": place,
            "requires_class_token": requires_class_token,
            "proportional_attention": proportional_attention,
            "counted": None if overhead_macs is None else staticmethod(overhead_macs),
        }
        return _class_of(function, name, _BASES[returns], declared)

    return made if function is None else made(function)


def _class_of(
    function: Callable[..., Any],
    name: str | None,
    base: type[FunctionMethod],
    declared: Mapping[str, object],
) -> type[Method]:
    arguments = _own_arguments(function)
    content = {
        **declared,
        "name": function.__name__.replace("_", "-") if name is None else name,
        "function": staticmethod(function),
        "__init__": _constructor(function, arguments),
        "__doc__": function.__doc__,
        "__module__": function.__module__ or "",  # None where `exec` ran it in no module
        "__qualname__": function.__qualname__,
    }
    return checked_method_class(type(function.__name__, (base,), content))


def _own_arguments(function: Callable[..., Any]) -> list[Argument]:
    """The arguments after the three that every method is given."""
    arguments = list(signature(function).parameters.values())
    if [each.name for each in arguments[:3]] != _GIVEN:
        raise KeeprateError(
            f"'{function.__name__}' must take {', '.join(_GIVEN)} first, in this order, and its "
            f"own parameters after them."
        )
    taken = {*dir(FunctionMethod), *Method.__annotations__, *FunctionMethod.__annotations__}
    for each in arguments[3:]:
        if each.name in taken:
            raise KeeprateError(
                f"'{function.__name__}' has a parameter {each.name}, a name that every method has "
                "a meaning for: choose another."
            )
    return arguments[3:]


def _constructor(
    function: Callable[..., Any], arguments: Sequence[Argument]
) -> Callable[..., None]:
    """Return an `__init__` that takes the arguments and keeps each as an attribute."""
    taken = Signature([Argument("self", Argument.POSITIONAL_OR_KEYWORD), *arguments])

    def __init__(self: Any, *args: object, **kwargs: object) -> None:
        bound = taken.bind(self, *args, **kwargs)
        bound.apply_defaults()
        for each in arguments:
            setattr(self, each.name, bound.arguments[each.name])

    __init__.__signature__ = taken  # type: ignore[attr-defined]
    __init__.__annotations__ = _types(function, arguments)
    __init__.__qualname__ = f"{function.__qualname__}.__init__"
    return __init__


def _types(function: Callable[..., Any], arguments: Sequence[Argument]) -> dict[str, Any]:
    """Resolve the types of the arguments alone: those of the first three may be unknown here."""
    written = {
        each.name: each.annotation for each in arguments if each.annotation is not Argument.empty
    }
    try:
        return get_type_hints(
            SimpleNamespace(__annotations__=written), getattr(function, "__globals__", {})
        )
    except NameError as error:
        raise KeeprateError(
            f"'{function.__name__}' has a parameter of unknown type: {error}."
        ) from error
