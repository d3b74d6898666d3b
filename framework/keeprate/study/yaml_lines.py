"""Read YAML as plain values, with the line of each value and everything that is wrong.

Plain scalars are read as in YAML 1.2: only `true` and `false` are truth values, so that `none`,
`on` and `I'-S` remain texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from ..data.text_files import read_text
from ..errors import KeeprateError

KeyPath: TypeAlias = tuple[str | int, ...]
"""The path to a value: keys of mappings and positions in lists, from the top."""

# no study needs nearly as much; a few lines with aliases can stand for billions of values
_DEEPEST = 16
_MOST_VALUES = 100_000


@dataclass(frozen=True)
class Flaw:
    """A mistake in the text of a document, at a line (from 1) and under a key."""

    line: int
    path: KeyPath
    text: str


@dataclass(frozen=True)
class Document:
    """A YAML text that was read: its mapping, None if it is unreadable, and lines (from 1)."""

    data: dict[str, Any] | None
    lines: Mapping[KeyPath, int]
    flaws: tuple[Flaw, ...] = ()


class _Loader(yaml.SafeLoader):
    # PyYAML reads YAML 1.1: its rules, such as `on` for true, are replaced by those below
    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012  declared so by PyYAML


_SCALARS: dict[str, tuple[str, Callable[[str], object]]] = {
    "null": (r"~|null|Null|NULL|", lambda text: None),
    "bool": (r"true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true"),
    "int": (r"[-+]?(?:0|[1-9][0-9]{0,37})", int),
    "float": (r"[-+]?(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?\d+[eE][-+]?\d+", float),
    "str": (r".+", str),
}
_TAG = "tag:yaml.org,2002:"  # prefix of the standard tags
for _name, (_pattern, _) in _SCALARS.items():
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(rf"(?:{_pattern})\Z", re.DOTALL), None)


def read_document(text: str) -> Document:
    """Read a YAML text whose top is a mapping; mistakes are among the flaws of the document."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        return _unreadable(_error_line(error), _explain_error(error))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        return _unreadable(line, f"character {chr(error.character)!r} has no place in YAML.")
    except RecursionError:
        return _unreadable(1, "is nested too deep.")
    if node is None:
        return _unreadable(1, "is empty. Write at least one key, as methods: [NAME].")
    if not isinstance(node, yaml.MappingNode):
        return _unreadable(node.start_mark.line + 1, "is no mapping. Write key: value lines.")
    reading = _Reading()
    data = reading.mapping(node, ())
    return Document(data, reading.lines, tuple(reading.flaws))


def read_value(text: str) -> object:
    """Read the YAML of one value that was typed on a command line.

    Raises KeeprateError for text that is not YAML.
    """
    document = read_document(f"value: {text}")
    if document.flaws or document.data is None:
        raise KeeprateError(document.flaws[0].text)
    return document.data.get("value")


@dataclass
class _Reading:
    """Turn nodes into values, and note their lines and flaws."""

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
            return [self._item(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _item(self, node: yaml.Node, path: KeyPath) -> object:
        # a mapping notes the lines of its keys; an item of a list has only its own
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
        except ValueError:  # an explicit tag on a text of another kind, such as `!!int abc`
            text = f"'{node.value}' is no {name}."
            self.flaws.append(Flaw(node.start_mark.line + 1, path, text))
            return None


def _unreadable(line: int, text: str) -> Document:
    return Document(None, {}, (Flaw(line, (), text),))


def _error_line(error: yaml.MarkedYAMLError) -> int:
    mark = error.problem_mark or error.context_mark
    return 1 if mark is None else int(mark.line) + 1


def _explain_error(error: yaml.MarkedYAMLError) -> str:
    """Return in one line what the parser refused, with the remedy for frequent mistakes."""
    message = " ".join(str(error.problem or error.context).split())
    if "'\\t'" in message:
        return "a tab cannot indent in YAML. Use spaces."
    if "single document" in str(error.context):
        return "a second document begins here. One file holds one study: remove the '---'."
    if "mapping values are not allowed" in message:
        return "is not YAML: ': ' inside a value. Put quotes around it, or mend the indent."
    return f"is not YAML: {message}. Put texts with special characters in quotes."


def description_in(path: Path) -> str:
    """Return the `description` of a study file, "" if it has none or cannot be read."""
    try:
        data = read_document(read_text(path)).data or {}
    except KeeprateError:
        return ""
    return " ".join(str(data.get("description") or "").split())
