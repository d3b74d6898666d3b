"""Find the files that code reads while it runs, so that their content counts as its code does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from pathlib import Path, PurePath
from types import CodeType, FunctionType
from typing import Any, Final
from uuid import uuid4

from ...errors import KeeprateError
from .bytecode import all_names, read_by, texts

READING: Final = (
    *("open", "read_text", "read_bytes", "load", "loadtxt", "genfromtxt", "fromfile", "memmap"),
    *("load_file", "safe_open", "imread", "read_image", "decode_image", "read_csv", "urlopen"),
    *("read_parquet", "read_json", "read_file", "from_file", "load_state_dict_from_url"),
    *("getline", "getlines", "run_path", "connect", "ConfigParser"),
)
"""Names of functions that read files; code that calls one of these is asked which."""

ENVIRONMENT: Final = ("environ", "getenv", "environb")
BY_NAME: Final = ("globals", "eval", "exec", "__import__")
"""Functions of Python that find what they use while they run: no code says what."""


class ReadFiles:
    """The files that a class in `folder` reads; `declared` are those that its `reads` names."""

    def __init__(self, folder: Path | None, declared: Iterable[object], name: str) -> None:
        self.folder = folder
        self.declared = [self._declared_file(each, name) for each in declared]

    def declare_held(self, values: Iterable[object]) -> None:
        """Declare those values, of a class or a method, that are paths of files."""
        for value in values:
            path = (self.folder or Path()) / value if isinstance(value, str | Path) else Path()
            if _is(path, Path.is_file):
                self.declared.append(path)

    @property
    def texts(self) -> list[str]:
        """The content of the declared files."""
        return [self._text(path) for declared in self.declared for path in _all_in(declared)]

    def read_by(
        self,
        code: CodeType,
        values: Mapping[str, object],
        space: Mapping[str, Any],
        label: str,
        unknown: list[str],
    ) -> list[str]:
        """Return the content of the files that a function names, as texts.

        A function that reads files and names none, while none are declared, is `unknown`.
        """
        # what the user's own functions of these names do, their own code tells
        names = {name for name in all_names(code) if not isinstance(values.get(name), FunctionType)}
        reasons = []
        if names.intersection(ENVIRONMENT):
            reasons.append(f"{label} reads an environment variable: make it a parameter")
        by_name = read_by(code, "LOAD_GLOBAL", "LOAD_NAME").intersection(BY_NAME) - values.keys()
        if by_name and not self.declared:
            reasons.append(
                f"{label} calls {min(by_name)}, and its code does not say what that finds: name it "
                "in the code"
            )
        found: list[Path] = []
        if names.intersection(READING):
            place = Path(str(space.get("__file__") or "session")).parent
            found = list(self._named_files(code, values, place))
            if not found and not self.declared:
                reasons.append(
                    f"{label} reads a file that keeprate does not know: name it in the class, as "
                    'reads = ("FILE",)'
                )
        unknown += reasons
        return [*map(self._text, dict.fromkeys(found)), *(uuid4().hex for _ in reasons)]

    def path_text(self, path: PurePath) -> str:
        """Return a path as text, without the place of the folder that it lies in."""
        if self.folder is not None and path.is_absolute() and path.is_relative_to(self.folder):
            return f"path {path.relative_to(self.folder)}"
        return f"path {path}"

    def content(self, path: Path) -> str:
        """Return the content of a file or folder as one text."""
        return ", ".join(self._text(each) for each in _all_in(path))

    def _declared_file(self, given: object, name: str) -> Path:
        path = (self.folder or Path()) / str(given)
        if not path.exists():
            raise KeeprateError(
                f"'{name}' says in `reads` that it reads {given}, and there is no {path}. Paths in "
                "`reads` start in the folder of the class's file."
            )
        return path

    def _named_files(
        self, code: CodeType, values: Mapping[str, object], place: Path
    ) -> Iterator[Path]:
        # that code names its own file says where it lies, and not that it reads itself
        named = [each for name, each in values.items() if name != "__file__"]
        given = [each for each in named if isinstance(each, str | Path)]
        written = [each for each in texts(code) if 0 < len(each) < 256]
        # f"{FOLDER}/name" has the text "/name"
        written += [each[1:] for each in written if each.startswith("/")]
        inner = (place / each for each in written if _is(place / each, Path.is_dir))
        folders = [place, Path(), *inner, *(Path(each) for each in given)]
        for each in [*given, *written]:
            paths = (folder / each for folder in folders)
            yield from (path for path in paths if _is(path, Path.is_file))

    def _text(self, path: Path) -> str:
        stat = path.stat()
        digest = _digest(path.resolve(), stat.st_mtime_ns, stat.st_size)
        return f"file {self.path_text(path.absolute()).rpartition('/')[2]} {digest}"


@lru_cache(maxsize=1024)
def _digest(path: Path, _changed: int, _size: int) -> str:
    with path.open("rb") as file:
        digest = sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _all_in(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(each for each in path.rglob("*") if each.is_file())
    return [path]


def _is(path: Path, kind: Any) -> bool:
    try:
        return bool(kind(path))
    except (OSError, ValueError):  # a text that can be no path
        return False
