"""What the documentation site needs beyond Markdown: equations, and pages of the root folder."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT_PAGES = ("CONTRIBUTING.md", "CHANGELOG.md")
_EQUATION = re.compile(r"^( *)```math\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that stand in the root folder, their links starting from `docs`."""
    for name in ROOT_PAGES:
        text = Path(config.config_file_path).with_name(name).read_text(encoding="utf-8")
        moved = text.replace("](docs/", "](")
        files.append(File.generated(config, name.lower(), content=moved))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Set fenced `math` blocks as MathML, which browsers show without a script."""
    return _EQUATION.sub(_equation, markdown)


def _equation(found: re.Match[str]) -> str:
    indent, latex = found[1], textwrap.dedent(found[2]).strip()
    return f'{indent}<div class="equation">{convert(latex, display="block")}</div>'
