"""What is wrong with the plugins of an environment, all of it, each with the remedy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import Signature, signature
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from ..method import Method
from .author_errors import definition_place, describe_error, package_of, raise_place
from .discovery import VARIABLE, Source, Survey, is_builtin, survey
from .doctor_checks import (
    Diagnostic,
    Machine,
    import_times,
    machine,
    note,
    packages,
    problem,
    store,
)
from .kinds import KINDS, Registered
from .parameters import forgotten, not_kept, parameters_of
from .registry import ALL_KINDS, RENAME, Registry, clash

if TYPE_CHECKING:
    from .doctor_checks import Imported

SLOW_SECONDS = 0.5
"""Importing a plugin may take this long before the doctor says so."""


def examined(found: Registry, survey: Survey) -> list[Diagnostic]:
    """Return what is to be said of the loaded plugins and of where they come from."""
    return [
        *_failed(found),
        *_clashes(found),
        *_same_code(found),
        *_repeated(survey),
        *_limited(survey),
        *_unstated(found),
        *_undocumented(found),
        *_forgetful(found),
    ]


def imports(imported: Mapping[Source, Imported]) -> Iterator[Diagnostic]:
    """Yield what is to be said of how long plugins take to import, each in a process of its own."""
    for source, what in imported.items():
        if what.ended is not None:
            said = f"importing it ends the process ({what.ended})"
            yield problem(_named(source), said, "A plugin must leave the process alone.")
        elif what.seconds > SLOW_SECONDS:
            brings = f" ({', '.join(what.heavy)})" if what.heavy else ""
            yield note(
                _named(source),
                f"importing it takes {what.seconds:.1f} s{brings}, more than {SLOW_SECONDS} s",
                "Import inside the functions that need it, as the package does that `keeprate new "
                "--package` writes: keeprate list then starts at once.",
            )


def _named(source: Source) -> str:
    return f"plugin {source.name} ({source.origin})"


def _failed(found: Registry) -> Iterator[Diagnostic]:
    for each in found.broken:
        remedy = each.remedy or "keeprate list plugins --traceback shows how it got there."
        yield problem(f"plugin {each.name} ({each.origin})", each.said, remedy, each.place)


def _clashes(found: Registry) -> Iterator[Diagnostic]:
    for kind in ALL_KINDS:
        for one, other in combinations(found.offers(kind), 2):
            if one.name == other.name:
                yield problem(f"{kind} {one.name}", clash(kind, one, other), RENAME)


def _same_code(found: Registry) -> Iterator[Diagnostic]:
    """Find a file that loads twice: as a file, and as a module of an installed package."""
    files = [(each, getattr(each.module, "__file__", None)) for each in found.plugins]
    for (one, path), (other, again) in combinations(files, 2):
        if path and again and Path(path).resolve() == Path(again).resolve():
            said = f"{path} is loaded twice, by {one.name} ({one.origin}) and {other.name}"
            said = f"{said} ({other.origin})"
            yield problem(f"plugin {other.name}", said, "Leave out one of the two.")


def _repeated(survey: Survey) -> Iterator[Diagnostic]:
    for path, often in Counter(survey.files).items():
        if often > 1:
            said = f"{path} is named {often} times; it is loaded once"
            yield note("plugin files", said, f"Name it once, by --plugin or in {VARIABLE}.")
    for name, entries in survey.by_name().items():
        if len(entries) > 1:
            origins = " and ".join(each.origin for each in entries)
            yield problem(
                f"plugin {name}",
                f"two installed plugins have this name, of {origins}",
                f"Uninstall one, or rename its entry point: {VARIABLE} cannot tell them apart.",
            )


def _limited(survey: Survey) -> Iterator[Diagnostic]:
    if survey.chosen is None:
        return
    out = [f"{each.name} ({each.origin})" for each in survey.left_out]
    said = f'is in force: "{",".join(survey.chosen)}"'
    if out:
        said = f"{said}; installed plugins that do not load: {', '.join(out)}"
    yield note(VARIABLE, said, f"Unset it to load all: unset {VARIABLE}.")


def _unstated(found: Registry) -> Iterator[Diagnostic]:
    for each in found.plugins:
        if each.api is None and not is_builtin(each.origin):
            yield note(
                f"plugin {each.name} ({each.origin})",
                "it does not state the API version it is made for",
                "Write keeprate_api = 1 in it, so that a later keeprate can tell.",
            )


def _undocumented(found: Registry) -> Iterator[Diagnostic]:
    for offer in _classes(found):
        if not offer.description:
            yield note(
                f"{offer.name} ({offer.origin})",
                f"{offer.cls.__name__} has no docstring",
                "Its first sentence is what keeprate list shows.",
                definition_place(offer.cls),
            )
        for verb in ("score", "reduce"):
            function = vars(offer.cls).get(verb)
            if callable(function) and _lacks_types(signature(function)):
                yield note(
                    f"{offer.name} ({offer.origin})",
                    f"{offer.cls.__name__}.{verb} has no type annotations",
                    "docs/plugins.md has an example; a type checker then finds mistakes early.",
                    definition_place(function),
                )


def _lacks_types(written: Signature) -> bool:
    arguments = list(written.parameters.values())[1:]
    return any(each.annotation is each.empty for each in arguments)


def _forgetful(found: Registry) -> Iterator[Diagnostic]:
    """Find methods that cannot be made as they are, or do not keep their parameters."""
    for offer in _classes(found):
        if not issubclass(offer.cls, Method) or any(p.required for p in parameters_of(offer.cls)):
            continue
        subject, place = f"method {offer.name} ({offer.origin})", definition_place(offer.cls)
        try:
            lost = forgotten(offer.cls())
        except Exception as error:
            said, remedy = describe_error(error)
            place = raise_place(error, package_of(offer.cls)) or place
            remedy = remedy or "Mend __init__, or give the parameters no defaults."
            yield problem(subject, f"it cannot be made with its defaults: {said}", remedy, place)
        else:
            for name in lost:
                yield problem(subject, *not_kept(offer.cls, name), place)


def _classes(found: Registry) -> Sequence[Registered[object]]:
    offers = [each for kind in KINDS for each in found.offers(kind)]
    return [each for each in offers if isinstance(each, Registered) and not is_builtin(each.origin)]


@dataclass(frozen=True)
class Diagnosis:
    """The plugins that could be loaded, the machine, and all that was found."""

    registry: Registry
    machine: Machine
    findings: Sequence[Diagnostic]

    @property
    def problems(self) -> list[Diagnostic]:
        """The findings that must be mended."""
        return [each for each in self.findings if each.is_problem]

    def offered(self) -> dict[str, int]:
        """Return how many things of each kind are offered."""
        return {kind: len(self.registry.offers(kind)) for kind in ALL_KINDS}


def diagnose(
    files: Sequence[Path], environ: Mapping[str, str], directory: Path, runs: Path
) -> Diagnosis:
    """Load every plugin the environment allows, and `files`, and return what is wrong with them.

    Each is first imported in a process of its own; one that ends that process is not loaded here.
    `runs` is the folder that results are to be kept in.
    """
    found = survey(files, environ, directory)
    imported = import_times(found.sources)
    ending = {source for source, what in imported.items() if what.ended is not None}
    registry = Registry([each for each in found.sources if each not in ending])
    here = machine()
    findings = [
        *imports(imported),
        *examined(registry, found),
        *packages(found.sources),
        *here.findings,
        *store(runs),
    ]
    return Diagnosis(registry, here, sorted(findings, key=lambda each: not each.is_problem))
