"""The command line, Python and study files are three ways to write one specification."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import timm
from click.testing import CliRunner
from safetensors.torch import save_file

import keeprate
from keeprate import KeeprateError, api
from keeprate.cli import keeprate as command
from keeprate.cli.commands import compare as compare_module
from keeprate.plugins.registry import registry
from keeprate.request import Cost, DataSpec, ModelSpec, RunSpec
from keeprate.study import Study, StudyProblems, StudySpec, read_study
from keeprate.study.build import build_run, prepare
from keeprate_methods.random_drop import RandomDrop

NOT_IN_COMPARE = {"description", "exclude"}
"""Keys of study files alone: they are about a grid, and about the file."""
RENAMED = {"models": "model"}


@dataclass(frozen=True)
class Asked:
    """The same study as options, as arguments and as YAML; `said` is the mistake in it."""

    options: str
    arguments: dict[str, Any] = field(default_factory=dict)
    text: str = "limit:"
    said: str = ""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_file(timm.create_model("test_vit", img_size=64, num_classes=10).state_dict(), path)
    return path


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos" / "n01440764").mkdir(parents=True)
    Path("w.safetensors").symlink_to(weights)


def typed(line: str, monkeypatch: pytest.MonkeyPatch) -> Study:
    """What `keeprate compare` asks for; nothing is run."""
    found: list[Study] = []
    mistakes: list[KeeprateError] = []
    plain = compare_module.specified

    def noting(*arguments: Any, **options: Any) -> Study:
        try:
            found.append(plain(*arguments, **options))
        except KeeprateError as error:
            mistakes.append(error)
            raise
        return found[0]

    with monkeypatch.context() as patch:
        patch.setattr(compare_module, "specified", noting)
        patch.setattr("keeprate.cli.session.run_and_report", lambda *_, **__: 0)
        done = CliRunner().invoke(command, ["compare", *shlex.split(line)])
    if mistakes:
        assert done.stderr == f"Error: {mistakes[0]}\n"
        raise mistakes[0]
    assert done.exit_code == 0, done.output
    return found[0]


def called(monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> Study:
    """What `keeprate.compare` asks for; nothing is run."""
    with monkeypatch.context() as patch:
        patch.setattr(api, "_execute", lambda study, location, shown: study)
        patch.setattr(api, "_table", lambda location, study: study)
        study = keeprate.compare(**arguments)
    assert isinstance(study, Study)
    return study


def written(text: str) -> Study:
    """What a study file asks for, whose weights must be at hand as those of the others must."""
    Path("s.yaml").write_text(text, encoding="utf-8")
    return read_study("s.yaml", ask_hub=True)


def three(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> list[Study]:
    return [
        typed(asked.options, monkeypatch),
        called(monkeypatch, **asked.arguments),
        written(asked.text),
    ]


def ids(study: Study) -> list[str]:
    return [job.id for request in study.requests for job in prepare(request).jobs]


SAME = {
    "several seeds and devices": Asked(
        "--method random --method tome --schedule r=4 --seed 1 --seed 2 --devices 2",
        {"methods": ["random", "tome"], "schedules": "r=4", "seeds": [1, 2], "devices": 2},
        "methods: [random, tome]\nschedules: r=4\nseeds: [1, 2]\ndevices: 2",
    ),
    "nothing": Asked(""),
    "all devices": Asked("--devices auto", {"devices": "auto"}, "devices: auto"),
    "seeds that methods name": Asked(
        "--method random:7 --method random:seed=8 --method random --budget 50% --seed 3",
        {"methods": ["random:7", "random:seed=8", "random"], "budgets": "50%", "seeds": 3},
        "methods: ['random:7', 'random:seed=8', random]\nbudgets: 50%\nseeds: 3",
    ),
    "two models and the weights of each": Asked(
        "--model test_vit --model test_vit.r160_in1k --weights w.safetensors "
        "--weights w.safetensors --image-size 64 --data digits --method tome --budget 80%",
        {
            "model": ["test_vit", "test_vit.r160_in1k"],
            "weights": ["w.safetensors", Path("w.safetensors")],
            "image_size": 64,
            "data": "digits",
            "methods": "tome",
            "budgets": "80%",
        },
        "models:\n- {name: test_vit, weights: w.safetensors, image_size: 64}\n"
        "- {name: test_vit.r160_in1k, weights: w.safetensors, image_size: 64}\n"
        "data: digits\nmethods: tome\nbudgets: 80%",
    ),
    "a model, its weights and size": Asked(
        "--model test_vit --weights w.safetensors --image-size 64 --data digits --method tome "
        "--budget 80% --budget 0.004",
        {
            "model": "test_vit",
            "weights": Path("w.safetensors"),
            "image_size": (64, 64),
            "data": "digits",
            "methods": "tome",
            "budgets": ("80%", 0.004),
        },
        "models: {name: test_vit, weights: w.safetensors, image_size: 64}\ndata: digits\n"
        "methods: tome\nbudgets: [80%, 0.004]",
    ),
    "how images are prepared": Asked(
        "--model test_vit --weights w.safetensors --image-size 64 --data digits --method tome "
        "--schedule r=1 --mean 0,0.4,.3 --std 0.25 --interpolation bilinear --crop-pct 0.95",
        {
            "model": "test_vit",
            "weights": "w.safetensors",
            "image_size": 64,
            "data": "digits",
            "methods": "tome",
            "schedules": "r=1",
            "mean": (0, 0.4, 0.3),
            "std": 0.25,
            "interpolation": "bilinear",
            "crop_pct": 0.95,
        },
        "models: {name: test_vit, weights: w.safetensors, image_size: 64, mean: [0, 0.4, 0.3], "
        "std: 0.25, interpolation: bilinear, crop_pct: 0.95}\ndata: digits\nmethods: tome\n"
        "schedules: r=1",
    ),
    "images to solve budgets on": Asked(
        "--data digits --method ltmp --budget 40% --calibration cluttered-digits:difficulty=1 "
        "--calibration-images 5 --calibration-seed 2",
        {
            "data": "digits",
            "methods": "ltmp",
            "budgets": "40%",
            "calibration": "cluttered-digits:difficulty=1",
            "calibration_images": 5,
            "calibration_seed": 2,
        },
        "data: digits\nmethods: ltmp\nbudgets: 40%\ncalibration: {name: cluttered-digits, "
        "parameters: {difficulty: 1}}\ncalibration_images: 5\ncalibration_seed: 2",
    ),
    "how it runs": Asked(
        "--name mine --limit 5 --part 0..0.9 --skip-bad --empty-last-mlp --throughput "
        "--precision bf16-mixed --batch-size 3 --workers 2 --accelerator cpu "
        "--cache-decoded kept --engine sequential --logger csv "
        "--checkpoint-seconds 5.5 --checkpoint-batches 7 --runs-per-pass 9",
        {
            "name": "mine",
            "limit": 5,
            "part": (0, 0.9),
            "skip_bad": True,
            "empty_last_mlp": True,
            "throughput": True,
            "precision": "bf16-mixed",
            "batch_size": 3,
            "workers": 2,
            "accelerator": "cpu",
            "cache_decoded": "kept",
            "engine": "sequential",
            "logger": "csv",
            "checkpoint_seconds": 5.5,
            "checkpoint_batches": 7,
            "runs_per_pass": 9,
        },
        "name: mine\nlimit: 5\npart: [0, 0.9]\nskip_bad: true\nempty_last_mlp: true\n"
        "throughput: true\nprecision: bf16-mixed\nbatch_size: 3\nworkers: 2\naccelerator: cpu\n"
        "cache_decoded: kept\nengine: sequential\nlogger: csv\n"
        "checkpoint_seconds: 5.5\ncheckpoint_batches: 7\nruns_per_pass: 9",
    ),
}


@pytest.mark.sample(1)
@pytest.mark.parametrize("what", SAME)
def test_one_study_is_one_specification_with_the_same_requests_and_run_ids(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, *others = three(SAME[what], monkeypatch)
    expected = ids(one)
    assert len(expected) > 1
    for other in others:
        assert other.spec == one.spec
        assert other.requests == one.requests
        assert ids(other) == expected


def test_what_is_not_said_is_what_the_specification_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for study in three(SAME["nothing"], monkeypatch):
        assert study.spec == StudySpec()


def test_every_key_is_an_option_and_an_argument() -> None:
    """A new key needs both, or a word above."""
    from inspect import signature

    keys = {RENAMED.get(key, key) for key in StudySpec.keys()} - NOT_IN_COMPARE  # noqa: SIM118
    assert keys <= {option.name for option in compare_module.compare.params}
    assert keys <= {*signature(keeprate.compare).parameters}


def test_several_seeds_and_devices_are_for_all_three(monkeypatch: pytest.MonkeyPatch) -> None:
    for study in three(SAME["several seeds and devices"], monkeypatch):
        (request,) = study.requests
        assert request.options.loop.devices == 2
        assert [(run.method, dict(run.values)) for run in request.runs] == [
            ("random", {"seed": 1}),
            ("random", {"seed": 2}),
            ("tome", {}),
        ]


def test_a_seed_that_a_method_names_is_its_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for study in three(SAME["seeds that methods name"], monkeypatch):
        (request,) = study.requests
        assert [int(str(run.values["seed"])) for run in request.runs] == [7, 8, 3]


@pytest.mark.parametrize("values", [{"": "2"}, {"seed": "2"}, {"seed": 2}])
def test_the_seed_of_a_run_is_given_once_however_it_is_written(values: dict[str, Any]) -> None:
    method = build_run(RunSpec("random", values, Cost("r=4")), seed=5).method
    assert isinstance(method, RandomDrop)
    assert method.seed == 2
    unnamed = build_run(RunSpec("random", {}, Cost("r=4")), seed=5).method
    assert isinstance(unnamed, RandomDrop)
    assert unnamed.seed == 5


def test_objects_stand_where_names_do(monkeypatch: pytest.MonkeyPatch) -> None:
    data = registry().dataset("digits")()
    model = data.classifier()
    study = called(
        monkeypatch,
        model=model,
        data=data,
        methods=[RandomDrop, RandomDrop(seed=7), "random:8"],
        budgets="50%",
        seeds=[1, 2],
    )
    named = written(
        "data: digits\nmethods: [random, 'random:7', 'random:8']\nbudgets: 50%\nseeds: [1, 2]"
    )
    (request,), (named_request,) = study.requests, named.requests
    assert request.model.built is not None
    assert (request.data.built, request.data.name) == (data, "digits")
    assert not request.is_by_name
    assert [run.given is None for run in request.runs] == [True, True, False, True]
    assert (named_request.model, named_request.data) == (ModelSpec(), DataSpec("digits"))
    assert ids(study) == ids(named)


def test_in_python_an_entry_may_have_axes_as_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"name": "tome", "parameters": {"proportional_attention": [True, False]}}
    study = called(monkeypatch, methods=[entry, RandomDrop], budgets="50%")
    file = written(
        "methods: [{name: tome, parameters: {proportional_attention: [true, false]}}, random]\n"
        "budgets: 50%"
    )
    assert study.requests == file.requests


@keeprate.as_method
def scaled(tokens, attention, stage, power: float):  # type: ignore[no-untyped-def]
    return tokens.size**power


def test_a_method_at_hand_keeps_its_values(monkeypatch: pytest.MonkeyPatch) -> None:
    squared = scaled(power=2.0)
    study = called(monkeypatch, methods=squared, schedules="r=4", seeds=[1, 2])
    assert study.requests[0].runs == (RunSpec("scaled", {}, Cost("r=4"), squared),)
    for entry, said in (
        (scaled, "Method 'scaled' needs power: write scaled:power=...."),
        (
            {"name": squared, "parameters": {"power": 3.0}},
            "parameters go with a method's name or class, not a Method.",
        ),
    ):
        with pytest.raises(StudyProblems) as caught:
            called(monkeypatch, methods=entry)
        assert [problem.text for problem in caught.value.problems] == [said]


WRONG = {
    "method": Asked(
        "--method tom", {"methods": "tom"}, "methods: tom", "No method 'tom'. Did you mean 'tome'?"
    ),
    "parameter": Asked(
        "--method tome:x=1",
        {"methods": "tome:x=1"},
        "methods: tome:x=1",
        "No parameter 'x' in method 'tome'. Known: proportional_attention.",
    ),
    "value": Asked(
        "--method zero-tprune:tolerance=-1",
        {"methods": ["zero-tprune:tolerance=-1"]},
        "methods: zero-tprune:tolerance=-1",
        "Method 'zero-tprune': tolerance must be over 0",
    ),
    "seed twice": Asked(
        "--method random:2,seed=3",
        {"methods": "random:2,seed=3"},
        "methods: random:2,seed=3",
        "Method 'random': seed is given twice. Leave one out.",
    ),
    "seed": Asked("--seed x", {"seeds": "x"}, "seeds: x", "must be a whole number, not 'x'."),
    "part": Asked(
        "--part 0.5",
        {"part": 0.5},
        "part: 0.5",
        "must be the start and the end of a part from 0 to 1, as 0.5..1.",
    ),
    "budget": Asked(
        "--budget lots",
        {"budgets": "lots"},
        "budgets: lots",
        "'lots' is not a budget. Write GMACs (0.8), 800M, or a share of the unpruned model (65%).",
    ),
    "budget out of reach": Asked(
        "--data digits --method tome --budget 1%",
        {"data": "digits", "methods": "tome", "budgets": "1%"},
        "data: digits\nmethods: tome\nbudgets: 1%",
        "A budget of 0.450 MMACs is out of reach of method 'tome' with schedule 'r': it costs "
        "5.973 MMACs at least and 45.025 MMACs at most.",
    ),
    "schedule of another": Asked(
        "--method tome --schedule paper-deit-s",
        {"methods": "tome", "schedules": "paper-deit-s"},
        "methods: tome\nschedules: paper-deit-s",
        "'paper-deit-s' is a preset of zero-tprune, not of tome. Give it to that method alone.",
    ),
    "model": Asked(
        "--model vit_tinny_patch16_224",
        {"model": "vit_tinny_patch16_224"},
        "models: vit_tinny_patch16_224",
        "No model 'vit_tinny_patch16_224'. Did you mean 'vit_tiny_patch16_224'?",
    ),
    "weights of nothing": Asked(
        "--weights w.safetensors",
        {"weights": "w.safetensors"},
        "models: {weights: w.safetensors}",
        "weights goes with a model's name.",
    ),
    "weights that are not there": Asked(
        "--model test_vit --weights x.pth",
        {"model": "test_vit", "weights": "x.pth"},
        "models: {name: test_vit, weights: x.pth}",
        "No weights file 'x.pth'.",
    ),
    "size": Asked(
        "--model test_vit --image-size 3x",
        {"model": "test_vit", "image_size": "3x"},
        "models: {name: test_vit, image_size: 3x}",
        "must be pixels, as 384, or HEIGHTxWIDTH, as 384x288.",
    ),
    "mean": Asked(
        "--model test_vit --mean 0.5,0.5",
        {"model": "test_vit", "mean": "0.5,0.5"},
        "models: {name: test_vit, mean: '0.5,0.5'}",
        "must be three numbers from 0 to 1, one for each channel, as 0.5,0.5,0.5.",
    ),
    "mean for pixels to 255": Asked(
        "--model test_vit --mean 123.675,116.28,103.53",
        {"model": "test_vit", "mean": (123.675, 116.28, 103.53)},
        "models: {name: test_vit, mean: [123.675, 116.28, 103.53]}",
        "must be three numbers from 0 to 1, one for each channel, as 0.5,0.5,0.5.",
    ),
    "standard deviation": Asked(
        "--model test_vit --std 0.5,0,0.5",
        {"model": "test_vit", "std": [0.5, 0, 0.5]},
        "models: {name: test_vit, std: [0.5, 0, 0.5]}",
        "must be over 0.",
    ),
    "interpolation": Asked(
        "--model test_vit --interpolation bicubical",
        {"model": "test_vit", "interpolation": "bicubical"},
        "models: {name: test_vit, interpolation: bicubical}",
        "No interpolation 'bicubical'. Did you mean 'bicubic'?",
    ),
    "share that is cut out": Asked(
        "--model test_vit --crop-pct 90",
        {"model": "test_vit", "crop_pct": 90},
        "models: {name: test_vit, crop_pct: 90}",
        "must be less than or equal to 1, not 90.",
    ),
    "preparation of nothing": Asked(
        "--std 0.5 --crop-pct 0.9",
        {"std": 0.5, "crop_pct": 0.9},
        "models: {std: 0.5, crop_pct: 0.9}",
        "std and crop_pct go with a model's name.",
    ),
    "data": Asked(
        "--data digit",
        {"data": "digit"},
        "data: digit",
        "No data set 'digit'. Did you mean 'digits'?",
    ),
    "no classifier": Asked(
        "--data imagenet:photos",
        {"data": "imagenet:photos"},
        "data: imagenet:photos",
        "Data set 'imagenet' ships no classifier: name a model.",
    ),
    "folder": Asked(
        "--data imagenet:x",
        {"data": "imagenet:x"},
        "data: imagenet:x",
        "There is no 'x'. Relative paths begin at the working directory.",
    ),
    "limit": Asked(
        "--limit 0", {"limit": 0}, "limit: 0", "must be greater than or equal to 1, not 0."
    ),
    "batch size": Asked(
        "--batch-size 0.5",
        {"batch_size": 0.5},
        "batch_size: 0.5",
        "must be a whole number, not 0.5.",
    ),
    "precision": Asked(
        "--precision bf16",
        {"precision": "bf16"},
        "precision: bf16",
        "No precision 'bf16'. Did you mean 'bf16-true'?",
    ),
    "accelerator": Asked(
        "--accelerator cuba",
        {"accelerator": "cuba"},
        "accelerator: cuba",
        "No accelerator 'cuba'. Did you mean 'cuda'?",
    ),
    "devices": Asked(
        "--devices 0",
        {"devices": 0},
        "devices: 0",
        "must be a number of devices from 1, or auto.",
    ),
    "engine": Asked(
        "--engine sequentiel",
        {"engine": "sequentiel"},
        "engine: sequentiel",
        "No engine 'sequentiel'. Did you mean 'sequential'?",
    ),
    "name": Asked(
        "--name ../up",
        {"name": "../up"},
        "name: ../up",
        "'../up' must be one plain folder name.",
    ),
}


def test_weights_for_one_of_two_models_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    says = "1 for 2 models: give each model its own, in the same order, or none."
    for given in (
        lambda: typed("--model test_vit --model test_vit2 --weights w.safetensors", monkeypatch),
        lambda: called(monkeypatch, model=["test_vit", "test_vit2"], weights="w.safetensors"),
    ):
        with pytest.raises(KeeprateError, match=says):
            given()


@pytest.mark.sample(6)
@pytest.mark.parametrize("what", WRONG)
def test_one_mistake_is_one_sentence_wherever_it_is_made(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in mistakes(WRONG[what], monkeypatch):
        assert [problem.text for problem in error.problems] == [WRONG[what].said]


def mistakes(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> list[StudyProblems]:
    errors = []
    for ask in (
        lambda: typed(asked.options, monkeypatch),
        lambda: called(monkeypatch, **asked.arguments),
        lambda: written(asked.text),
    ):
        with pytest.raises(StudyProblems) as caught:
            ask()
        errors.append(caught.value)
    return errors


def told(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return [str(error) for error in mistakes(asked, monkeypatch)]


def test_each_spells_where_the_mistake_is_and_what_to_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = Asked("--budget 65% --budget x", {"budgets": ["65%", "x"]}, "budgets: [65%, x]")
    assert [line.split(": ")[0] for line in told(asked, monkeypatch)] == [
        "--budget",
        "budgets[1]",
        "s.yaml:1",
    ]
    needs = "Data set 'imagenet' needs root:"
    assert told(Asked("--data imagenet", {"data": "imagenet"}, "data: imagenet"), monkeypatch) == [
        f"--data: {needs} --data imagenet:FOLDER.",
        f'data: {needs} data="imagenet:FOLDER".',
        f"s.yaml:1: data: {needs} --set data=imagenet:FOLDER.",
    ]
    lvvit = {"model": "lvvit_t", "data": "imagenet:photos"}
    asked = Asked(
        "--model lvvit_t --data imagenet:photos", lvvit, "models: lvvit_t\ndata: imagenet:photos"
    )
    says = "timm publishes no weights for 'lvvit_t'. Give local weights:"
    assert told(asked, monkeypatch) == [
        f"--model: {says} --weights FILE.safetensors.",
        f"model: {says} weights=FILE.safetensors.",
        f"s.yaml:1: models: {says} weights: FILE.safetensors.",
    ]


def test_several_mistakes_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(
        "--method tom --limit 0",
        {"methods": "tom", "limit": 0},
        "methods: tom\nlimit: 0",
    )
    for lines in (said.splitlines() for said in told(asked, monkeypatch)):
        assert lines[0].startswith("2 problems in ")
        assert sorted(line.rsplit(": ", 1)[1] for line in lines[1:]) == [
            "No method 'tom'. Did you mean 'tome'?",
            "must be greater than or equal to 1, not 0.",
        ]


@pytest.mark.sample(1)
@pytest.mark.parametrize("mistake", ["--method tom", "--budget lots", "--limit 0"])
def test_a_mistake_on_the_command_line_is_told_before_torch_is_imported(mistake: str) -> None:
    code = (
        "import sys, keeprate.__main__\n"
        f"sys.argv = ['keeprate', 'compare', *{mistake.split()!r}]\n"
        "try: keeprate.__main__.main()\n"
        "finally: print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "False\n")
    assert done.stderr.startswith(f"Error: {mistake.split()[0]}: ")


@pytest.mark.parametrize("path", ["a=b", "a,b=c"])
def test_a_path_that_looks_like_parameters_is_told_to_go_in_quotes(path: str) -> None:
    done = CliRunner().invoke(command, ["compare", "--data", f"image-folder:{path}"])
    assert done.exit_code == 2
    assert "A path with = goes in quotes: 'image-folder:\"PATH\"'." in done.output
