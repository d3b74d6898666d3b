"""Build the HTML report as one text from templates, scripts and data; it fetches nothing."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from keeprate.analysis.model import Findings
from keeprate.analysis.run_table import unit_of
from keeprate_reports.html_opening import opening_of
from keeprate_reports.html_packing import script_json
from keeprate_reports.html_payload import methods, payload

_FOLDER = files("keeprate_reports") / "templates"
_SCRIPTS = (
    "dom",
    "filters",
    "tables",
    "columns",
    "origins",
    "charts",
    "disagreement",
    "groups",
    "page",
)
_STYLES = ("page", "parts", "opening", "disagreement")


def page(findings: Findings) -> str:
    """Return the whole page. The template escapes texts of the findings, or they are JSON data."""
    scripts = [_library(), _joined_files(_SCRIPTS, "js")]
    style = _joined_files(_STYLES, "css")
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            findings=findings,
            opening=opening_of(findings),
            methods=methods(findings),
            models=list(dict.fromkeys(group.model for group in findings.groups)),
            data_sets=list(dict.fromkeys(group.data for group in findings.groups)),
            runs=sum(len(group.points) for group in findings.groups),
            unit_of=unit_of,
            policy=_policy(scripts, style),
            style=style,
            scripts=scripts,
            data=script_json(payload(findings)),
        )
    )


def page_bytes(findings: Findings) -> bytes:
    """Return the page as UTF-8 bytes, whatever characters the names are made of."""
    return page(findings).encode("utf-8", "xmlcharrefreplace")


def _policy(scripts: list[str], style: str) -> str:
    """Return the content policy: the page runs its own scripts and styles, and loads nothing."""
    # names come from plugins and people: should one get past escaping, it still runs nothing
    script_hashes = " ".join(_hash(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {script_hashes}; style-src {_hash(style)}; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


@cache
def _library() -> str:
    """Return Vega, Vega-Lite and Vega-Embed, which come with vl-convert."""
    # a browser reads CRLF as LF, and the hash of the policy is over what it reads
    from vl_convert import javascript_bundle

    return str(javascript_bundle("window.vegaEmbed = vegaEmbed;")).replace("\r\n", "\n")


@cache
def _joined_files(names: tuple[str, ...], suffix: str) -> str:
    texts = [(_FOLDER / f"{name}.{suffix}").read_text(encoding="utf-8") for name in names]
    joined = "\n".join(texts)
    return f'"use strict";\n(() => {{\n{joined}}})();\n' if suffix == "js" else joined


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("keeprate_reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
