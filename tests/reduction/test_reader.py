"""The reader stands in the one fused call of a block: it adds, looks up, shows, and is exact."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keeprate import KeeprateError, Needs, Place, Stage, Tokens
from keeprate.attention import CHUNK_BYTES, AttentionBias
from keeprate.reduction import proof
from keeprate.reduction.attention_reader import AttentionReader

IMAGES, HEADS, WHOLE, WIDTH = 3, 2, 9, 4
STAGE = Stage(block=0, keep=4, depth=4)


class Module(nn.Module):
    """Attention of x with itself, as many maps as asked for, with an optional table."""

    def __init__(self, maps: int = 1, table: Tensor | None = None) -> None:
        super().__init__()
        self.maps, self.table = maps, table

    def forward(self, x: Tensor) -> Tensor:
        heads = x.unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)
        out = x.new_zeros(heads.shape)
        for i in range(self.maps):
            out = out + F.scaled_dot_product_attention(heads * (i + 1), heads, heads, self.table)
        return out.transpose(1, 2).flatten(2)


def tokens_of(count: int = WHOLE, **options: object) -> Tokens:
    x = torch.randn(IMAGES, count, HEADS * WIDTH, generator=torch.Generator().manual_seed(0))
    return Tokens.of(x, num_prefix=1, has_class_token=True, **options)


def read(reader: AttentionReader, module: nn.Module, *, relative: bool = False) -> Tensor:
    with reader.around(reader.tokens.x, module, relative=relative):
        out: Tensor = module(reader.tokens.x)
    return out


def probe(needs: Needs = Needs.WEIGHTS) -> proof.Probe:
    return proof.Probe(Place.AFTER_BLOCK, needs)


def test_without_a_stage_or_a_mask_the_module_runs_untouched() -> None:
    reader = AttentionReader(tokens_of())
    assert torch.equal(read(reader, Module()), Module()(reader.tokens.x))
    assert reader.calls == []


@pytest.mark.parametrize("needs", Needs)
@pytest.mark.parametrize("moved", [False, True])
def test_the_output_is_that_of_the_model_with_its_table_looked_up(
    needs: Needs, moved: bool
) -> None:
    table = torch.randn(1, HEADS, WHOLE, WHOLE, generator=torch.Generator().manual_seed(1))
    tokens = tokens_of(follows_positions=True)
    if moved:
        index = torch.tensor([[0, 2, 5], [0, 8, 1], [0, 3, 4]])
        tokens = tokens.keep(index)
    mask = tokens.size.log()[:, None, None, :] + 0.25
    reader = AttentionReader(tokens, mask, probe(needs), STAGE)
    ours = read(reader, Module(table=table), relative=True)
    expected = torch.cat(
        [
            Module(table=slowly(table, tokens, image) + mask[image])(tokens.x[image, None])
            for image in range(IMAGES)
        ]
    )
    torch.testing.assert_close(ours, expected)
    assert reader.seen.score.shape == tokens.x.shape[:2]


def slowly(table: Tensor, tokens: Tokens, image: int) -> Tensor:
    if tokens.position is None:
        return table
    place = tokens.position[image]
    return table[:, :, place][:, :, :, place]


def test_images_are_taken_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    table = torch.randn(1, HEADS, WHOLE, WHOLE)
    tokens = tokens_of(follows_positions=True).keep(torch.tensor([[0, 2, 5]]).expand(IMAGES, -1))
    sizes = []
    monkeypatch.setattr(AttentionBias, "dense", spied(AttentionBias.dense, sizes))
    for needs in (Needs.KEYS, Needs.WEIGHTS):
        monkeypatch.setitem(CHUNK_BYTES, "cpu", HEADS * 3 * 3 * 4)
        reader = AttentionReader(tokens, None, probe(needs), STAGE)
        few = read(reader, Module(table=table), relative=True)
        assert set(sizes) == {1}
        monkeypatch.setitem(CHUNK_BYTES, "cpu", 2**20)
        whole = AttentionReader(tokens, None, probe(needs), STAGE)
        torch.testing.assert_close(read(whole, Module(table=table), relative=True), few)
        torch.testing.assert_close(whole.seen.score, reader.seen.score)
        sizes.clear()


def spied(dense, sizes):  # type: ignore[no-untyped-def]
    def watched(bias: AttentionBias) -> Tensor | None:
        found: Tensor | None = dense(bias)
        sizes.append(1 if found is None else len(found))
        return found

    return watched


def test_several_maps_are_seen_side_by_side() -> None:
    reader = AttentionReader(tokens_of(), None, probe(), STAGE, maps=2)
    out = read(reader, Module(maps=2))
    torch.testing.assert_close(out, Module(maps=2)(reader.tokens.x))
    seen = reader.seen
    heads = reader.tokens.x.unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)
    assert torch.equal(seen.q, torch.cat([heads, 2 * heads], dim=1))
    assert seen.weights.shape == (IMAGES, 2 * HEADS, WHOLE, WHOLE)
    torch.testing.assert_close(seen.score, seen.weights.mean(dim=(1, 2)))


@pytest.mark.parametrize(("maps", "expected"), [(2, 1), (1, 2)])
def test_another_number_of_maps_than_promised_is_an_error(maps: int, expected: int) -> None:
    reader = AttentionReader(tokens_of(), None, probe(), STAGE, maps=expected)
    read(reader, Module(maps=maps))
    with pytest.raises(KeeprateError, match=f"Block 0 made {maps} fused attention calls"):
        _ = reader.seen


def test_a_module_that_makes_no_fused_call_is_an_error() -> None:
    reader = AttentionReader(tokens_of(), None, probe(), STAGE)
    with pytest.raises(KeeprateError, match=r"The attention of block 0 \(Identity\) made no call"):
        read(reader, nn.Identity())


def test_causal_attention_is_refused() -> None:
    class Causal(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(x, x, x, is_causal=True)

    with pytest.raises(KeeprateError, match="Causal attention has no importance scores"):
        read(AttentionReader(tokens_of(), None, probe(), STAGE), Causal())


def test_grouped_keys_are_seen_once_for_every_query_head() -> None:
    class Grouped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            heads = x.unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)
            one = heads[:, :1]
            out = F.scaled_dot_product_attention(heads, one, one, enable_gqa=True)
            return out.transpose(1, 2).flatten(2)

    reader = AttentionReader(tokens_of(), None, probe(), STAGE)
    out = read(reader, Grouped())
    torch.testing.assert_close(out, Grouped()(reader.tokens.x))
    assert reader.seen.k.shape == (IMAGES, HEADS, WHOLE, WIDTH)
    assert torch.equal(reader.seen.k[:, 0], reader.seen.k[:, 1])
