"""transformers' text classifiers: every text runs at its own length, whatever its batch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import keeprate
from battery import Battery, randomised
from keeprate import KeeprateError, Needs, Place
from keeprate.backbones.huggingface.text import HFBert, HFDistilBert
from keeprate.backbones.lookup import adapt
from keeprate.reduction import proof
from keeprate.testing.backbones.proof import examine

pytestmark = pytest.mark.sample(2)

transformers: Any = pytest.importorskip("transformers")

FAMILIES = {
    name: build for family in (HFBert, HFDistilBert) for name, build in family.examples().items()
}
LENGTHS = (7, 20, 7, 31, 12)
METHODS = (("tome", "r=2"), ("zero-tprune", "keep=0.7@1,2"), ("random", "keep=0.5@1"))


@pytest.fixture(params=FAMILIES, ids=str, scope="module")
def model(request: pytest.FixtureRequest) -> nn.Module:
    return randomised(FAMILIES[request.param]())


def padded(model: nn.Module, lengths: tuple[int, ...] = LENGTHS) -> dict[str, Tensor]:
    """Random texts of two sentences each, padded on the right as a tokenizer does it."""
    generator = torch.Generator().manual_seed(1)
    shape = (len(lengths), max(lengths))
    real = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    pad = model.config.pad_token_id or 0
    ids = torch.randint(5, 99, shape, generator=generator).masked_fill(~real, pad)
    named = {"input_ids": ids, "attention_mask": real.long()}
    if model.config.to_dict().get("type_vocab_size", 0) > 1:
        named["token_type_ids"] = (torch.arange(max(lengths)) > 4).long().expand(shape) * real
    return named


def alone(inputs: dict[str, Tensor], row: int) -> dict[str, Tensor]:
    """One text of a batch, without its padding."""
    length = int(inputs["attention_mask"][row].sum())
    return {name: each[row : row + 1, :length] for name, each in inputs.items()}


class TestFamily(Battery):
    """Every model above passes the battery."""


def test_keeping_every_token_of_a_padded_batch_is_the_padded_model(model: nn.Module) -> None:
    inputs = padded(model)
    reduced = keeprate.reduce(model, proof.Probe(Place.AFTER_BLOCK, Needs.WEIGHTS), "keep=1@0,2")
    with torch.inference_mode():
        expected = model(**inputs).logits
        torch.testing.assert_close(reduced(**inputs), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(adapt(model).plain(inputs), expected, rtol=0, atol=0)


@pytest.mark.parametrize(("method", "schedule"), METHODS, ids=[name for name, _ in METHODS])
def test_a_text_gives_the_same_in_any_batch(model: nn.Module, method: str, schedule: str) -> None:
    model, inputs = copy.deepcopy(model).double(), padded(model)
    reduced = keeprate.reduce(model, method, schedule, trace=True)
    with torch.inference_mode():
        together = reduced(**inputs)
        counts, spent = reduced.token_counts, reduced.macs_per_image.total
        owners = reduced.survivors[-1].owner
        for row, length in enumerate(LENGTHS):
            text = alone(inputs, row)
            del text["attention_mask"]
            torch.testing.assert_close(reduced(text, torch.tensor([row]))[0], together[row])
            assert reduced.token_counts[0].equal(counts[row])
            assert reduced.survivors[-1].owner[0].equal(owners[row, : length - 1])
            assert int(spent[row]) == reduced.costs((1, length)).total
    assert counts.shape == (len(LENGTHS), 4)


def test_macs_of_every_text_of_a_batch_equal_the_flop_counter(model: nn.Module) -> None:
    backbone, inputs = adapt(model), padded(model)
    reduced = proof.probed(backbone, "keep=0.6@0,2", Place.AFTER_ATTENTION)
    counted = proof.counted_macs(backbone, reduced, inputs)
    assert int(reduced.macs_per_image.model.sum()) == counted
    each = [proof.counted_macs(backbone, reduced, alone(inputs, row)) for row in range(5)]
    reduced(inputs)
    assert reduced.macs_per_image.model.tolist() == each


@pytest.mark.parametrize("family", ["BERT", "RoBERTa", "DistilBERT"])
def test_a_short_text_without_padding_equals_the_masked_oracle(family: str) -> None:
    backbone = adapt(randomised(FAMILIES[family]()).double())
    for row in range(len(LENGTHS)):
        inputs = alone(padded(backbone.model), row)
        error = proof.oracle_error(
            backbone, inputs, "keep=0.5@0,2", Place.AFTER_ATTENTION, Needs.WEIGHTS
        )
        assert error < 1e-9


def test_a_budget_is_a_share_of_each_text_and_the_cheapest_where_that_is_out_of_reach() -> None:
    model = FAMILIES["BERT"]()
    reduced = keeprate.reduce(model, "random", budget="60%")
    plain = keeprate.reduce(model, "full")
    shares = {n: reduced.costs((1, n)).total / plain.costs((1, n)).total for n in (3, 20, 40)}
    assert shares[3] > 0.6
    assert 0.55 < shares[20] <= 0.6
    assert 0.595 < shares[40] <= 0.6
    assert "is out of reach" in str(reduced.plan.note((1, 3)))
    with torch.inference_mode():
        assert reduced(torch.tensor([[1, 7, 2]])).shape == (1, 7)
        assert reduced(torch.tensor([[1]])).equal(plain(torch.tensor([[1]])))
    with pytest.raises(
        KeeprateError, match=r"Budget '0\.001' is one cost for texts of all lengths"
    ):
        keeprate.reduce(model, "random", budget=0.001)


def test_empty_last_mlp_changes_no_logit(model: nn.Module) -> None:
    inputs = padded(model)
    with torch.inference_mode():
        expected = keeprate.reduce(model, "random", "keep=0.5@1")(**inputs)
        ours = keeprate.reduce(model, "random", "keep=0.5@1", empty_last_mlp=True)(**inputs)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


MASKS = {
    "left": ([0, 0, 1, 1], 'pad on the right, tokenizer.padding_side = "right"'),
    "hole": ([1, 0, 1, 1], "masks tokens between others"),
    "empty": ([0, 0, 0, 0], "masks the first token"),
    "no mask": ([1, 2, 1, 1], "must be zeros and ones"),
}


@pytest.mark.parametrize(("mask", "why"), MASKS.values(), ids=MASKS.keys())
def test_masks_other_than_of_padding_on_the_right_are_refused(mask: list[int], why: str) -> None:
    reduced = keeprate.reduce(FAMILIES["BERT"](), "random", "r=1")
    ids = torch.full((2, 4), 7)
    with pytest.raises(KeeprateError, match=why):
        reduced(input_ids=ids, attention_mask=torch.tensor([[1, 1, 1, 1], mask]))


def test_what_a_model_does_not_read_is_refused_by_name() -> None:
    ids = torch.full((2, 4), 7)
    reduced = keeprate.reduce(FAMILIES["DistilBERT"](), "random", "r=1")
    with pytest.raises(KeeprateError, match="on input_ids, attention_mask, not on token_type_ids"):
        reduced(input_ids=ids, token_type_ids=ids)
    with pytest.raises(KeeprateError, match="not on inputs without input_ids"):
        reduced(attention_mask=torch.ones(2, 4))
    with pytest.raises(KeeprateError, match="41 tokens is longer than the 40 positions"):
        reduced(torch.ones(1, 41, dtype=torch.int64))


def test_positions_of_roberta_begin_behind_its_padding() -> None:
    assert adapt(FAMILIES["RoBERTa"]()).image_size == (1, 38)
    assert adapt(FAMILIES["BERT"]()).image_size == (1, 40)


def test_eager_attention_is_read_all_the_same() -> None:
    model = randomised(FAMILIES["RoBERTa"]())
    inputs = padded(model)
    with torch.inference_mode():
        expected = keeprate.reduce(model, "tome", "r=2")(**inputs)
        model.set_attn_implementation("eager")
        reduced = keeprate.reduce(model, "tome", "r=2")
        torch.testing.assert_close(reduced(**inputs), expected, rtol=1e-4, atol=1e-5)
    assert reduced.model.config._attn_implementation == "eager"


def configured(**settings: object) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        model = FAMILIES["BERT"]()
        for name, value in settings.items():
            setattr(model.config, name, value)
        return model

    return build


REFUSED = {
    "decoder": (configured(is_decoder=True), "causal attention"),
    "causal": (configured(is_causal=True), "causal attention"),
    "cross attention": (configured(add_cross_attention=True), "cross attention"),
    "chunks": (configured(chunk_size_feed_forward=4), "feed-forward in chunks"),
    "flash": (configured(_attn_implementation="flash_attention_3"), "cannot be read; load"),
    "word by word": (
        lambda: transformers.BertForTokenClassification(FAMILIES["BERT"]().config),
        "BertForTokenClassification: it belongs to none of the known families",
    ),
    "albert": (
        lambda: transformers.AlbertForSequenceClassification(
            transformers.AlbertConfig(
                hidden_size=48, num_attention_heads=3, embedding_size=16, vocab_size=99
            )
        ),
        "none of the known families",
    ),
}


@pytest.mark.parametrize(("build", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_anything_else_is_refused_by_class_and_reason(
    build: Callable[[], nn.Module], why: str
) -> None:
    with pytest.raises(KeeprateError, match=why):
        keeprate.reduce(build(), "random", "r=1")


def test_the_proof_counts_for_texts_as_long_as_its_own() -> None:
    config = FAMILIES["BERT"]().config
    config.max_position_embeddings = 300
    model = transformers.BertForSequenceClassification(config).eval()
    assert all(finding.holds for finding in examine(randomised(model)))
