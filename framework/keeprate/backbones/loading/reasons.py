"""Say in one line why something could not be loaded."""

from __future__ import annotations

import huggingface_hub


def first_line(error: BaseException) -> str:
    """Return an error's first line without its full stop, with its type where that says more."""
    lines = str(error).strip().splitlines()
    # the text of a KeyError is the key alone
    if not lines or isinstance(error, LookupError):
        return " ".join([type(error).__name__, *lines[:1]])
    return lines[0].rstrip(".:")


def hub_problem() -> str | None:
    """Return why the hub cannot be reached, None if it can be."""
    # one short request, where the hub's own client would retry for a minute
    try:
        huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=10)
    except Exception as error:  # the transport's own types, which differ between versions
        return first_line(error)
    return None
