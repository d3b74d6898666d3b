"""The loaded plugins and those that failed, as `keeprate plugins` and `keeprate list` show them."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..hookspecs import API_VERSION
from ..plugins.discovery import BrokenPlugin, Plugin, is_builtin
from ..plugins.registry import ALL_KINDS, Registry


@dataclass(frozen=True)
class PluginRow:
    """One plugin: the names it offers by kind, or the reason why it failed.

    `file` is the path of its code and `api` the API version that it states; None if not known.
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
        """The origin and the version, without naming the version twice."""
        return self.origin if self.version in self.origin else f"{self.origin} {self.version}"

    @property
    def description(self) -> str:
        """The names that the plugin offers in one line, or the reason why it failed."""
        if self.failed is not None:
            return f"failed: {self.failed.cause}"
        return ", ".join(name for names in self.offers.values() for name in names)

    def record(self) -> dict[str, object]:
        """Return the row as a dict for JSON."""
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
    """Return the loaded plugins in order, then those that failed, also by names that clash."""
    # first: looking this up asks each plugin for its classes, and drops those that fail at it
    broken_plugins = found.broken
    rows = [_row(found, plugin) for plugin in found.plugins]
    return rows + [
        PluginRow(broken.name, broken.origin, "", failed=broken) for broken in broken_plugins
    ]


def _row(registry: Registry, plugin: Plugin) -> PluginRow:
    # by name and origin: two files may have plugins of the same name
    source = (plugin.name, plugin.origin)
    offers = {
        kind: [
            offer.name for offer in registry.offers(kind) if (offer.plugin, offer.origin) == source
        ]
        for kind in ALL_KINDS
    }
    return PluginRow(
        *(plugin.name, plugin.origin, plugin.version),
        file=getattr(plugin.module, "__file__", None),
        # built-in plugins state no version: they change together with the API
        api=API_VERSION if is_builtin(plugin.origin) else plugin.api,
        offers={kind: names for kind, names in offers.items() if names},
    )
