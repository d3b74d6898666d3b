"""The promise of everything registered: it has a name and says what it is."""

from __future__ import annotations

from ..plugins.kinds import KINDS, Registered, check_class
from .outcome import Broken


def check_described(kind: str, cls: type) -> None:
    """Raise AuthorError for a class that cannot be registered, Broken for one without a sentence.

    `kind` is one of `keeprate.plugins.kinds.KINDS`.
    """
    name = check_class(KINDS[kind], cls)
    sentence = Registered(name, cls, "", "", "").description
    if not sentence.endswith((".", ":", "!", "?")):
        raise Broken(f"its docstring begins with no sentence, but {sentence!r}")
