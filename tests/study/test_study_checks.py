"""What makes a study impossible is found on shapes alone, all of it, before anything runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from huggingface_factory import image_checkpoint, review_file, text_checkpoint
from keeprate.errors import KeeprateError
from keeprate.request import Cost, DataSpec, LoopOptions, ModelSpec, Options
from keeprate.study import Study, StudyProblems, read_study

TINY = "vit_tiny_patch16_224"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos" / "n01440764").mkdir(parents=True)


def read(text: str, *overrides: str) -> Study:
    Path("s.yaml").write_text(text, encoding="utf-8")
    return read_study("s.yaml", overrides)


def told(text: str, *overrides: str) -> list[str]:
    with pytest.raises(StudyProblems) as caught:
        read(text, *overrides)
    return [str(problem) for problem in caught.value.problems]


def test_a_sound_study_becomes_requests() -> None:
    study = read(
        f"""
name: mine
description: >
  Two lines
  of text.
models: [{TINY}, {{name: {TINY}, image_size: 160}}]
data: imagenet:photos
methods: [tome, random]
budgets: [65%, 0.5]
limit: 5
skip_bad: true
batch_size: 3
workers: 2
precision: bf16-mixed
accelerator: cpu
devices: 2
cache_decoded: kept
logger: [csv]
checkpoint_seconds: 5
checkpoint_batches: 7
runs_per_pass: 3
empty_last_mlp: true
throughput: true
"""
    )
    assert (study.name, study.description) == ("mine", "Two lines of text.")
    assert (study.spec.engine, study.loggers) == (None, ("csv",))
    assert [request.model for request in study.requests] == [
        ModelSpec(TINY),
        ModelSpec(TINY, image_size=(160, 160)),
    ]
    for request in study.requests:
        assert request.data == DataSpec("imagenet", {"root": "photos"})
        assert [(run.method, run.cost.budget) for run in request.runs] == [
            ("tome", "65%"),
            ("tome", "0.5"),
            ("random", "65%"),
            ("random", "0.5"),
        ]
        assert not request.only_fitting
        loop = LoopOptions(3, 2, "bf16-mixed", "cpu", 2, 5.0, 7)
        assert request.options == Options(
            loop=loop,
            limit=5,
            skip_bad=True,
            empty_last_mlp=True,
            throughput=True,
            cache_decoded=Path("kept"),
            runs_per_pass=3,
        )


def test_what_is_not_said_is_as_in_compare() -> None:
    study = read("limit: 5")
    (request,) = study.requests
    assert (study.name, request.model, request.data) == ("s", ModelSpec(), DataSpec())
    assert request.only_fitting
    assert {run.method for run in request.runs} >= {"tome", "zero-tprune", "class-attention"}
    assert {run.cost for run in request.runs} == {Cost(None, b) for b in ("80%", "65%", "50%")}
    assert request.options == Options(limit=5)


def test_a_study_that_is_not_there_is_told() -> None:
    with pytest.raises(KeeprateError, match=r"No study file 'absent\.yaml'\."):
        read_study("absent.yaml")
    with pytest.raises(KeeprateError, match=r"No study file 'a/b'\."):
        read_study("a/b")
    with pytest.raises(
        KeeprateError, match=r"No study 'convergance'\. Did you mean 'convergence'\?"
    ):
        read_study("convergance")


def weights(name: str = "w.safetensors", **options: object) -> str:
    save_file(timm.create_model(TINY, **options).state_dict(), name)
    return name


ON_PHOTOS = f"models: {TINY}\ndata: imagenet:photos\n"


def test_all_problems_are_told_at_once() -> None:
    lines = told(
        """
models: [vit_tiny_patch16_225, {name: vit_tiny_patch16_224, weights: w.pth}, vit_tiny_patch16_224]
data: [imagenet, digit, "imagenet:photos"]
methods:
  - tom
  - name: zero-tprune
    parameters: {pattern: [I, X], iterations: none}
  - {name: tome, schedule: r=8}
budgets: [65%, 1%, lots]
limt: 5
exclude: [{method: absent}]
""",
        "batch_size=0",
    )
    assert [line.split(": ")[:2] for line in lines] == [
        ["s.yaml:2", "models.0"],
        ["s.yaml:2", "models.1.weights"],
        ["s.yaml:3", "data.0"],
        ["s.yaml:3", "data.1"],
        ["s.yaml:5", "methods.0"],
        ["s.yaml:7", "methods.1.parameters.iterations"],
        ["s.yaml:7", "methods.1.parameters.pattern.1"],
        ["s.yaml:8", "methods.2.schedule"],
        ["s.yaml:9", "budgets.2"],
        ["s.yaml:9", "budgets.1"],
        ["s.yaml:10", "limt"],
        ["--set batch_size", "must be greater than or equal to 1, not 0."],
    ]


def test_a_problem_of_many_runs_is_told_once_and_names_the_model_where_there_are_several() -> None:
    text = f"""
