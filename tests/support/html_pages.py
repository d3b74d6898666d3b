"""HTML pages as a browser reads them, and findings whose every text is one that bites."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

from html_factory import make_findings, make_group, make_provenance
from keeprate.analysis.model import Findings, ReportOptions

NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&{{7*7}}<!--"


EMPTY = Findings(ReportOptions(), ("No finished run.",), (), (), (), ())


class Page(HTMLParser):
    """The tags, the attributes, the texts outside scripts and styles, and the data of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.data = ""
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.inside = "data" if ("id", "data") in attrs else tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "data":
            self.data += data
        elif self.inside not in ("script", "style"):
            self.texts.append(data)

    @property
    def payload(self) -> Any:
        return json.loads(self.data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def values(column: Any, rows: int) -> list[Any]:
    if "rest" in column:
        return [column["prefix"] + text for text in column["rest"]]
    if isinstance(column, dict):
        return [column["of"][at] for at in column.get("at", [0] * rows)]
    return list(column)


def unpacked(found: Any) -> list[dict[str, Any]]:
    columns = {name: values(column, found["rows"]) for name, column in found["columns"].items()}
    return [{name: column[row] for name, column in columns.items()} for row in range(found["rows"])]


def named(name: str) -> Findings:
    """Findings in which every text that people or plugins choose is `name`."""
    group = make_group(name, name, (name,), ("80%",))
    points = tuple(
        replace(point, label=name, series=name, parameters=name, asked=name)
        for point in group.points
    )
    provenance = tuple(make_provenance(point, name, name) for point in points)
    group = replace(
        group, title=name, overview=(name,), points=points, provenance=provenance, commands=(name,)
    )
    return replace(
        make_findings(), overview=(name,), methods=(name,), groups=(group,), problems=(name,)
    )
