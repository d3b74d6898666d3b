"""The loaded plugins and those that failed, as `keeprate plugins` and `keeprate list` show them."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..hookspecs import API_VERSION
from ..plugins.discovery import BrokenPlugin, Plugin, is_builtin
from ..plugins.registry import ALL_KINDS, Registry


@dataclass(frozen=True)
class PluginRow:
    """One plugin: what it offers by kind, or why it failed.

    `file` is where its code is and `api` the API version it states, each None if unknown.
    """

    name: str
    origin: str
    version: str
    file: str | None = None
    api: int | None = None
    offers: dict[str, list[str]] = field(default_factory=dict)
    failed: BrokenPlugin | None = None

    @property
    def source(self) -> str:
        """Origin and version, the version once."""
        return self.origin if self.version in self.origin else f"{self.origin} {self.version}"

    @property
    def description(self) -> str:
        """All that the plugin offers in one line, or why it failed."""
        if self.failed is not None:
            return f"failed: {self.failed.cause}"
        return ", ".join(name for names in self.offers.values() for name in names)

    def record(self) -> dict[str, object]:
        """Return the row as JSON has it."""
        failed = self.failed
        return {
            "name": self.name,
            "origin": self.origin,
            "version": self.version,
            "file": self.file,
            "api": self.api,
            "offers": self.offers,
            "failed": None
            if failed is None
            else {"cause": failed.said, "place": failed.place, "remedy": failed.remedy},
        }


def plugin_rows(found: Registry) -> list[PluginRow]:
    """Return each loaded plugin in order, then each that failed, names that clash included."""
    broken = found.broken  # asks all plugins for all they offer
    rows = [_row(found, each) for each in found.plugins]
    return rows + [PluginRow(each.name, each.origin, "", failed=each) for each in broken]


def _row(found: Registry, plugin: Plugin) -> PluginRow:
    source = (plugin.name, plugin.origin)
    offers = {
        kind: [each.name for each in found.offers(kind) if (each.plugin, each.origin) == source]
        for kind in ALL_KINDS
    }
    return PluginRow(
        *(plugin.name, plugin.origin, plugin.version),
        file=getattr(plugin.module, "__file__", None),
        api=API_VERSION if is_builtin(plugin.origin) else plugin.api,
        offers={kind: names for kind, names in offers.items() if names},
    )
