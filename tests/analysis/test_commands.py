"""The command written for a stored run asks for that very run, whatever options it was asked with.

Commands are parsed by the command line itself, and what they ask for is prepared, not computed.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
import timm
from click.core import ParameterSource
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

from keeprate.analysis.build import findings_of
from keeprate.analysis.rerun import model_spec_of, request_of
from keeprate.analysis.sections.commands import command_of, plugin_words
from keeprate.cli import keeprate
from keeprate.cli.commands.compare import compare
from keeprate.plugins import registry as plugins
from keeprate.request import ModelSpec, Request
from keeprate.results import Store
from keeprate.results.records import RunInfo
from keeprate.results.weights_origin import WeightsOrigin
from keeprate.study.build import prepare
from keeprate.visualization.restored_runs import RunFiles, restore_runs
from results_factory import make_backbone, make_environment, make_run, put
from study_factory import PLUGIN

VIT = "--model test_vit --weights vit.safetensors"
DIGITS = "--model test_vit --weights digits.safetensors --data digits"
QUOTED = "--model test_vit --weights 'my \"vit\".safetensors'"
TINY = "--model vit_tiny_patch16_224 --weights tiny.safetensors --data digits"
PARAMETERS = '"zero-tprune:pattern=I\'-S,iterations=30,5,1,tolerance=0.01"'
ONE = "--method tome --schedule r=1"
CASES = {
    "a limit": f"{ONE} --limit 3",
    "a part of a limit": f"{ONE} --limit 24 --part 0.5..1",
    "nothing but a method": "--method tome",
    "the unpruned model alone": "--method full",
    "budgets": "--data digits --method tome --method random --budget 65% --budget 0.03",
    "schedules": "--method tome --method random --schedule r=4 --schedule keep=0.7@3,6",
    "a schedule at a budget": "--method random --schedule keep@3,6,9 --budget 65%",
    "explicit counts": "--method tome --schedule 40@3,20@6",
    "parameters": f"--method {PARAMETERS} --budget 65%",
    "a seed of all": "--method random --method tome --budget 65% --seed 3",
    "seeds of methods": "--method random:seed=1 --method random:seed=2 --budget 65%",
    "an empty last MLP": f"{ONE} --empty-last-mlp",
    "a precision": f"{ONE} --precision bf16-mixed",
    "weights from a file": f"{DIGITS} {ONE}",
    "weights in a quoted file": f"{QUOTED} --data digits {ONE}",
    "a size": f"{DIGITS} --image-size 64 {ONE}",
    "a size that the name has": f"{TINY} --image-size 16 --method full",
    "an oblong size": f"{DIGITS} --image-size 64x48 {ONE}",
    "another preparation": f"{DIGITS} {ONE} --mean 0,0.2,0.3 --std 0.25 --crop-pct 0.9",
    "images to solve a budget on": "--data digits --method ltmp:merge=0.97 --budget 40% "
    "--calibration cluttered-digits:difficulty=1 --calibration-images 5 --calibration-seed 2",
    "another interpolation": f"{DIGITS} {ONE} --interpolation nearest",
    "photographs": f'{VIT} --data "image-folder:root=it\'s my 50% & more" {ONE}',
    "other labels": f'{VIT} --data "image-folder:it\'s my 50% & more,labels=my labels.txt" {ONE}',
    "a path with a comma": f"{VIT} --data 'image-folder:\"lr=0.1,labels=x\"' {ONE}",
    "bad photographs": f"{VIT} --data image-folder:torn --skip-bad {ONE}",
    "a plugin": "--plugin shapes.py --method shape:kind=b,words=,limit=inf --budget 65%",
    "a preset": "--plugin shapes.py --method 'shape:numbers=3,4,seed=5' --schedule fixed",
    "a preset at a budget": "--plugin shapes.py --method shape --schedule fixed --budget 70%",
    "two plugins": "--plugin shapes.py --plugin more.py --data few --method shape --budget 65%",
}
HUGGINGFACE = {
    "a model of transformers": f'--model hf:images --data "image-folder:it\'s my 50% & more" {ONE}',
    "texts": f"--model hf:words --data text-file:reviews.csv,max_length=9 {ONE}",
}
SAME_RUN = {
    *("name", "runs", "force", "throughput", "batch_size", "workers", "accelerator", "devices"),
    *("cache_decoded", "engine", "logger", "pictures"),
    *("checkpoint_seconds", "checkpoint_batches", "runs_per_pass"),
}
"""Options that change where and how a run is computed, not which run it is."""

MORE = '''
from keeprate import hookimpl
from keeprate_datasets.digits import Digits


class Few(Digits):
    """The first digits."""

    name = "few"

    def samples(self):
        return super().samples()[:20]

    def classifier(self):
        from keeprate.plugins.registry import registry

        return registry().dataset("digits")().classifier()


@hookimpl
def keeprate_datasets():
    return [Few]
'''


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the cases name: weights, photographs, plugins."""
    folder = tmp_path_factory.mktemp("files")
    models = {"vit": ("test_vit", 3), "digits": ("test_vit", 10), 'my "vit"': ("test_vit", 10)}
    for file, (name, classes) in (models | {"tiny": ("vit_tiny_patch16_224", 10)}).items():
        model = timm.create_model(name, num_classes=classes)
        save_file(model.state_dict(), folder / f"{file}.safetensors")
    (folder / "my labels.txt").write_text("ant\nbee\ncat\n")
    random = np.random.default_rng(0)
    for place in ("it's my 50% & more", "torn", "lr=0.1,labels=x"):
        for name in ("ant/0.png", "bee/1.png", "cat/2.png"):
            (folder / place / name).parent.mkdir(parents=True)
            pixels = random.integers(0, 256, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / place / name)
    (folder / "torn/ant/torn.png").write_bytes(b"no image")
    (folder / "shapes.py").write_text(PLUGIN)
    (folder / "more.py").write_text(MORE)
    return folder


