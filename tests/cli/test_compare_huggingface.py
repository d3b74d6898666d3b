"""`keeprate compare` on transformers' classifiers: texts at their own lengths, and images."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import torch
from click.testing import CliRunner, Result

import keeprate
from huggingface_factory import REVIEWS, image_checkpoint, photographs, review_file, text_checkpoint
from keeprate.backbones.loading.load import load_model
from keeprate.cli import keeprate as command
from keeprate.results.records import Result as Stored
from keeprate.results.store import Store

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _named_data(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that commands name are there, so that what is refused is the model."""
    monkeypatch.chdir(tmp_path_factory.mktemp("data"))
    Path("x.csv").write_text("text,label\ngood,1\n", encoding="utf-8")
    for folder in ("x", "nowhere"):
        Path(folder).mkdir()


SMALL = ("--no-throughput", "--accelerator", "cpu")


def compare(runs: Path, *arguments: str | Path) -> Result:
    given = ("compare", "--runs", runs, "--name", "run", *SMALL, *arguments)
    return CliRunner().invoke(command, [str(argument) for argument in given])


def stored(runs: Path) -> dict[str, Stored]:
    results, problems = Store(runs / "run").results()
    assert problems == []
    return {result.run.method: result for result in results}


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str, str]:
    """The options that name a model of texts and its texts."""
    folder = tmp_path_factory.mktemp("texts")
    model = text_checkpoint(folder / "model")
    return "--model", f"hf:{model}", "--data", f"text-file:{review_file(folder)}"


