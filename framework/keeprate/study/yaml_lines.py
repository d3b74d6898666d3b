"""YAML as plain values, with the line that each of them stands on and everything that is wrong.

Plain scalars are read as YAML 1.2 reads them: only `true` and `false` are truth values, so that
`none`, `on` and `I'-S` stay texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from ..errors import KeeprateError

KeyPath: TypeAlias = tuple[str | int, ...]
"""Where a value stands: keys of mappings and places in lists, from the top."""

_DEEPEST = 16
_MOST_VALUES = 100_000


@dataclass(frozen=True)
class Flaw:
    """Something wrong with the text of a document, at a line (from 1) and under a key."""

    line: int
    path: KeyPath
    text: str


@dataclass(frozen=True)
class Document:
    """What a YAML text says: its mapping, None where it cannot be read, and the lines (from 1)."""

    data: dict[str, Any] | None
    lines: Mapping[KeyPath, int]
    flaws: tuple[Flaw, ...] = ()


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012  declared so by PyYAML


_SCALARS: dict[str, tuple[str, Callable[[str], object]]] = {
    "null": (r"~|null|Null|NULL|", lambda text: None),
    "bool": (r"true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true"),
    "int": (r"[-+]?(?:0|[1-9][0-9]{0,17})", int),
    "float": (r"[-+]?(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?\d+[eE][-+]?\d+", float),
    "str": (r".+", str),
}
_TAG = "tag:yaml.org,2002:"
for _name, (_pattern, _) in _SCALARS.items():
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(rf"(?:{_pattern})\Z", re.DOTALL), None)


def read_document(text: str) -> Document:
    """Read a YAML text whose top is a mapping; what is wrong with it is among its flaws."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        return _unread(_line(error), _reason(error))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        return _unread(line, f"character {chr(error.character)!r} has no place in YAML.")
    except RecursionError:
        return _unread(1, "is nested too deep.")
    if node is None:
        return _unread(1, "is empty. Write at least one key, as methods: [NAME].")
    if not isinstance(node, yaml.MappingNode):
        return _unread(node.start_mark.line + 1, "is no mapping. Write key: value lines.")
    reading = _Reading()
    data = reading.mapping(node, ())
    return Document(data, reading.lines, tuple(reading.flaws))


def read_value(text: str) -> object:
    """Read the YAML of one value, as typed on a command line.

    Raises KeeprateError for text that is not YAML.
    """
    document = read_document(f"value: {text}")
    if document.flaws or document.data is None:
        raise KeeprateError(document.flaws[0].text)
    return document.data.get("value")


@dataclass
class _Reading:
    """Turns nodes into values, and notes lines and flaws on the way."""

    lines: dict[KeyPath, int] = field(default_factory=dict)
    flaws: list[Flaw] = field(default_factory=list)

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.flaws.append(Flaw(line, path, "a key must be a word."))
                continue
            key = str(key_node.value)
            inside = (*path, key)
            if key in values:
                self.flaws.append(
                    Flaw(line, inside, f"is given twice, first on line {self.lines[inside]}.")
                )
                continue
            self.lines[inside] = line
            values[key] = self.value(value_node, inside)
        return values

    def value(self, node: yaml.Node, path: KeyPath) -> object:
        line = node.start_mark.line + 1
        if len(path) > _DEEPEST or len(self.lines) > _MOST_VALUES:  # aliases can repeat endlessly
            self.flaws.append(Flaw(line, path[:2], "holds too much."))
            return None
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._item(each, (*path, place)) for place, each in enumerate(node.value)]
        return self._scalar(node, path)

    def _item(self, node: yaml.Node, path: KeyPath) -> object:
        self.lines[path] = node.start_mark.line + 1
        return self.value(node, path)

    def _scalar(self, node: yaml.Node, path: KeyPath) -> object:
        name = str(node.tag).removeprefix(_TAG)
        if name not in _SCALARS:
            text = f"has the tag {node.tag}. Write plain values."
            self.flaws.append(Flaw(node.start_mark.line + 1, path, text))
            return None
        try:
            return _SCALARS[name][1](node.value)
        except ValueError:
            text = f"'{node.value}' is no {name}."
            self.flaws.append(Flaw(node.start_mark.line + 1, path, text))
            return None


def _unread(line: int, text: str) -> Document:
    return Document(None, {}, (Flaw(line, (), text),))


def _line(error: yaml.MarkedYAMLError) -> int:
    mark = error.problem_mark or error.context_mark
    return 1 if mark is None else int(mark.line) + 1


def _reason(error: yaml.MarkedYAMLError) -> str:
    """Say in one line what the parser did not like, and what to do about what happens often."""
    said = " ".join(str(error.problem or error.context).split())
    if "'\\t'" in said:
        return "a tab cannot indent in YAML. Use spaces."
    if "single document" in str(error.context):
        return "a second document begins here. One file holds one study: remove the '---'."
    if "mapping values are not allowed" in said:
        return "is not YAML: ': ' inside a value. Put quotes around it, or mend the indent."
    return f"is not YAML: {said}. Put texts with special characters in quotes."


def description_in(path: Path) -> str:
    """Return what a study file says under `description`, "" if nothing or it cannot be read."""
    try:
        data = read_document(path.read_text(encoding="utf-8")).data or {}
    except (OSError, UnicodeDecodeError):
        return ""
    return " ".join(str(data.get("description") or "").split())
