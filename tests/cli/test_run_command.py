"""`keeprate run`: what it prints before anything runs, and that it runs what the study says."""

from __future__ import annotations

import re
from itertools import count
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from keeprate.cli import keeprate
from keeprate.cli.opening import draw_pictures
from keeprate.evaluation import estimate as estimates
from keeprate.evaluation.comparison_runner import StudyOutcome
from keeprate.evaluation.estimate import (
    Speed,
    calibrate,
    estimate_cost,
    macs_per_image,
    without_weights,
)
from keeprate.plugins.registry import registry
from keeprate.request import Cost, DataSpec, LoopOptions, ModelSpec, Options, Request, RunSpec
from keeprate.results.store import Store
from keeprate.results.weights_origin import WeightsKind
from keeprate.study import read_study
from paths import DOCS

PAGE = (DOCS / "studies.md").read_text(encoding="utf-8")
STUDY = """
data: digits
methods: [tome, random]
budgets: [65%]
limit: 6
accelerator: cpu
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(STUDY, encoding="utf-8")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(keeprate, ["run", *arguments])


def runs_in(folder: str) -> list[tuple[str, str | None, int]]:
    results, problems = Store(Path(folder)).results()
    assert problems == []
    return sorted((r.run.method, r.run.budget, r.measured.images) for r in results)


def test_a_study_runs_and_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = registry().reports  # each report is tried by itself, and all by `keeprate report`
    monkeypatch.setattr(
        registry(), "reports", {name: offered[name] for name in ("markdown", "html")}
    )
    done = run("study.yaml")
    assert done.exit_code == 0, done.output
    assert runs_in("runs/study") == [("full", None, 6), ("random", "65%", 6), ("tome", "65%", 6)]
    assert Path("runs/study/table.md").is_file()
    assert "Drew 4 images into runs/study/pictures\n" in done.stdout
    assert 'id="opening"' in Path("runs/study/report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_pictures_can_be_left_out() -> None:
    assert run("study.yaml", "--no-pictures").exit_code == 0
    assert not Path("runs/study/pictures").exists()
    assert 'id="opening"' not in Path("runs/study/report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("out of\nmemory"), "out of memory"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_what_stops_the_pictures_is_told_in_one_line(
    error: BaseException,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def draw_opening(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("keeprate.visualization.opening_pictures.draw_opening", draw_opening)
    one = Request(ModelSpec(), DataSpec(), ())
    with click.Context(click.Command("run")):
        assert not draw_pictures([one], Path("runs"), StudyOutcome())
        assert capsys.readouterr().err == f"No pictures: {told}\n"
        assert not draw_pictures([one, one], Path("runs"), StudyOutcome())  # draws none
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_pictures_that_cannot_be_drawn_fail_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw_opening(*arguments: object) -> None:
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr("keeprate.visualization.opening_pictures.draw_opening", draw_opening)
    done = run("study.yaml")
    assert done.exit_code == 0, done.output
    assert "No pictures: out of memory\n" in done.stderr
    assert Path("runs/study/report.html").is_file()


@pytest.mark.slow
def test_the_command_line_goes_before_the_file() -> None:
    done = run(
        *("study.yaml", "--set", "limit=3", "--set", "budgets=50%", "--name", "other"),
        *("--runs", "elsewhere", "--engine", "sequential", "--force"),
    )
    assert done.exit_code == 0, done.output
    assert runs_in("elsewhere/other") == [
        ("full", None, 3),
        ("random", "50%", 3),
        ("tome", "50%", 3),
    ]


def test_the_studys_own_name_engine_and_loggers_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def running(requests: object, folder: Path, *, engine: str | None, loggers: object) -> int:
        seen.append((folder, engine, loggers))
        return 3

    monkeypatch.setattr("keeprate.cli.session.run_and_report", running)
    with Path("study.yaml").open("a", encoding="utf-8") as file:
        file.write("name: mine\nengine: sequential\nlogger: [csv, tensorboard]\n")
    assert run("study.yaml").exit_code == 3
    assert run("study.yaml", "--name", "n", "--logger", "csv").exit_code == 3
    assert seen == [
        (Path("runs/mine"), "sequential", ("csv", "tensorboard")),
        (Path("runs/n"), "sequential", ("csv",)),
    ]


@pytest.mark.parametrize("dry", [True, False])
def test_problems_end_it_before_anything_is_written(dry: bool) -> None:
    done = run("study.yaml", "--set", "budgets=[1%]", "--set", "limt=5", *["--dry-run"] * dry)
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: 3 problems in study.yaml:\n  --set limt: is no key ")
    assert done.stderr.count("\n  --set budgets: budgets.0: A budget of ") == 2
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("absent.yaml",),
            "No study file 'absent.yaml'. `keeprate list studies` shows ready ones.",
        ),
        (("paper-head",), "No study 'paper-head'. Did you mean 'paper-heads'? Or name a file: "),
        (("study.yaml", "--name", "a/b"), "--name: 'a/b' must be one plain folder name."),
        (("study.yaml", "--engine", "sequentiel"), "No engine 'sequentiel'. Did you mean "),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"Error: {message}")
    assert done.stderr.count("\n") == 1


def test_a_dry_run_shows_every_run_and_an_estimate_and_writes_nothing() -> None:
    before = set(Path().rglob("*"))
    done = run("study.yaml", "--dry-run", "--set", "cache_decoded=kept", "--set", "batch_size=2")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[:4] == [
        "study",
        "",
        "digits classifier on digits: 3 runs, 6 samples each",
        "run                GMACs per sample   of unpruned",
    ]
    assert [line.split()[0] for line in lines[4:7]] == ["full", "tome", "random"]
    assert [line.split()[-1] for line in lines[4:7]] == ["100.0%", "64.9%", "64.8%"]
    assert re.fullmatch(r"Estimate +run by run +shared passes", lines[8])
    assert lines[9].split() == ["samples", "read", "18", "6"]
    assert lines[12].startswith("The time is an estimate, from a few batches of the unpruned model")
    assert set(Path().rglob("*")) == before


def test_a_run_is_named_by_its_changes_as_they_are_typed() -> None:
    changed = {"iterations": (1,), "head_filter": False, "tolerance": None}
    runs = (RunSpec("zero-tprune", changed, Cost("keep=0.5@6")),)
    *_, job = without_weights(Request(ModelSpec(), DataSpec(), runs, Options())).jobs
    assert job.label == "zero-tprune iterations=1 head_filter=false keep=0.5@6"


def request(**options: object) -> Request:
    runs = tuple(RunSpec("random", {"seed": s}, Cost("keep=0.5@6")) for s in range(3))
    loop = LoopOptions(2, accelerator="cpu", workers=int(str(options.pop("workers", 0))))
    return Request(ModelSpec(), DataSpec("digits"), runs, Options(loop, limit=10, **options))  # type: ignore[arg-type]


def test_an_estimate_counts_what_is_shared_once() -> None:
    comparison = without_weights(request())
    one_second = float(macs_per_image(comparison, [comparison.unpruned.model]))
    found = estimate_cost(comparison, Speed(one_second, 0.5, "cpu"))
    apart = sum(macs_per_image(comparison, [job.model]) for job in comparison.jobs)
    together = macs_per_image(comparison, [job.model for job in comparison.jobs])
    assert (found.apart.images, found.shared.images) == (40, 10)
    assert (found.apart.macs, found.shared.macs) == (10 * apart, 10 * together)
    assert found.apart.seconds == pytest.approx(10 * apart / one_second + 40 * 0.5)
    assert found.shared.seconds == pytest.approx(10 * together / one_second + 10 * 0.5)
    assert together < 0.7 * apart


def test_more_passes_share_less_and_workers_read_meanwhile() -> None:
    speed = Speed(1e9, 1.0, "cpu")
    found = estimate_cost(without_weights(request(runs_per_pass=2, workers=2)), speed)
    assert found.shared.images == 20
    assert found.shared.seconds == pytest.approx(20 * 1.0 / 2)
    assert found.apart.seconds == pytest.approx(40 * 1.0 / 2)


def test_a_calibration_reads_a_few_samples_and_times_a_few_batches() -> None:
    comparison = without_weights(request())
    ticks = count(0.0, 5.0)
    speed = calibrate(comparison, clock=lambda: next(ticks))
    assert speed.seconds_per_image == 0.5  # ten samples in five seconds
    assert speed.macs_per_second > 0
    assert speed.device.startswith("cpu")


def test_a_sketch_downloads_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "n01440764").mkdir()
    Image.new("RGB", (300, 260)).save(tmp_path / "n01440764" / "a.JPEG")
    seen = {}
    load = estimates.load_model

    def watched(name: str, **options: object) -> object:
        seen.update(options)
        return load(name, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(estimates, "load_model", watched)
    data = DataSpec("imagenet", {"root": str(tmp_path)})
    model = ModelSpec("vit_tiny_patch16_224", image_size=(160, 160))
    comparison = without_weights(Request(model, data, (), Options(), only_fitting=True))
    assert seen == {"pretrained": False, "image_size": (160, 160)}
    assert comparison.loaded.weights.kind is WeightsKind.RANDOM
    assert len(comparison.samples) == 1


@pytest.mark.slow
def test_the_example_of_the_page_runs() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    Path("page.yaml").write_text(example, encoding="utf-8")
    (asked,) = read_study("page.yaml").requests
    # 2 of tome, 4 and 2 of zero-tprune (the first zipped one is a default), 2 seeds: two budgets
    assert len(asked.runs) == 2 * 2 + (4 * 2 - 1) + 1 * 2 + 2 * 2
    done = run("page.yaml", "--set", "limit=2", "--set", "accelerator=cpu")
    assert done.exit_code == 0, done.output
    assert len(runs_in("runs/page")) == len(asked.runs) + 1


def test_the_page_names_every_key() -> None:
    from keeprate.study.schema import Exclusion, MethodEntry, ModelEntry, StudySpec

    for model in (StudySpec, Exclusion, MethodEntry, ModelEntry):
        for key in model.keys():  # noqa: SIM118  a class, not a mapping
            assert re.search(rf"`{key}`|\b{key}\b[,}}]", PAGE), key
