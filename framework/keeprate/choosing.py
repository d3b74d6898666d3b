"""From what a caller names as a method to the `Method` itself."""

from __future__ import annotations

from collections.abc import Mapping

from .errors import AuthorError, KeeprateError
from .method import Method
from .offers import KINDS, check_offer
from .parameters import build
from .plan import preset_of
from .plugins import registry


def chosen_class(method: object) -> type[Method]:
    """Return the class of a registered name, or the class itself.

    Raises KeeprateError for an unknown name, for a class that could not be offered, and for what is
    no method, an undecorated function, for example.
    """
    if isinstance(method, str):
        return registry().method(method)
    if isinstance(method, type) and issubclass(method, Method):
        return checked_class(method)
    remedy = "decorate it with @keeprate.as_method" if callable(method) else "give one of these"
    raise KeeprateError(
        f"A method is a name, a class derived from keeprate.Method or an instance of one, not "
        f"{method!r}: {remedy}."
    )


def checked_class(cls: type[Method]) -> type[Method]:
    """Return a class of method; KeeprateError, with the remedy, if no plugin could offer it."""
    try:
        check_offer(KINDS["methods"], cls)
    except AuthorError as error:
        said = str(error).removesuffix(".")
        raise KeeprateError(f"{said}. {error.remedy}".rstrip()) from error
    return cls


def chosen_method(
    method: Method | type[Method] | str, schedule: str | None, parameters: Mapping[str, object]
) -> Method:
    """Return the method with its parameters, and those that a preset named by `schedule` sets.

    Raises KeeprateError for unknown names, parameters that do not fit, and parameters beside a
    `Method` that has its own.
    """
    if isinstance(method, Method):
        preset = preset_of(type(method), schedule)
        if parameters or (preset is not None and preset.parameters):
            raise KeeprateError(
                "Parameters, and presets that set some, go with a method's name, not a Method."
            )
        return method
    cls = chosen_class(method)
    preset = preset_of(cls, schedule)
    given = parameters if preset is None else {**preset.parameters, **parameters}
    return build("method", cls, given)
