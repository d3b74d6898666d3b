"""Every image is counted once and judged the same, however the loop is run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
import timm
import torch
from torch import Tensor, nn

import keeprate
from keeprate import DataSet, KeeprateError, Sample
from keeprate.data.samples import ImageSamples
from keeprate.evaluation.passes import evaluate
from keeprate.evaluation.rows import RunRows
from keeprate.request import LoopOptions
from paths import SUPPORT, TESTS

IMAGES = 23


class Noise(DataSet):
    """Random pictures."""

    name = "noise"

    def samples(self) -> Sequence[Sample]:
        return [Sample(f"image-{i}", i % 4) for i in range(2 * IMAGES)]

    def image(self, index: int) -> Tensor:
        generator = torch.Generator().manual_seed(index)
        return torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8, generator=generator)

    def bind(self, num_classes: int, label_names: Sequence[str] | None) -> None:
        pass


def scaled(image: Tensor) -> Tensor:
    return image.float() / 127.5 - 1


def tiny_vit() -> nn.Module:
    torch.manual_seed(0)
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 4, "num_heads": 3}
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=7, **sizes).eval()
    for parameter in vit.parameters():
        nn.init.normal_(parameter, std=0.3)
    return vit


def outcome(method: str = "random", reference: Tensor | None = None, **options: object) -> RunRows:
    model = keeprate.reduce(tiny_vit(), method, "keep=0.6@1,2")
    samples = ImageSamples(Noise(), scaled, range(0, 2 * IMAGES, 2))
    options = {"accelerator": "cpu", **options}
    return evaluate(model, samples, reference, LoopOptions(**options))


@pytest.fixture(scope="module")
def alone() -> RunRows:
    """One image at a time."""
    return outcome(batch_size=1)


@pytest.mark.parametrize("options", [{"batch_size": 5}, {"batch_size": 64, "workers": 2}], ids=str)
def test_rows_do_not_depend_on_batch_size_or_workers(
    alone: RunRows, options: dict[str, object]
) -> None:
    other = outcome(**options)
    exact, exact_metrics = pl.exclude("confidence", "kl", "nll"), ("top1", "top5", "class-top1")
    assert other.rows.select(exact).equals(alone.rows.select(exact))
    torch.testing.assert_close(other.logits, alone.logits, rtol=1e-4, atol=1e-4)  # float32
    assert other.rows["sample"].to_list() == [f"image-{i}" for i in range(0, 2 * IMAGES, 2)]
    assert [other.metrics[name] for name in exact_metrics] == [
        alone.metrics[name] for name in exact_metrics
    ]


def test_the_same_run_gives_the_same_rows_bit_for_bit() -> None:
    first, second = outcome(batch_size=6), outcome(batch_size=6)
    assert first.rows.equals(second.rows)


def test_means_are_those_of_the_rows(alone: RunRows) -> None:
    reference = alone.logits.flip(0)
    run = outcome("tome", reference, batch_size=4)
    assert run.images == run.rows.height == IMAGES
    assert run.metrics["top1"] == pytest.approx(run.rows["correct"].mean())
    assert run.metrics["top5"] == pytest.approx(run.rows["correct_top5"].mean())
    assert run.metrics["agreement"] == pytest.approx(run.rows["agrees"].mean())
    assert run.metrics["kl"] == pytest.approx(run.rows["kl"].mean())
    assert run.metrics["kl"] > 0
    assert run.metrics["agreement"] < 1


def test_rows_tell_tokens_and_cost_of_every_image(alone: RunRows) -> None:
    model = keeprate.reduce(tiny_vit(), "random", "keep=0.6@1,2")
    assert alone.rows["tokens"].to_list() == [[17, 10, 6, 6]] * IMAGES
    assert alone.rows["macs"].to_list() == [model.costs().total] * IMAGES


def test_the_unpruned_model_agrees_with_itself() -> None:
    plain = keeprate.reduce(tiny_vit(), "full")
    run = evaluate(
        plain, ImageSamples(Noise(), scaled, range(9)), None, LoopOptions(accelerator="cpu")
    )
    assert (run.metrics["agreement"], run.metrics["kl"]) == (1, 0)
    with torch.inference_mode():
        images = torch.stack([scaled(Noise().image(i)) for i in range(9)])
        assert torch.equal(run.logits, tiny_vit()(images))


@pytest.mark.parametrize("precision", ["bf16-true", "bf16-mixed", "64-true"])
def test_other_precisions_run_and_stay_close(alone: RunRows, precision: str) -> None:
    run = outcome(batch_size=8, precision=precision)
    # what later runs are compared with is as exact as what runs of the same pass are
    assert run.logits.dtype is (torch.float64 if precision == "64-true" else torch.float32)
    assert float((run.logits - alone.logits).abs().max()) < 0.2 * float(alone.logits.abs().max())


def test_logits_that_are_not_finite_stop_the_run_and_name_the_method() -> None:
    vit = tiny_vit()
    with torch.no_grad():
        vit.head.bias[0] = torch.nan
    model = keeprate.reduce(vit, "random", "r=1")
    samples = ImageSamples(Noise(), scaled, range(4))
    with pytest.raises(KeeprateError, match=r"Method 'random' gave logits that are not finite"):
        evaluate(model, samples, None, LoopOptions(accelerator="cpu"))


class Spoilt(Noise):
    """Pictures of floating-point numbers, one of which is not finite."""

    value = torch.nan

    def image(self, index: int) -> Tensor:
        picture = super().image(index).float()
        return picture.fill_(self.value) if index == 2 else picture


@pytest.mark.sample(1)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_is_not_finite_is_named(
    value: float, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Spoilt, "value", value)
    model = keeprate.reduce(tiny_vit(), "tome", "r=1")
    samples = ImageSamples(Spoilt(), scaled, range(4))
    with pytest.raises(KeeprateError, match=r"The image of sample 'image-2' has values that are "):
        evaluate(model, samples, None, LoopOptions(accelerator="cpu", workers=workers))


DISTRIBUTED = """
import sys
sys.path[:0] = {folders!r}
from test_evaluation import outcome
from keeprate.evaluation.distributed import is_first_process
run = outcome(batch_size=4, devices=2)
assert run.rows.height == run.images == {images}
if is_first_process():
    run.rows.write_parquet({target!r})
"""


@pytest.mark.system
def test_two_processes_share_the_images_without_repeating_any(
    tmp_path: Path, alone: RunRows
) -> None:
    target = tmp_path / "rows.parquet"
    script = tmp_path / "distributed.py"
    script.write_text(
        DISTRIBUTED.format(
            folders=[str(SUPPORT), str(TESTS / "evaluation")], target=str(target), images=IMAGES
        )
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, str(script)], check=True, env=environment, timeout=240)
    exact = pl.exclude("confidence", "kl", "nll")
    assert pl.read_parquet(target).select(exact).equals(alone.rows.select(exact))
