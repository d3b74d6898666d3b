"""Every hook is documented with its signature and an example, and every example works."""

from __future__ import annotations

import ast
import inspect
import textwrap
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

import keeprate
from keeprate import KeeprateError, hookspecs
from keeprate.analysis.build import findings_of
from keeprate.evaluation.runner import execute
from keeprate.plugins import registry as plugins
from keeprate.plugins.kinds import KINDS
from keeprate.plugins.parameters import build
from keeprate.plugins.registry import Registry, load
from keeprate.request import DataSpec, LoopOptions, ModelSpec, Options, Request
from keeprate.results.store import Store
from keeprate.strategy import Judged, Solved, Space
from keeprate.study.build import build_engine
from keeprate.study.yaml_lines import description_in
from paths import DOCS
from results_factory import fill

PAGE = DOCS / "plugins.md"
HOOKS = [*(kind.hook for kind in KINDS.values()), "keeprate_studies"]
TINY = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 4, "num_heads": 2}


def signature_of(hook: str) -> str:
    """The hook's definition as its module spells it."""
    source = ast.parse(Path(hookspecs.__file__).read_text(encoding="utf-8"))
    (node,) = [each for each in source.body if getattr(each, "name", None) == hook]
    assert isinstance(node, ast.FunctionDef)
    assert node.returns is not None
    return f"def {hook}({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}"


def example_of(hook: str) -> str:
    """The plugin file in the hook's docstring."""
    _, code = inspect.cleandoc(getattr(hookspecs, hook).__doc__).split("::\n\n")
    return textwrap.dedent(code).strip()


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented(hook: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert f"### `{hook}`" in page
    assert f"```python\n{signature_of(hook)}\n```" in page
    assert f"```python\n{example_of(hook)}\n```" in page


@pytest.fixture
def with_example(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    """The registry with the example of the hook named by the test, as the process's own."""
    path = tmp_path / "example.py"
    path.write_text(example_of(request.param), encoding="utf-8")
    request.getfixturevalue("monkeypatch").setattr(plugins, "_active", [])
    found = load([path], strict=True, environ={"KEEPRATE_PLUGINS": ""}, directory=tmp_path)
    plugins.activate(found)
    return found


def offered_by_example(found: Registry, kind: str) -> str:
    (name,) = [each.name for each in getattr(found, kind).values() if each.plugin == "example"]
    return name


@pytest.mark.parametrize("with_example", ["keeprate_methods"], indirect=True)
def test_the_example_of_a_method_reduces(with_example: Registry) -> None:
    vit = timm.create_model("vit_tiny_patch16_224", **TINY, num_classes=3).eval()
    name = offered_by_example(with_example, "methods")
    reduced = keeprate.reduce(vit, name, "5@1", power=1.0)
    assert reduced(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
    assert reduced.token_counts.tolist() == [[17, 6, 6, 6]] * 2


@pytest.mark.parametrize("with_example", ["keeprate_backbones"], indirect=True)
def test_the_example_of_a_backbone_runs_its_models(with_example: Registry) -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vit = timm.create_model("vit_tiny_patch16_224", **TINY, num_classes=3)

        def forward(self, images: Tensor) -> Tensor:
            return self.vit(images)

    class Doubled(Wrapped):
        def forward(self, images: Tensor) -> Tensor:
            return 2 * self.vit(images)

    model = Wrapped().eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    method = next(name for name, each in with_example.methods.items() if not each.cls.reduces)
    with torch.inference_mode():
        assert torch.equal(keeprate.reduce(model, method)(images), model(images))
    with pytest.raises(KeeprateError):  # what the wrapper does beside is not left out silently
        keeprate.reduce(Doubled().eval(), method)


@pytest.mark.parametrize("with_example", ["keeprate_datasets"], indirect=True)
def test_the_example_of_a_data_set_has_images(with_example: Registry) -> None:
    name = offered_by_example(with_example, "datasets")
    data = build("data set", with_example.dataset(name), {"count": "4", "size": "16"})
    data.bind(2, None)
    assert [each.label for each in data.samples()] == [0, 1, 0, 1]
    upright, lying = data.image(0), data.image(1)
    assert upright.shape == lying.shape == (3, 16, 16)
    assert upright.dtype == torch.uint8
    assert torch.equal(upright[:, 0], lying[:, :, 0])
    assert upright[0, 0].unique().tolist() == [0, 255]


@pytest.mark.parametrize("with_example", ["keeprate_reports"], indirect=True)
def test_the_example_of_a_report_writes(with_example: Registry, tmp_path: Path) -> None:
    name = offered_by_example(with_example, "reports")
    store = fill(tmp_path / "run", {"tome": (50, 40)})
    (path,) = with_example.report(name)().write(findings_of(store), tmp_path)
    assert len(path.read_text(encoding="utf-8").splitlines()) == 3


@pytest.mark.parametrize("with_example", ["keeprate_engines"], indirect=True)
def test_the_example_of_an_engine_runs(with_example: Registry, tmp_path: Path) -> None:
    name = offered_by_example(with_example, "engines")
    options = Options(LoopOptions(accelerator="cpu"), limit=4, throughput=False)
    request = Request(ModelSpec(), DataSpec("digits"), (), options)
    tally = execute(
        [request], Store(tmp_path / "run"), build_engine(f"{name}:seconds=0"), lambda event: None
    )
    assert len(tally.finished) == 1


@pytest.mark.parametrize("with_example", ["keeprate_strategies"], indirect=True)
def test_the_example_of_a_strategy_asks_once(with_example: Registry) -> None:
    strategy = with_example.strategy(offered_by_example(with_example, "strategies"))()
    space = Space(4, (0, 1, 3), 10, 1, lambda candidate, saving: None)
    trials = strategy.ask(space, ())
    assert [trial.candidate.free for trial in trials] == [(1, 1, 0, 0), (1, 0, 0, 1), (0, 1, 0, 1)]
    judged = Judged(trials[0], Solved((), (), 0), 0.0)
    assert strategy.ask(space, [judged]) == ()


def test_the_example_of_studies_offers_the_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    study = tmp_path / "studies" / "mine.yaml"
    study.write_text("description: Mine alone.\nmethods: []", encoding="utf-8")
    plugin = tmp_path / "example.py"
    plugin.write_text(example_of("keeprate_studies"), encoding="utf-8")
    found = load([plugin], strict=True, environ={"KEEPRATE_PLUGINS": ""}, directory=tmp_path)
    mine = found.study("mine")
    assert (mine.path, mine.origin) == (study, str(plugin))
    assert description_in(mine.path) == "Mine alone."
