"""The studies that ship are sound, and expand to the runs they promise."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner

from keeprate.cli import keeprate
from keeprate.errors import KeeprateError
from keeprate.plugins import registry as plugins
from keeprate.plugins.kinds import check_study
from keeprate.plugins.registry import Registry, load
from keeprate.study import StudyProblems, read_study
from keeprate.study.yaml_lines import description_in
from keeprate_datasets.corruptions import Kind

RUNS = {
    "convergence": 12,
    "deit-s-comparison": 45,
    "paper-emphasis": 12,
    "paper-feature": 8,
    "paper-heads": 9,
    "paper-iterations": 6,
    "paper-partition": 7,
    "paper-similarity": 8,
    "paper-stage-pattern": 7,
    "robustness": len(plugins.registry().methods) - 1,  # all methods but full
    "text-reduction": 95,
    "zero-tprune-ablations": 111,
}
TEXTS = "text-reduction"
IMAGES = sorted(set(RUNS) - {TEXTS})
ON_ONE_DATA_SET = set(IMAGES) - {"robustness"}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos" / "n01440764").mkdir(parents=True)
    return tmp_path / "photos"


@pytest.fixture
def texts(tmp_path: Path) -> list[str]:
    """The changes that give the study of texts a model and texts."""
    pytest.importorskip("transformers")
    from huggingface_factory import review_file, text_checkpoint

    # as wide as a page rank is cheap beside its blocks
    sizes = {"hidden_size": 192, "intermediate_size": 768, "max_position_embeddings": 64}
    folder = text_checkpoint(tmp_path / "model", num_hidden_layers=6, **sizes)
    return [f"models=hf:{folder}", f"data=text-file:{review_file(tmp_path)}"]


def test_every_ready_study_is_counted_here() -> None:
    shipped = plugins.registry().studies.values()
    assert {each.name for each in shipped if each.origin.startswith("keeprate ")} == set(RUNS)


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", IMAGES)
def test_a_ready_study_is_sound_and_has_its_runs(name: str, photos: Path) -> None:
    study = read_study(name, [f"data=imagenet:{photos}"])
    assert study.name == name
    assert len(study.description) > 80
    assert [len(request.runs) for request in study.requests] == [RUNS[name]]


def test_the_study_of_texts_is_sound_with_a_model_and_texts_and_says_what_it_lacks(
    texts: list[str],
) -> None:
    study = read_study(TEXTS, texts)
    (request,) = study.requests
    assert len(request.runs) == RUNS[TEXTS]
    methods = {run.method for run in request.runs}
    # ltmp and others want weights trained for them; ats keeps as many tokens as a text asks for
    assert {"attention-score", "class-attention", "random", "tome", "zero-tprune"} < methods
    assert not {"ats", "ltmp", "fixed"} & methods
    for given, problem in (
        (texts[:1], "Data set 'text-file' needs file: --set data=text-file:FILE."),
        (texts[1:], "Data set 'text-file' ships no classifier: name a model."),
    ):
        with pytest.raises(StudyProblems) as caught:
            read_study(TEXTS, given)
        assert [each.text for each in caught.value.problems] == [problem]


@pytest.mark.slow
def test_the_study_of_texts_says_what_it_would_cost(texts: list[str]) -> None:
    changes = [word for change in [*texts, "budgets=80%"] for word in ("--set", change)]
    done = CliRunner().invoke(keeprate, ["run", TEXTS, "--dry-run", *changes])
    assert done.exit_code == 0, done.output
    assert "hf:model on text-file: 34 runs, 7 samples each" in done.output


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", sorted(ON_ONE_DATA_SET))
def test_without_its_images_a_study_says_how_to_give_them(name: str) -> None:
    with pytest.raises(StudyProblems) as caught:
        read_study(name)
    (problem,) = caught.value.problems
    assert problem.where.startswith(f"{name}.yaml:")
    assert problem.text == "Data set 'imagenet' needs root: --set data=imagenet:FOLDER."


def test_the_study_of_robustness_says_how_to_give_both_folders() -> None:
    with pytest.raises(StudyProblems) as caught:
        read_study("robustness")
    assert [problem.text for problem in caught.value.problems] == [
        "Data set 'imagenet' needs root: --set data.0=imagenet:FOLDER.",
        "Data set 'corrupted': Data set 'imagenet' needs root: write imagenet:root=....",
    ]


@pytest.mark.slow
def test_the_study_of_robustness_has_the_clean_images_and_every_kind(photos: Path) -> None:
    given = [f"{key}=imagenet:{photos}" for key in ("data.0", "data.1.parameters.data")]
    requests = read_study("robustness", given).requests
    assert [request.data.values.get("kind") for request in requests] == [None, *get_args(Kind)]
    assert {request.data.values.get("severity") for request in requests} == {None, 3}
    assert {len(request.runs) for request in requests} == {RUNS["robustness"]}
    assert {run.cost.budget for request in requests for run in request.runs} == {"65%"}


def test_another_model_takes_a_share_for_a_budget(photos: Path) -> None:
    changes = ["models=vit_tiny_patch16_224", "budgets=65%", f"data=imagenet:{photos}"]
    (request,) = read_study("paper-heads", changes).requests
    assert {run.cost.budget for run in request.runs} == {"65%"}


def test_the_comparison_has_the_published_costs(photos: Path) -> None:
    (request,) = read_study("deit-s-comparison", [f"data=imagenet:{photos}"]).requests
    budgets = {run.cost.budget for run in request.runs}
    assert budgets == {"2.5", "2.97", "3.08", "3.97", None}
    assert request.options.throughput


def with_studies(folder: Path, *files: str) -> Registry:
    """A registry with a plugin that offers these files beside it."""
    folder.mkdir()
    listed = ", ".join(f"Path(__file__).parent / {file!r}" for file in files)
    plugin = folder / "offers.py"
    plugin.write_text(
        "from pathlib import Path\nfrom keeprate import hookimpl\n\n"
        f"@hookimpl\ndef keeprate_studies():\n    return [{listed}]\n"
    )
    return load([plugin], environ={"KEEPRATE_PLUGINS": ""}, directory=folder)


@pytest.mark.parametrize("file", ["absent.yaml", "offers.py", "."])
def test_a_plugin_that_offers_no_study_file_is_broken(tmp_path: Path, file: str) -> None:
    found = with_studies(tmp_path / "plugin", file)
    assert set(found.studies) == set(RUNS)
    (broken,) = found.broken
    assert broken.cause.startswith("keeprate_studies offers '")


def test_what_is_no_path_or_has_no_plain_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeeprateError, match="keeprate_studies must return paths"):
        check_study("a.yaml")
    odd = tmp_path / "a b.yaml"
    odd.touch()
    with pytest.raises(KeeprateError, match="the name of a study must be of letters"):
        check_study(odd)


def test_two_studies_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KeeprateError, match="Two plugins offer a study named 'convergence'"):
        _ = clashing(tmp_path / "plugin").studies


def clashing(folder: Path) -> Registry:
    found = with_studies(folder, "convergence.yaml")
    (folder / "convergence.yaml").write_text("limit: 1")
    return found


@pytest.mark.parametrize("text", [b"", b"limit: [", b"\xff", b"limit: 5"])
def test_a_study_without_a_description_has_an_empty_one(tmp_path: Path, text: bytes) -> None:
    found = with_studies(tmp_path / "plugin", "mine.yaml")
    (tmp_path / "plugin" / "mine.yaml").write_bytes(text)
    assert description_in(found.study("mine").path) == ""


def test_list_shows_them_with_what_they_ask() -> None:
    done = CliRunner().invoke(keeprate, ["list", "studies"])
    assert done.exit_code == 0
    assert done.output.startswith("Studies\n  convergence  (keeprate ")
    assert "      Does the page rank converge? 1, 5, 10, 30 and 50 iterations" in done.output
    listed = CliRunner().invoke(keeprate, ["list", "plugins"])
    assert "paper-heads" in listed.output