def test_texts_are_compared_end_to_end(
    tmp_path: Path, texts: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    methods = ("--method", "tome", "--method", "class-attention", "--method", "zero-tprune")
    done = compare(tmp_path, *texts, *methods, "--budget", "70%")
    assert done.exit_code == 0, done.output
    assert capfd.readouterr() == ("", "")  # nothing of transformers' own advice
    results = stored(tmp_path)
    assert results.keys() == {"full", "tome", "class-attention", "zero-tprune"}
    model = load_model(texts[1]).model
    full = keeprate.reduce(model, "full")
    tokens = [len(text.split()) + 2 for text in REVIEWS]  # class token and separator
    each = [full.costs((1, count)).total for count in tokens]
    for result in results.values():
        assert result.measured.macs.unpruned == round(sum(each) / len(each))
        assert result.measured.images == len(REVIEWS)
        assert result.run.backbone.image_size == (1, 24)
        assert result.run.data.transform["tokenizer"] == "BertTokenizer"
        assert result.run.data.transform["max_length"] == 24
        assert result.environment.versions.keys() >= {"transformers", "tokenizers"}
    assert results["full"].measured.macs.total == pytest.approx(sum(each) / len(each))
    rows = Store(tmp_path / "run").rows(results["full"].id)
    assert rows["macs"].to_list() == each
    assert rows["tokens"].to_list() == [[count] * 4 for count in tokens]
    assert rows["label"].to_list() == [int(label == "positive") for label in REVIEWS.values()]
    assert "hf:model on text-file, 7 texts, 32-true" in done.output
    assert "texts of up to 24 tokens" in (tmp_path / "run/table.md").read_text()


def test_logits_are_those_of_the_model_on_each_text(tmp_path: Path, texts: tuple[str, ...]) -> None:
    from transformers import AutoTokenizer

    assert compare(tmp_path, *texts, "--method", "random", "--budget", "90%").exit_code == 0
    store = Store(tmp_path / "run")
    ours = torch.from_numpy(store.read_logits(stored(tmp_path)["full"].id))
    loaded = load_model(texts[1])
    tokenizer = AutoTokenizer.from_pretrained(loaded.folder)
    with torch.inference_mode():
        batch = tokenizer(list(REVIEWS), return_tensors="pt", padding=True)
        expected = loaded.model(**batch).logits
    assert float(expected.std()) > 0.01
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


def test_rows_do_not_depend_on_batches_or_workers(tmp_path: Path, texts: tuple[str, ...]) -> None:
    def rows(name: str, *options: str) -> pl.DataFrame:
        chosen = ("--method", "random", "--schedule", "keep=0.5@1,2")
        done = compare(tmp_path / name, *texts, *chosen, *options)
        assert done.exit_code == 0, done.output
        runs = tmp_path / name
        return Store(runs / "run").rows(stored(runs)["random"].id)

    exact = pl.exclude(pl.Float64)
    first = rows("a", "--batch-size", "1")
    again = rows("b", "--batch-size", "4", "--workers", "1")
    assert first.select(exact).equals(again.select(exact))
    torch.testing.assert_close(first["kl"].to_torch(), again["kl"].to_torch())


def test_long_texts_are_cut_off_and_counted(tmp_path: Path, texts: tuple[str, ...]) -> None:
    data = f"{texts[3]},max_length=6"
    done = compare(tmp_path, *texts[:3], data, "--method", "random", "--schedule", "keep=0.5@1")
    assert done.exit_code == 0, done.output
    assert "Note: 3 of 7 texts are longer than 6 tokens and were cut off there." in done.output
    full = stored(tmp_path)["full"]
    assert full.run.backbone.image_size == (1, 6)
    rows = Store(tmp_path / "run").rows(full.id)
    assert max(tokens[0] for tokens in rows["tokens"].to_list()) == 6


def test_a_budget_that_short_texts_cannot_meet_is_noted(
    tmp_path: Path, texts: tuple[str, ...]
) -> None:
    done = compare(tmp_path, *texts, "--method", "random", "--budget", "50%")
    assert done.exit_code == 0, done.output
    measured = stored(tmp_path)["random"].measured.macs
    share = f"{measured.total / measured.unpruned:.1%}"
    assert (
        f"Note: Run 'random keep 50%' costs {share} of the unpruned model on these" in done.output
    )


def test_speed_is_measured_on_texts(tmp_path: Path, texts: tuple[str, ...]) -> None:
    chosen = ("--method", "random", "--schedule", "keep=0.5@1", "--throughput", "--batch-size", "2")
    assert compare(tmp_path, *texts, *chosen).exit_code == 0
    throughput = stored(tmp_path)["random"].measured.throughput
    assert throughput is not None
    assert throughput.images_per_second > 0


MISTAKES = {
    "images for texts": (("--data", "imagenet:nowhere"), "reads texts, and data set 'imagenet'"),
    "one cost": (("--budget", "0.1"), "Budget '0.1' is one cost for texts of all lengths"),
    "too long": (("max_length=25",), "max_length 25 is not from 2 to 24"),
    "counts": (("--schedule", "9@1"), "Schedule '9@1' keeps 9 patch tokens at block 1, where 1 to"),
    "class token alone": (("max_length=1",), "max_length 1 is not from 2 to 24"),
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_are_one_line_before_anything_is_computed(
    tmp_path: Path, texts: tuple[str, ...], arguments: tuple[str, ...], message: str
) -> None:
    given = [*texts, "--method", "random"]
    if arguments[0].startswith("--"):
        given += arguments
    else:
        given[3] += f",{arguments[0]}"
    failed = compare(tmp_path, *given)
    assert failed.exit_code == 2
    assert message in failed.stderr
    assert len(failed.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_empty_texts_stop_the_run_unless_left_out(tmp_path: Path, texts: tuple[str, ...]) -> None:
    file = tmp_path / "reviews.csv"
    file.write_text("text,label\na good film,positive\n,negative\nbad,negative\n")
    options = (*texts[:3], f"text-file:{file}", "--method", "random", "--schedule", "r=1")
    failed = compare(tmp_path, *options)
    assert failed.exit_code == 2
    assert "1 of 3 samples of 'text-file' cannot be used" in failed.stderr
    assert "line-0000003: empty text" in failed.stderr
    assert compare(tmp_path, *options, "--skip-bad").exit_code == 0
    assert stored(tmp_path)["full"].measured.images == 2


@pytest.mark.parametrize(
    ("problem", "labels", "said"),
    [
        ("multi_label_classification", 2, "is for multi label classification"),
        (None, 1, "is for regression"),
    ],
)
def test_models_without_one_right_class_are_refused(
    tmp_path: Path, problem: str | None, labels: int, said: str
) -> None:
    settings = {"num_labels": labels, "problem_type": problem}
    names = {"id2label": {i: f"l{i}" for i in range(labels)}, "label2id": {}}
    model = text_checkpoint(tmp_path / "model", **settings, **names)
    failed = compare(tmp_path / "runs", "--model", f"hf:{model}", "--data", "text-file:x.csv")
    assert failed.exit_code == 2
    assert said in failed.stderr


def test_a_text_model_without_its_tokenizer_is_refused(tmp_path: Path) -> None:
    small = text_checkpoint(tmp_path / "small", vocab_size=17)
    model = text_checkpoint(tmp_path / "model")
    failed = compare(tmp_path / "runs", "--model", f"hf:{small}", "--data", "text-file:x.csv")
    assert "The tokenizer of 'hf:small' knows 18 tokens, the model 17" in failed.stderr
    (model / "tokenizer.json").write_text("{")
    failed = compare(tmp_path / "runs", "--model", f"hf:{model}", "--data", "text-file:x.csv")
    assert "Cannot load a tokenizer from" in failed.stderr
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        (model / name).unlink()
    failed = compare(tmp_path / "runs", "--model", f"hf:{model}", "--data", "text-file:x.csv")
    assert "holds no tokenizer (none of tokenizer.json, vocab.txt)" in failed.stderr


@pytest.mark.parametrize("kind", ["ViT", "Dinov2", "Beit"])
def test_images_are_compared_end_to_end(tmp_path: Path, kind: str) -> None:
    names = {0: "cat", 1: "dog", 2: "owl"}
    model = image_checkpoint(tmp_path / "model", kind, id2label=names, label2id={})
    data = photographs(tmp_path / "photographs", ("dog", "owl"))
    chosen = ("--method", "tome", "--budget", "80%")
    options = ("--model", f"hf:{model}", "--data", f"image-folder:{data}", "--workers", "0")
    done = compare(tmp_path / "runs", *options, *chosen)
    assert done.exit_code == 0, done.output
    results = stored(tmp_path / "runs")
    rows = Store(tmp_path / "runs/run").rows(results["tome"].id)
    assert rows["label"].to_list() == [1, 1, 2, 2]
    assert results["tome"].run.data.transform["crop_mode"] == "squash"
    assert results["tome"].run.backbone.image_size == (32, 32)


def test_images_are_shown_at_the_size_the_preprocessor_says(tmp_path: Path) -> None:
    model = image_checkpoint(tmp_path / "model", "Dinov2")
    (model / "preprocessor_config.json").write_text(
        json.dumps(
            {"image_processor_type": "ViTImageProcessor", "size": {"height": 16, "width": 24}}
        )
    )
    data = photographs(tmp_path / "photographs", ("cat", "dog", "owl"))
    options = ("--model", f"hf:{model}", "--data", f"image-folder:{data}", "--workers", "0")
    done = compare(tmp_path / "runs", *options, "--method", "random", "--budget", "80%")
    assert done.exit_code == 0, done.output
    full = stored(tmp_path / "runs")["full"]
    assert full.run.backbone.image_size == (16, 24)
    assert full.measured.tokens == (7.0,) * 4
    assert full.measured.macs.unpruned == keeprate.macs(load_model(f"hf:{model}").model, (16, 24))


def test_a_size_the_model_does_not_take_is_refused(tmp_path: Path) -> None:
    model = image_checkpoint(tmp_path / "model", image_size=64)
    failed = compare(tmp_path, "--model", f"hf:{model}", "--data", "image-folder:x")
    assert failed.exit_code == 2
    assert "takes images of 64 x 64 pixels, not 32 x 32" in failed.stderr
