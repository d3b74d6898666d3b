"""The images of all class folders, and what a reader of results should know about them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keeprate.dataset import Sample
from keeprate.errors import KeeprateError, escaped

from .class_content import (
    EXTENSIONS,
    Content,
    entries,
    is_folder,
    is_left_behind,
    is_lost_folder,
    read_class,
    why_no_image,
)


@dataclass(frozen=True)
class Root:
    """The class folders by name, sorted, and what lies beside them: (name, reason)."""

    folders: Mapping[str, Path]
    passed_over: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class FoundImages:
    """All samples; the paths of those whose names are not UTF-8; a line for each peculiarity."""

    samples: tuple[Sample, ...]
    escaped: Mapping[str, Path]
    notes: tuple[str, ...]


def read_root(root: Path) -> Root:
    """Return what lies directly in `root`; KeeprateError where there is no class folder."""
    if not root.exists():
        raise KeeprateError(f"No folder '{root}'. Give the folder that holds the class folders.")
    if not root.is_dir():
        raise KeeprateError(f"'{root}' is a file. Give the folder that holds the class folders.")
    found = entries(root)
    if not found:
        raise KeeprateError(f"The folder '{root}' is empty. Expected one folder for each class.")
    classes: dict[str, Path] = {}
    passed_over: list[tuple[str, str]] = []
    for entry in found:
        name = escaped(entry.name)
        if is_left_behind(entry.name):
            if is_folder(entry):
                passed_over.append((name, "hidden, or left by a system"))
        elif not (is_folder(entry) or is_lost_folder(entry)):
            passed_over.append((name, why_no_image(entry) or "image in no class folder"))
        elif Path(os.path.realpath(root)).is_relative_to(os.path.realpath(entry.path)):
            passed_over.append((name, "link in a circle"))
        else:
            classes[name] = Path(entry.path)
    if not classes:
        raise KeeprateError(f"No class folders in '{root}'. Expected one folder for each class.")
    return Root(classes, passed_over)


def find_images(root: Path, top: Root, labels: Mapping[str, int]) -> FoundImages:
    """Return every image in the class folders; KeeprateError where there is none."""
    contents = {name: read_class(root, top.folders[name]) for name in sorted(labels)}
    samples = tuple(
        Sample(image, labels[name])
        for name, content in contents.items()
        for image in content.images
    )
    if not samples:
        extensions = ", ".join(sorted(EXTENSIONS))
        raise KeeprateError(f"No images in the class folders of '{root}' ({extensions}).")
    passed_over = [
        *top.passed_over,
        *(row for each in contents.values() for row in each.passed_over),
    ]
    empty = [name for name, content in contents.items() if not content.images]
    lines = [passed_over_note(passed_over), tally("Class folders without an image", empty)]
    lines.append(shared_note(root, contents))
    paths = {name: path for each in contents.values() for name, path in each.escaped.items()}
    return FoundImages(samples, paths, tuple(f"{line}." for line in lines if line))


def tally(what: str, names: Sequence[str]) -> str:
    """Say how many names there are of a kind, with the first of them; "" for none."""
    more = ", ..." if len(names) > 1 else ""
    return f"{what}: {len(names):,} ({names[0]}{more})" if names else ""


def passed_over_note(passed_over: Sequence[tuple[str, str]]) -> str:
    """Say how many names were passed over for each reason, "" if there are none."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    for name, reason in passed_over:
        names[reason].append(name)
    tallies = "; ".join(tally(reason, group) for reason, group in sorted(names.items()))
    return f"Passed over: {tallies}" if tallies else ""


def shared_note(root: Path, contents: Mapping[str, Content]) -> str:
    """Say how many files count in several classes, "" if none does."""
    real_root = os.path.join(os.path.realpath(root), "")
    linked = [row for content in contents.values() for row in content.linked.items()]
    if not linked:
        return ""
    # images that are reached without a link are not in `linked`: their names are their paths
    plain = {name for content in contents.values() for name in content.images} - dict(linked).keys()
    first = {os.path.normpath(real_root + name): name for name in plain}
    pairs = [(name, first.setdefault(identity, name)) for name, identity in linked]
    shared = [f"{name}, the file of {earlier}" for name, earlier in pairs if name != earlier]
    return tally("Images that count in two classes", shared)