@pytest.fixture(autouse=True)
def _there(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)
    monkeypatch.setenv("KEEPRATE_PLUGINS", "")
    monkeypatch.setattr(plugins, "_active", [])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Request]:
    """What a command line asks for, as the command line parses it; nothing is run."""
    found: list[Request] = []

    def keep(requests: list[Request], *_: object, **options: object) -> int:
        found[:] = requests
        return 0

    monkeypatch.setattr("keeprate.cli.session.run_and_report", keep)

    def parsed(line: str) -> Request:
        done = CliRunner().invoke(keeprate, shlex.split(line)[1:], catch_exceptions=False)
        assert (done.exit_code, done.stderr) == (0, ""), done.output
        return found.pop()

    return parsed


def described(request: Request) -> list[RunInfo]:
    """What is asked for, the unpruned run first."""
    return [job.info for job in prepare(request).jobs]


def check(line: str, asked: Callable[[str], Request], folder: Path) -> list[RunInfo]:
    """Every run of a command has a command that asks for it, and all have a few together."""
    full, *runs = described(asked(line))
    store = Store(folder)
    for run in (full, *runs):
        put(store, run)
    (group,) = findings_of(store).groups
    alone = {run.id: command_of(run, make_environment()) for run in runs or [full]}
    commands = {*alone.values(), *group.commands}
    found = {each: [run.id for run in described(asked(each))] for each in commands}
    assert {name: found[each] for name, each in alone.items()} == {
        name: list(dict.fromkeys([full.id, name])) for name in alone
    }
    together = {name for each in group.commands for name in found[each]}
    assert together == {full.id, *alone}
    return [full, *runs]


@pytest.mark.sample(2)
@pytest.mark.parametrize("case", CASES)
def test_the_command_of_a_run_asks_for_it(
    case: str, asked: Callable[[str], Request], tmp_path: Path
) -> None:
    line = f"keeprate compare {CASES[case]}"
    runs = check(line if "--limit" in line else f"{line} --limit 5", asked, tmp_path)
    again = restore_runs(runs, RunFiles())
    assert (set(again.plans), again.changes) == ({run.id for run in runs}, ())


