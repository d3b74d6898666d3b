"""Make the files of a new plugin: a plugin file and its test, or a package with both."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .. import __version__
from ..errors import KeeprateError, unknown_name
from ..hookspecs import API_VERSION, PROJECT
from ..results.atomic_files import explained
from .kinds import KINDS, PluginKind
from .scaffold_names import Names, check_not_importable, names_of

if TYPE_CHECKING:
    from jinja2 import Environment

    from .registry import Registry

NEW: Final = {kind.rstrip("s"): kind for kind in KINDS if kind not in ("engines", "strategies")}
"""The word for each thing that can be made, such as "method", and its kind in `KINDS`."""

_LIBRARIES: Final = {
    "methods": ("torch",),
    "datasets": ("torch",),
    "metrics": ("torch",),
    "backbones": ("timm", "torch"),
}
"""What the templates of each kind import besides keeprate."""


@dataclass(frozen=True)
class Scaffold:
    """A new plugin in `folder`, as a package or as two files.

    `kind` is one of `keeprate.plugins.kinds.KINDS`. Nothing is written yet: `texts` holds the text
    of every file by its path in `folder`.
    """

    kind: str
    names: Names
    folder: Path
    package: bool = False

    @property
    def top(self) -> tuple[Path, ...]:
        """What is new in the folder: the plugin file and its test, or the package's folder."""
        module = self.names.module
        names = (self.names.name,) if self.package else (f"{module}.py", f"test_{module}.py")
        return tuple(self.folder / name for name in names)

    @property
    def commands(self) -> tuple[str, ...]:
        """What to type next, with paths as the working directory sees them."""
        return self._commands(self.top[0], self.top[-1])

    @cached_property
    def texts(self) -> Mapping[Path, str]:
        """The text of every file, by its path in the folder."""
        word, module = self._word, self.names.module
        if not self.package:
            plugin, test = self._files(((f"{word}.py", f"{module}.py"), self._test_file("")))
            return dict((plugin, test))
        source = f"src/{module}"
        pairs = (
            (f"{word}.py", f"{source}/{word}.py"),
            ("package/init.py", f"{source}/__init__.py"),
            self._test_file("tests/"),
            ("package/pyproject.toml", "pyproject.toml"),
            ("package/README.md", "README.md"),
            ("package/gitignore", ".gitignore"),
            ("package/test.yml", ".github/workflows/test.yml"),
        )
        root = Path(self.names.name)
        texts_by_path = {root / path: text for path, text in self._files(pairs)}
        return texts_by_path | {root / source / "py.typed": ""}

    @property
    def _word(self) -> str:
        return next(word for word, kind in NEW.items() if kind == self.kind)

    def _test_file(self, folder: str) -> tuple[str, str]:
        return f"test_{self._word}.py", f"{folder}test_{self.names.module}.py"

    def _files(self, pairs: Iterable[tuple[str, str]]) -> Iterable[tuple[Path, str]]:
        """Yield the path and the text of each file, for pairs of template and path."""
        commands = self._commands(Path(), Path()) if self.package else ()
        for template, path in pairs:
            yield Path(path), self._render(template, commands=commands)

    def _commands(self, plugin: Path, test: Path) -> tuple[str, ...]:
        """Return what to type next, for the paths of the plugin and its test."""
        installed = plugin if plugin.is_absolute() else f"./{plugin}"
        paths = {
            "plugin": shlex.quote(str(plugin)),
            "test": "" if test == Path() else shlex.quote(str(test)),
            "installed": shlex.quote(f"{installed}[test]".replace("./.[", ".[")),
        }
        return tuple(line.rstrip() for line in self._render("next", **paths).splitlines())

    def _render(self, template: str, **more: object) -> str:
        kind: PluginKind = KINDS[self.kind]
        return (
            _environment()
            .get_template(f"{template}.j2")
            .render(
                api=API_VERSION,
                kind=kind,
                kinds=self.kind,
                libraries=_LIBRARIES.get(self.kind, ()),
                name=self.names.name,
                module=self.names.module,
                cls=self.names.cls,
                package=self.package,
                what=self._word,
                version=".".join(__version__.split(".")[:2]),
                **more,
            )
        )


def scaffold(
    what: str, name: str, folder: Path, registry: Registry, *, package: bool = False
) -> Scaffold:
    """Return a new `what` (a key of `NEW`) of this name, for `folder`; nothing is written.

    Raises KeeprateError, with the remedy, for an unknown `what`, a name that cannot be used or that
    `registry` has already, and files that exist already.
    """
    if what not in NEW:
        raise unknown_name("kind of plugin", what, NEW)
    kind = NEW[what]
    new_plugin = Scaffold(kind, names_of(name, KINDS[kind].word), folder, package)
    check_free(new_plugin.top)
    _check_unregistered(kind, name, registry)
    check_not_importable(new_plugin.names, folder)
    return new_plugin


def check_free(paths: Iterable[Path]) -> None:
    """Raise KeeprateError if one of the paths exists, even as a link that leads nowhere."""
    for path in paths:
        if path.exists() or path.is_symlink():
            raise KeeprateError(
                f"{path} is there already, and nothing is overwritten. Choose another name, or "
                "another folder with --output DIR."
            )


def _check_unregistered(kind: str, name: str, registry: Registry) -> None:
    for offer in registry.offers(kind):
        if offer.name == name:
            raise KeeprateError(
                f"There is a {KINDS[kind].word} '{name}' already ({offer.origin}). Choose another "
                "name."
            )


def _environment() -> Environment:
    # imported when a plugin is made: no other command needs it
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(PROJECT, "templates/new"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def write_new(made: Scaffold) -> tuple[Path, ...]:
    """Write a new plugin into its folder, which is made if needed, and return the new paths.

    All files are written under another name first and then moved. If something fails in between,
    it is undone; existing files are never replaced. Raises KeeprateError, in one line, for a folder
    that cannot be written to or is full, and for files that exist already.
    """
    with explained(made.folder):
        made.folder.mkdir(parents=True, exist_ok=True)
        # inside the folder: only within one file system is a move a rename
        with tempfile.TemporaryDirectory(".tmp", ".keeprate-new-", made.folder) as waiting:
            _write(Path(waiting), made.texts)
            check_free(made.top)  # again: a file may have appeared since the first check
            _move([(Path(waiting) / path.name, path) for path in made.top])
    return made.top


def _write(folder: Path, texts: Mapping[Path, str]) -> None:
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        # bytes: text mode would change the line ends on Windows
        (folder / path).write_bytes(text.encode())


def _move(pairs: list[tuple[Path, Path]]) -> None:
    moved: list[Path] = []
    try:
        for source, target in pairs:
            os.rename(source, target)
            moved.append(target)
    except BaseException:  # Ctrl-C, too, must leave nothing half made
        for target in moved:
            shutil.rmtree(target) if target.is_dir() else target.unlink()
        raise