models: [{TINY}, deit_tiny_patch16_224]
data: imagenet:photos
methods: {{name: zero-tprune, parameters: {{pattern: [I, S-I], heads: [rms, mean]}}}}
budgets: [65%, 1%]
seeds: [0, 1]
"""
    said = "A budget of 12.537 MMACs is out of reach of method 'zero-tprune pattern=I' with "
    assert [line.partition("schedule")[0] for line in told(text)] == [
        f"s.yaml:5: budgets.1: {TINY}: {said}",
        f"s.yaml:5: budgets.1: deit_tiny_patch16_224: {said}",
    ]


@pytest.mark.slow
def test_excluded_runs_are_not_checked() -> None:
    text = f"models: [{TINY}, vit_little_patch16_reg4_gap_256]\ndata: imagenet:photos\n"
    text += "methods: [class-attention, tome]\nbudgets: 65%\n"
    assert len(told(text)) == 1
    text += "exclude: {method: class-attention, model: vit_little_patch16_reg4_gap_256}"
    with_class_token, without = read(text).requests
    assert [run.method for run in with_class_token.runs] == ["class-attention", "tome"]
    assert [run.method for run in without.runs] == ["tome"]


@pytest.mark.slow
def test_without_methods_those_that_do_not_suit_a_model_are_no_problem() -> None:
    study = read("models: vit_little_patch16_reg4_gap_256\ndata: imagenet:photos")
    assert study.requests[0].only_fitting


def test_the_weights_own_classes_are_what_counts() -> None:
    file = weights(num_classes=10)
    text = f"models: {{name: {TINY}, weights: {file}}}\nmethods: tome\ndata: "
    assert read(text + "digits").requests[0].model == ModelSpec(TINY, Path(file))
    assert told(text + "imagenet:photos") == [
        "s.yaml:3: data: Data set 'imagenet' needs a model with 1000 classes, this one has 10. "
        "For other classes use the data set 'image-folder'."
    ]


@pytest.mark.slow
def test_weights_for_another_size_are_told_with_the_key_that_helps() -> None:
    text = f"models: {{name: {TINY}, weights: {weights(img_size=160)}}}\ndata: imagenet:photos"
    assert told(text) == [
        "s.yaml:1: models.weights: 'w.safetensors' has 101 position embeddings, the model has 197: "
        "it was made for another image size. Say which: image_size: PIXELS."
    ]
    assert read(text, "models.0.image_size=160", "methods=tome").requests


def test_texts_need_a_model_of_texts(tmp_path: Path) -> None:
    text_checkpoint(tmp_path / "bert")
    image_checkpoint(tmp_path / "vit")
    review_file(tmp_path)
    text = "models: ['hf:vit', 'hf:bert']\ndata: 'text-file:reviews.csv'\nmethods: tome\n"
    assert told(text + "budgets: [80%, 1.5]") == [
        "s.yaml:1: models.0: Model 'hf:vit' reads images, and data set 'text-file' has texts.",
        "s.yaml:4: budgets.1: hf:bert: Budget '1.5' is one cost for texts of all lengths: "
        "give a share, as 65%.",
    ]
    (request,) = read(text + "budgets: 80%\nexclude: {model: 'hf:vit'}").requests
    assert request.options.loop.workers == 0
    (tmp_path / "bert" / "model.safetensors").unlink()
    (found,) = told(text + "exclude: {model: 'hf:vit'}")
    assert found == "s.yaml:1: models.1: 'bert' holds no model.safetensors, its weights."


def test_nothing_is_computed_or_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a model was run, or loaded with its weights")

    monkeypatch.setattr(torch.nn.Module, "__call__", refuse)
    monkeypatch.setattr("keeprate.backbones.loading.load.load_model", refuse)
    assert read(ON_PHOTOS + "methods: [tome, zero-tprune]").requests


def test_whether_the_hub_has_weights_is_asked_only_when_told_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("keeprate.backbones.loading.timm.hub_problem", lambda: "no network")
    monkeypatch.setattr("keeprate.backbones.loading.timm._cached", lambda config: None)
    text = ON_PHOTOS + "methods: tome"
    assert read(text).requests
    with pytest.raises(StudyProblems) as caught:
        read_study("s.yaml", ask_hub=True)
    assert str(caught.value) == (
        f"s.yaml:1: models: Cannot get the pretrained weights of '{TINY}': no network. "
        "Give local weights: weights: FILE.safetensors."
    )
    weights()
    assert read_study("s.yaml", ["models.0.weights=w.safetensors"], ask_hub=True).requests


@pytest.mark.system
def test_reading_a_study_needs_no_lightning() -> None:
    Path("s.yaml").write_text(ON_PHOTOS + "methods: tome")
    code = (
        "import sys; from keeprate.study import read_study; read_study('s.yaml'); "
        "print('lightning' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
