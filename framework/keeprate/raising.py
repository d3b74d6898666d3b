"""What a method raised in the middle of a run, told with its name, file and line."""

from __future__ import annotations

from typing import NoReturn

import torch
from torch import OutOfMemoryError

from .authors import package_of, raised_at, raised_by, said_of, told, written_at
from .errors import KeeprateError
from .method import Method, Stage
from .tokens import Tokens


def raise_explained(
    error: Exception | SystemExit, method: Method, verb: str, tokens: Tokens, stage: Stage
) -> NoReturn:
    """Raise what a method's `verb` raised as one KeeprateError that says where it happened.

    What the method says to its user itself (a KeeprateError of its own), the memory's end and what
    is raised while a model is traced pass as they are.
    """
    package = package_of(type(method))
    own = isinstance(error, KeeprateError) and raised_by(error, package)
    memory = isinstance(error, MemoryError | OutOfMemoryError) or "memory" in str(error).lower()
    if own or memory or torch.compiler.is_compiling():
        raise error
    said, remedy = said_of(error)
    where = f"Method '{method.name}' at block {stage.block}: {verb}"
    if isinstance(error, KeeprateError):
        said = f"{where}: {said}"
    else:
        said, remedy = f"{where} raised {said}", _shapes(tokens)
    place = raised_at(error, package) or verb_at(method, verb)
    raise KeeprateError(told(said, place, remedy)) from error


def verb_at(method: Method, verb: str) -> str:
    """Return "FILE:LINE" of a method's `score` or `reduce`, "" where that is not known.

    Of a method that leaves it to `Method`, or is made of a function, of the class or the function.
    """
    cls = type(method)
    if getattr(cls, verb) is getattr(Method, verb):
        return written_at(cls)
    return written_at(getattr(cls, "function", None) or getattr(cls, verb))


def _shapes(tokens: Tokens) -> str:
    prefix = f"{tokens.num_prefix} of them prefix tokens"
    batch, count, channels = tokens.x.shape
    return f"There were {batch} images, {count} tokens ({prefix}), {channels} channels."
