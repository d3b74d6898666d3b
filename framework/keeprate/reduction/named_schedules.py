"""Schedules by name: the presets of methods, and the schedule that a method has of its own."""

from __future__ import annotations

from ..costs import Budget
from ..errors import KeeprateError, unknown_name
from ..method import Method, Preset
from .schedule import PREFIX, Schedule, file_of, parse_schedule


def preset_of(method: type[Method], schedule: str | None) -> Preset | None:
    """Return the preset of `method` that `schedule` names, if it names one.

    A file with a schedule of this method is a preset, too. Raises KeeprateError for a damaged one.
    """
    if schedule is None or not schedule.startswith(PREFIX):
        return None if schedule is None else method.presets.get(schedule)
    found = file_of(schedule)
    return Preset(schedule, found.parameters) if found.method == method.name else None


def _preset_of_another(schedule: str | None) -> Preset | None:
    """Return the preset that "METHOD:PRESET" names, of which only the schedule is taken.

    None for a text of another form. Raises KeeprateError for unknown names.
    """
    name, colon, preset = (schedule or "").partition(":")
    if not colon or name.startswith(PREFIX):
        return None
    # imported here: the registry loads every plugin
    from ..plugins.registry import registry

    methods = registry().methods
    if name not in methods:
        raise unknown_name("method", name, methods)
    presets = methods[name].cls.presets
    if preset not in presets:
        raise unknown_name(f"preset of method '{name}'", preset, presets)
    return presets[preset]


def resolve_schedule(method: Method, schedule: str | None, budget: Budget | None) -> Schedule:
    """Return the schedule that a text or the method names, whose scale the budget may solve.

    Raises KeeprateError for neither a schedule nor a budget, for texts that are none, and for
    explicit counts with a budget.
    """
    if schedule is None and budget is None:
        raise KeeprateError(
            f"Method '{method.name}' needs a schedule (r=13, keep=0.7) or a budget (65%)."
        )
    preset = preset_of(type(method), schedule) or _preset_of_another(schedule)
    text = preset.schedule if preset is not None else schedule or method.default_schedule
    try:
        parsed = parse_schedule(text)
    except KeeprateError:
        # a plain word is more likely a misspelled preset than a schedule
        if method.presets and text.replace("-", "").isalnum() and not text.isdigit():
            raise unknown_name("schedule or preset", text, method.presets) from None
        raise
    if budget is not None and not parsed.is_scalable:
        raise KeeprateError(
            f"Schedule '{text}' gives explicit counts: no scale is left for a budget. "
            "Drop one of the two."
        )
    return parsed
