"""Makes a method from one plain function in a notebook cell, a script or a plugin file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter as Argument
from inspect import Signature, signature
from pathlib import PurePath
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

_FIRST: Final = ["tokens", "attention", "stage"]
Returns = Literal["scores", "tokens"]


class FunctionMethod(Method):
    """A method that calls a function to score or reduce; `as_method` makes its subclasses."""

    function: ClassVar[Callable[..., Any]]
    counted: ClassVar[Callable[[Shape, Stage], int] | None]

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        """Return the result of the author's count, 0 where the author gave none."""
        counted = type(self).counted
        return 0 if counted is None else counted(shape, stage)

    def _call_function(self, tokens: Tokens, attention: Attention, stage: Stage) -> Any:
        cls = type(self)
        values = {parameter.name: getattr(self, parameter.name) for parameter in parameters_of(cls)}
        return cls.function(tokens, attention, stage, **values)


class _Scoring(FunctionMethod):
    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        """Return the scores (B, N) that the function computes."""
        scores: Tensor = self._call_function(tokens, attention, stage)
        return scores


class _Reducing(FunctionMethod):
    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        """Return the tokens that the function returns."""
        reduced: Tokens = self._call_function(tokens, attention, stage)
        return reduced


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
    reads: Sequence[str | PurePath] = (),
) -> Callable[[Callable[..., Any]], type[Method]]: ...


def as_method(  # noqa: PLR0913  what a class of method declares
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
    reads: Sequence[str | PurePath] = (),
) -> type[Method] | Callable[[Callable[..., Any]], type[Method]]:
    """Make a class of method from a function of tokens, attention and stage.

    The function returns importance scores (B, N), higher = keep, or, with `returns="tokens"`, the
    tokens reduced to `stage.keep` patch tokens. Further arguments, each with a type, become the
    parameters of the method. The method's name is `name`, or else the function's name with dashes.
    `overhead_macs` counts the multiply-accumulates per image that the function spends at one stage;
    without it they count as 0. The other arguments, `reads` included, are explained at
    `keeprate.Method`.

    Raises KeeprateError for a function with other arguments, for an argument without a type, and
    for a name that no method may have.

    Example: `@keeprate.as_method(needs=keeprate.Needs.KEYS)` before
    `def key_norm(tokens, attention, stage, power: float = 1.0): ...`.
    """
    if returns not in _BASES:
        raise KeeprateError(f"returns must be one of {', '.join(_BASES)}, not {returns!r}.")

    def make(function: Callable[..., Any]) -> type[Method]:
        declared = {
            "needs": needs,
            "place": place,
            "requires_class_token": requires_class_token,
            "proportional_attention": proportional_attention,
            "reads": reads,
            "counted": None if overhead_macs is None else staticmethod(overhead_macs),
        }
        return _make_class(function, name, _BASES[returns], declared)

    return make if function is None else make(function)


def _make_class(
    function: Callable[..., Any],
    name: str | None,
    base: type[FunctionMethod],
    declared: Mapping[str, object],
) -> type[Method]:
    arguments = _own_arguments(function)
    content = {
        **declared,
        "name": function.__name__.replace("_", "-") if name is None else name,
        "function": staticmethod(function),  # a plain function would be called with `self`
        "__init__": _constructor(function, arguments),
        "__doc__": function.__doc__,
        "__module__": function.__module__ or "",  # None where `exec` ran it in no module
        "__qualname__": function.__qualname__,
    }
    return checked_method_class(type(function.__name__, (base,), content))


def _own_arguments(function: Callable[..., Any]) -> list[Argument]:
    """Return the arguments after the three that every method is called with."""
    arguments = list(signature(function).parameters.values())
    if [argument.name for argument in arguments[:3]] != _FIRST:
        raise KeeprateError(
            f"'{function.__name__}' must take {', '.join(_FIRST)} first, in this order, and its "
            f"own parameters after them."
        )
    # parameters become attributes: they must not replace an attribute that methods have
    reserved_names = {
        *dir(FunctionMethod),
        *Method.__annotations__,
        *FunctionMethod.__annotations__,
    }
    for argument in arguments[3:]:
        if argument.name in reserved_names:
            raise KeeprateError(
                f"'{function.__name__}' has a parameter {argument.name}, a name that every method "
                "has a meaning for: choose another."
            )
    return arguments[3:]


def _constructor(
    function: Callable[..., Any], arguments: Sequence[Argument]
) -> Callable[..., None]:
    """Return an `__init__` that takes the arguments and keeps each as an attribute."""
    accepted = Signature([Argument("self", Argument.POSITIONAL_OR_KEYWORD), *arguments])

    def __init__(self: Any, *args: object, **kwargs: object) -> None:
        bound = accepted.bind(self, *args, **kwargs)
        bound.apply_defaults()
        for argument in arguments:
            setattr(self, argument.name, bound.arguments[argument.name])

    # parameters of methods are read from the constructor's signature and annotations
    __init__.__signature__ = accepted  # type: ignore[attr-defined]
    __init__.__annotations__ = _resolve_types(function, arguments)
    __init__.__qualname__ = f"{function.__qualname__}.__init__"
    return __init__


def _resolve_types(function: Callable[..., Any], arguments: Sequence[Argument]) -> dict[str, Any]:
    """Return the type of each argument, by name.

    The first three arguments are left out: their types may only be imported for type checkers.
    """
    annotations = {
        argument.name: argument.annotation
        for argument in arguments
        if argument.annotation is not Argument.empty
    }
    try:
        return get_type_hints(
            SimpleNamespace(__annotations__=annotations), getattr(function, "__globals__", {})
        )
    except NameError as error:
        raise KeeprateError(
            f"'{function.__name__}' has a parameter of unknown type: {error}."
        ) from error
