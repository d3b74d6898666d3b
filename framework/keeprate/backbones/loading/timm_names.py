"""Refuse names of models that timm does not know, before anything is built."""

from __future__ import annotations

import difflib

import huggingface_hub
import timm

from ...errors import KeeprateError, unknown_name
from ...plugins.registry import registry
from .reasons import first_line, hub_problem


def check_name(name: str) -> None:
    """Raise KeeprateError, with the nearest name, unless timm knows the model and its tag."""
    _ = registry().backbones  # importing a family may teach timm models of its own
    source, colon, location = name.partition(":")
    if colon and timm.is_model(source.partition(".")[0]):
        raise KeeprateError(f"No model '{name}'. Arguments follow as {source}:ARGUMENT=VALUE.")
    if colon:  # "hf-hub:..." and "local-dir:...", which timm looks up elsewhere
        _check_hub_page(name, source, location)
        return
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), n=1)
        if not close:
            raise KeeprateError(f"No model '{name}'. timm.list_models() lists them all.")
        raise unknown_name("model", name, close)
    tagged_names = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in tagged_names:
        raise unknown_name("model", name, [architecture, *tagged_names])


def _check_hub_page(name: str, source: str, location: str) -> None:
    """Refuse a model on the hub at once where the hub is out of reach and nothing is cached."""
    if source not in ("hf-hub", "hf_hub"):
        return
    try:
        page = location.partition("@")[0]  # without the revision
        cached = huggingface_hub.try_to_load_from_cache(page, "config.json")
    except ValueError as error:
        raise KeeprateError(f"No model '{name}': {first_line(error)}.") from error
    # not a path: None, or a mark that the page is known to lack the file
    if not isinstance(cached, str) and (reason := hub_problem()):
        raise KeeprateError(f"Cannot look the model '{name}' up: {reason}.")
