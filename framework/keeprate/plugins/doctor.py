"""Find everything that is wrong with the plugins of an environment, each with its remedy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import Signature, signature
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from ..hookspecs import API_VERSION
from ..method import Method
from .author_errors import definition_place, describe_error, package_of, raise_place
from .contract import STATED
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
"""The doctor notes the import of a plugin that takes longer than this."""


def examined(found: Registry, survey: Survey) -> list[Diagnostic]:
    """Return the findings about the loaded plugins and about their sources."""
    return [
        *_failed_plugins(found),
        *_clashing_names(found),
        *_doubled_files(found),
        *_repeated_plugins(survey),
        *_left_out_plugins(survey),
        *_unstated_apis(found),
        *_undocumented_classes(found),
        *_unusable_methods(found),
    ]


def imports(imported: Mapping[Source, Imported]) -> Iterator[Diagnostic]:
    """Yield findings about the time that each plugin takes to import in a process of its own."""
    for source, outcome in imported.items():
        if outcome.ended is not None:
            message = f"importing it ends the process ({outcome.ended})"
            yield problem(_source_text(source), message, "A plugin must leave the process alone.")
        elif outcome.seconds > SLOW_SECONDS:
            brings = f" ({', '.join(outcome.heavy)})" if outcome.heavy else ""
            yield note(
                _source_text(source),
                f"importing it takes {outcome.seconds:.1f} s{brings}, more than {SLOW_SECONDS} s",
                "Import inside the functions that need it, as the package does that `keeprate new "
                "--package` writes: keeprate list then starts at once.",
            )


def _source_text(source: Source) -> str:
    return f"plugin {source.name} ({source.origin})"


def _failed_plugins(registry: Registry) -> Iterator[Diagnostic]:
    for broken in registry.broken:
        remedy = broken.remedy or "keeprate list plugins --traceback shows how it got there."
        yield problem(f"plugin {broken.name} ({broken.origin})", broken.said, remedy, broken.place)


def _clashing_names(registry: Registry) -> Iterator[Diagnostic]:
    for kind in ALL_KINDS:
        for one, other in combinations(registry.offers(kind), 2):
            if one.name == other.name:
                yield problem(f"{kind} {one.name}", clash(kind, one, other), RENAME)


def _doubled_files(registry: Registry) -> Iterator[Diagnostic]:
    """Find a file that loads twice: as a file, and as a module of an installed package."""
    files = [(plugin, getattr(plugin.module, "__file__", None)) for plugin in registry.plugins]
    for (one, path), (other, other_path) in combinations(files, 2):
        if path and other_path and Path(path).resolve() == Path(other_path).resolve():
            message = f"{path} is loaded twice, by {one.name} ({one.origin}) and {other.name}"
            message = f"{message} ({other.origin})"
            yield problem(f"plugin {other.name}", message, "Leave out one of the two.")


def _repeated_plugins(survey: Survey) -> Iterator[Diagnostic]:
    for path, count in Counter(survey.files).items():
        if count > 1:
            message = f"{path} is named {count} times; it is loaded once"
            yield note("plugin files", message, f"Name it once, by --plugin or in {VARIABLE}.")
    for name, entries in survey.by_name().items():
        if len(entries) > 1:
            origins = " and ".join(source.origin for source in entries)
            yield problem(
                f"plugin {name}",
                f"two installed plugins have this name, of {origins}",
                f"Uninstall one, or rename its entry point: {VARIABLE} cannot tell them apart.",
            )


def _left_out_plugins(survey: Survey) -> Iterator[Diagnostic]:
    if survey.chosen is None:
        return
    left_out = [f"{source.name} ({source.origin})" for source in survey.left_out]
    message = f'is in force: "{",".join(survey.chosen)}"'
    if left_out:
        message = f"{message}; installed plugins that do not load: {', '.join(left_out)}"
    yield note(VARIABLE, message, f"Unset it to load all: unset {VARIABLE}.")


def _unstated_apis(registry: Registry) -> Iterator[Diagnostic]:
    for plugin in registry.plugins:
        if plugin.api is None and not is_builtin(plugin.origin):
            yield note(
                f"plugin {plugin.name} ({plugin.origin})",
                "it does not state the API version it is made for",
                f"Write {STATED} = {API_VERSION} in it, so that a later keeprate can tell.",
            )


def _undocumented_classes(registry: Registry) -> Iterator[Diagnostic]:
    for offer in _offered_classes(registry):
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


def _lacks_types(function_signature: Signature) -> bool:
    arguments = list(function_signature.parameters.values())[1:]  # without self
    return any(argument.annotation is argument.empty for argument in arguments)


def _unusable_methods(registry: Registry) -> Iterator[Diagnostic]:
    """Find methods that cannot be made with their defaults or do not keep their parameters."""
    for offer in _offered_classes(registry):
        if not issubclass(offer.cls, Method) or any(
            parameter.required for parameter in parameters_of(offer.cls)
        ):
            continue
        subject, location = f"method {offer.name} ({offer.origin})", definition_place(offer.cls)
        try:
            forgotten_names = forgotten(offer.cls())
        except Exception as error:  # a plugin's __init__ may raise anything
            message, remedy = describe_error(error)
            location = raise_place(error, package_of(offer.cls)) or location
            remedy = remedy or "Mend __init__, or give the parameters no defaults."
            yield problem(
                subject, f"it cannot be made with its defaults: {message}", remedy, location
            )
        else:
            for name in forgotten_names:
                yield problem(subject, *not_kept(offer.cls, name), location)


def _offered_classes(registry: Registry) -> Sequence[Registered[object]]:
    offers = [offer for kind in KINDS for offer in registry.offers(kind)]
    return [
        offer for offer in offers if isinstance(offer, Registered) and not is_builtin(offer.origin)
    ]


@dataclass(frozen=True)
class Diagnosis:
    """The plugins that could be loaded, the machine, and all findings."""

    registry: Registry
    machine: Machine
    findings: Sequence[Diagnostic]

    @property
    def problems(self) -> list[Diagnostic]:
        """The findings that must be mended."""
        return [finding for finding in self.findings if finding.is_problem]

    def offered(self) -> dict[str, int]:
        """Return how many things of each kind are offered."""
        return {kind: len(self.registry.offers(kind)) for kind in ALL_KINDS}


def diagnose(
    files: Sequence[Path], environ: Mapping[str, str], directory: Path, runs: Path
) -> Diagnosis:
    """Load every plugin the environment allows, and `files`, and return what is wrong with them.

    Each plugin is first imported in a process of its own. A plugin that ends that process is not
    loaded here. `runs` is the folder for results.
    """
    plugin_survey = survey(files, environ, directory)
    imported = import_times(plugin_survey.sources)
    # these would end this process, too, before it can say anything
    ending_sources = {source for source, outcome in imported.items() if outcome.ended is not None}
    registry = Registry(
        [source for source in plugin_survey.sources if source not in ending_sources]
    )
    this_machine = machine()
    findings = [
        *imports(imported),
        *examined(registry, plugin_survey),
        *packages(plugin_survey.sources),
        *this_machine.findings,
        *store(runs),
    ]
    return Diagnosis(
        registry, this_machine, sorted(findings, key=lambda finding: not finding.is_problem)
    )
