"""docs/conformance.md has a section for every promise, and the failure it shows is a real one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from keeprate.cli import keeprate
from keeprate.testing import CHECKS
from keeprate.testing.data_checks import DATA_CHECKS
from keeprate.testing.metric_checks import METRIC_CHECKS
from keeprate.testing.outcome import DOCS
from keeprate.testing.report_checks import REPORT_CHECKS
from paths import ROOT

pytestmark = pytest.mark.usefixtures("own_registry")

PAGE = (ROOT / DOCS).read_text(encoding="utf-8")


def test_every_promise_of_a_method_has_a_section_of_its_own() -> None:
    sections = re.findall(r"^### ([a-z][\w-]*)\n\n\*\*(.+)\*\*\n(.+)", PAGE, flags=re.MULTILINE)
    assert [(name, promise) for name, promise, _ in sections] == [
        (check.name, check.promise) for check in CHECKS
    ]


@pytest.mark.parametrize(
    "check", [*DATA_CHECKS, *METRIC_CHECKS, *REPORT_CHECKS], ids=lambda check: check.name
)
def test_every_other_promise_has_a_row(check: object) -> None:
    assert f"| `{check.name}` | {check.promise} |" in PAGE


def test_the_failure_shown_is_what_the_command_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [plugin] = re.findall(r"```python\n(# crowd_norm\.py\n.*?)```", PAGE, flags=re.DOTALL)
    command, shown = re.findall(
        r"`(keeprate check crowd_norm\.py .*?)` prints\n\n```text\n(.*?)```", PAGE, flags=re.DOTALL
    )[0]
    (tmp_path / "crowd_norm.py").write_text(plugin)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(keeprate, command.split()[1:])
    assert done.exit_code == 1
    assert timeless(done.output.replace(f"{tmp_path}/", "")) == timeless(shown)


def timeless(text: str) -> str:
    """Leave out what differs between machines: seconds, and the last digits of an error."""
    text = re.sub(r"\d+\.\d+ s", "0 s", text)
    return re.sub(r"\d\.\de-\d\d", "0", re.sub(r" +0 s", " 0 s", text))
