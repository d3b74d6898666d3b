"""All that `keeprate plugins doctor` looks at, so that no failure hides another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .discovery import survey
from .doctor import Finding, examined, imports
from .doctor_machine import Machine, machine, store
from .doctor_packages import packages
from .import_time import import_times
from .plugins import ALL_KINDS, Registry


@dataclass(frozen=True)
class Diagnosis:
    """The plugins that could be loaded, the machine, and all that was found."""

    registry: Registry
    machine: Machine
    findings: Sequence[Finding]

    @property
    def problems(self) -> list[Finding]:
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