@pytest.mark.sample(1)
@pytest.mark.parametrize("case", HUGGINGFACE)
def test_so_does_that_of_a_model_of_transformers(
    case: str, asked: Callable[[str], Request], files: Path, tmp_path: Path
) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    from huggingface_factory import image_checkpoint, review_file, text_checkpoint

    image_checkpoint(files / "images")
    text_checkpoint(files / "words")
    review_file(files)
    check(f"keeprate compare {HUGGINGFACE[case]}", asked, tmp_path)


def test_every_option_that_changes_a_run_is_tried() -> None:
    """A new option of `keeprate compare` needs a case, or a word that it changes no run."""
    names = {each.name for each in compare.params}
    tried = set()
    for case in (*CASES.values(), *HUGGINGFACE.values()):
        given = compare.make_context("compare", shlex.split(case), resilient_parsing=True)
        tried |= {each.name for each in compare.params if _is_typed(given, each.name)}
    assert tried | SAME_RUN == names - {"strict_plugins", "traceback"}
    assert not tried & SAME_RUN


def _is_typed(context: click.Context, name: str | None) -> bool:
    return context.get_parameter_source(name or "") is ParameterSource.COMMANDLINE


def stored(name: str, height: int, width: int, weights: str = "pretrained") -> RunInfo:
    changes = {"weights": WeightsOrigin.parse(weights), "image_size": (height, width)}
    backbone = make_backbone(name).model_copy(update=changes)
    return make_run(backbone=backbone, precision="32-true")


@pytest.mark.parametrize(
    ("name", "size", "spelled"),
    [
        ("vit_so400m_patch16_siglip_256", (400, 400), "400"),
        ("vit_so400m_patch16_siglip_256", (256, 256), "256"),
        ("vit_base_patch16_224", (16, 16), "16"),
        ("vit_base_patch16_224", (224, 384), "224x384"),
    ],
)
def test_the_size_of_images_is_named_whatever_the_model_is_called(
    name: str,
    size: tuple[int, int],
    spelled: str,
    asked: Callable[[str], Request],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # these weights are not here, and the size does not suit every one of these models
    monkeypatch.setattr("keeprate.study.checks.check_pairs", lambda *_, **__: None)
    run = stored(name, *size)
    command = command_of(run, make_environment())
    assert f" --model {name} --image-size {spelled} " in command
    assert asked(command).model == request_of(run).model == ModelSpec(name, None, size)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (stored("digits classifier", 32, 32, "shipped with digits"), ModelSpec()),
        (stored("hf:model", 32, 32), ModelSpec("hf:model")),
        (stored("hf:words", 1, 24), ModelSpec("hf:words")),
        (stored("vit", 32, 48, "my vit.pt"), ModelSpec("vit", Path("my vit.pt"), (32, 48))),
    ],
)
def test_only_what_can_be_given_to_a_model_is(run: RunInfo, expected: ModelSpec) -> None:
    assert model_spec_of(run.backbone) == expected


@pytest.mark.parametrize("origin", ["random weights", "given"])
def test_weights_in_no_file_are_to_be_saved_in_one(origin: str) -> None:
    words = shlex.split(command_of(stored("vit", 32, 32, origin), make_environment()))
    assert words[words.index("--weights") + 1] == "FILE"
    assert not {origin, origin.split()[0]} & {*words}
    assert model_spec_of(stored("hf:vit", 32, 32, origin).backbone) == ModelSpec("hf:FOLDER")


def test_a_model_may_have_another_name_now() -> None:
    backbone = stored("digits classifier", 32, 48, "pretrained").backbone
    assert model_spec_of(backbone, "vit") == ModelSpec("vit", None, (32, 48))
    assert model_spec_of(backbone, "hf:moved") == ModelSpec("hf:moved")


def test_files_of_plugins_are_named_once_whatever_they_brought() -> None:
    origins = {"backbone_origin": "/mine/b.py", "data_origin": "/mine/a.py"}
    runs = [make_run(method_origin="/mine/a.py", **origins), make_run()]
    assert plugin_words(runs) == ["--plugin", "/mine/a.py", "--plugin", "/mine/b.py"]
