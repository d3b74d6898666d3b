"""Arguments after the name of a model: `vit_base_patch16_224:global_pool=avg`, with their types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from inspect import Parameter, signature
from typing import Any, Final, get_args, get_type_hints

from torch import nn

from ...errors import KeeprateError, suggestion
from ...plugins.parameter_types import converted, nearest, wanted
from ...plugins.parameters import parse_spec, spec_text

_BEGIN: Final = re.compile(r":(?=\s*[^\W\d]\w*\s*=)")
_SIZE: Final = "is the size of images: give it as --image-size PIXELS"
_ELSEWHERE: Final = {
    "img_size": _SIZE,
    "image_size": _SIZE,
    "num_classes": "is read from the weights: leave it out",
}
"""Arguments of models that are given, or found, in another way."""
_UNDECLARED: Final[Any] = int | float | bool | str | None
"""What a text is tried as where a model does not declare a type."""


@dataclass(frozen=True)
class ModelName:
    """A model's name as it is written: the name itself, and the texts of arguments after it."""

    base: str
    arguments: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Split NAME:argument=value,argument=value; the name may hold colons before that.

        Raises KeeprateError for an argument given twice and a quote that is not closed.
        """
        begin = _BEGIN.search(text)
        if begin is None:
            return cls(text)
        _, texts = parse_spec(f"model:{text[begin.end() :]}")
        return cls(text[: begin.start()], texts)

    def typed(self, cls: type[nn.Module], more: Mapping[str, Any]) -> dict[str, object]:
        """Return the arguments as the class of the model takes them, sorted by name.

        `more` are arguments besides those of the class, with their types. Raises KeeprateError for
        unknown arguments, values of another type, and what is given in another way.
        """
        hints = {**_hints(cls), **more}
        for name in self.arguments:
            if name in _ELSEWHERE:
                raise KeeprateError(f"Model '{self.base}': {name} {_ELSEWHERE[name]}.")
            if name not in hints:
                known = suggestion(name, hints.keys() - _ELSEWHERE.keys())
                raise KeeprateError(f"No argument '{name}' of model '{self.base}'. {known}")
        return {name: self._value(name, hints[name]) for name in sorted(self.arguments)}

    def _value(self, name: str, hint: Any) -> object:
        text = self.arguments[name]
        try:
            return converted(text, hint)
        except ValueError:
            said = f"Model '{self.base}': {name} must be {wanted(hint)}, not '{text}'."
            raise KeeprateError(f"{said} {nearest(text, hint)}".rstrip()) from None


def refuse_arguments(name: str) -> None:
    """Raise KeeprateError for arguments after the name of a model that is not timm's."""
    parsed = ModelName.parse(name)
    if parsed.arguments:
        given = ", ".join(parsed.arguments)
        raise KeeprateError(f"'{parsed.base}' takes no arguments ({given}): models of timm do.")


def title_of(base: str, arguments: Mapping[str, object]) -> str:
    """Return a model's name with its arguments, as results and tables show it."""
    return spec_text(base, arguments)


def _hints(cls: type[nn.Module]) -> dict[str, Any]:
    """Return the types of the arguments of a model's class."""
    declared = get_type_hints(cls.__init__)
    hints = {
        name: declared.get(name, _UNDECLARED)
        for name, argument in signature(cls).parameters.items()
        if argument.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    }
    # NaFlexVit's settings are the fields of one argument, which timm fills
    parts = [part for hint in hints.values() for part in get_args(hint) if is_dataclass(part)]
    for configuration in parts:
        hints |= get_type_hints(configuration)
    return hints
