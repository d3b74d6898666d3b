"""LV-ViT, which timm lacks: a ViT with a convolutional stem, all of whose tokens are classified."""

# The path of this module is part of the ids of stored runs (the structure hash names classes), so
# it stays here, beside the families.

from __future__ import annotations

from typing import Any, cast

import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers.attention import Attention
from timm.layers.mlp import Mlp
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from ..errors import KeeprateError
from .patch_grid import grid_of_positions


class Stem(nn.Module):
    """Three convolutions, then one that makes a token of every patch."""

    def __init__(
        self, img_size: tuple[int, int], patch_size: int, in_chans: int, width: int, embed_dim: int
    ) -> None:
        super().__init__()
        self.img_size, self.patch_size = img_size, (patch_size, patch_size)
        self.conv1 = nn.Conv2d(in_chans, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.proj = nn.Conv2d(width, embed_dim, patch_size // 2, stride=patch_size // 2)

    @property
    def grid_size(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        height, width = self.img_size
        return height // self.patch_size[0], width // self.patch_size[1]

    def forward(self, images: Tensor) -> Tensor:
        """Return patch tokens (B, N, C) of images (B, 3, H, W)."""
        if images.shape[-2:] != self.img_size:
            sizes = images.shape[-2:], self.img_size
            theirs, ours = ("x".join(map(str, size)) for size in sizes)
            raise ValueError(f"This LV-ViT takes images of {ours} pixels, not {theirs}.")
        x = self.bn1(self.conv1(images)).relu()
        x = self.bn2(self.conv2(x)).relu()
        x = self.bn3(self.conv3(x)).relu()
        return cast(Tensor, self.proj(x)).flatten(2).transpose(1, 2)


class LVViTBlock(nn.Module):
    """A Transformer block whose branches are divided by `skip_lam` before they are added."""

    def __init__(self, width: int, heads: int, mlp_ratio: float, skip_lam: float) -> None:
        super().__init__()
        self.skip_lam = skip_lam
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads, qkv_bias=False)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens (B, N, C)."""
        x = x + self.attn(self.norm1(x)) / self.skip_lam
        return cast(Tensor, x + self.mlp(self.norm2(x)) / self.skip_lam)


class LVViT(nn.Module):
    """LV-ViT (Jiang et al., "All Tokens Matter: Token Labeling for Training Better Vision
    Transformers", NeurIPS 2021).

    Logits are head(class token) + 0.5 * max over patch tokens of aux_head(patch token). Weights are
    named as in the authors' checkpoints. What only their training needs (mixed tokens, a label per
    token, stochastic depth) is left out.
    """

    num_prefix_tokens = 1
    global_pool = "token"

    def __init__(  # noqa: PLR0913 - timm's names for what a Vision Transformer is made of
        self,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        in_chans: int = 3,
        num_classes: int = 1000,
        embed_dim: int = 384,
        depth: int = 16,
        num_heads: int = 6,
        mlp_ratio: float = 3.0,
        skip_lam: float = 2.0,
        stem_width: int = 64,
    ) -> None:
        super().__init__()
        sides = (img_size, img_size) if isinstance(img_size, int) else (img_size[0], img_size[1])
        # the stem halves the image first, so a patch has an even number of pixels
        if patch_size % 2 or any(side < 1 or side % patch_size for side in sides):
            size = "x".join(map(str, sides))
            raise KeeprateError(
                f"LV-ViT takes images of whole patches, {patch_size} pixels and even; not {size}."
            )
        if num_classes < 1:
            raise KeeprateError("LV-ViT needs classes: its logits add two heads up.")
        self.num_classes, self.embed_dim = num_classes, embed_dim
        self.num_features = self.head_hidden_size = embed_dim
        self.patch_embed = Stem(sides, patch_size, in_chans, stem_width, embed_dim)
        rows, columns = self.patch_embed.grid_size
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + rows * columns, embed_dim))
        self.blocks = nn.Sequential(
            *(LVViTBlock(embed_dim, num_heads, mlp_ratio, skip_lam) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(embed_dim)
        self.head = nn.Linear(embed_dim, num_classes)
        self.aux_head = nn.Linear(embed_dim, num_classes)
        self._draw_weights()

    def _draw_weights(self) -> None:
        """Draw the weights to start training from."""
        linears = [module for module in self.modules() if isinstance(module, nn.Linear)]
        for weight in (self.cls_token, self.pos_embed, *(linear.weight for linear in linears)):
            nn.init.trunc_normal_(weight, std=0.02)
        for linear in linears:
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)

    def embed(self, images: Tensor) -> Tensor:
        """Return the tokens (B, 1 + N, C) that enter the first block."""
        patches = self.patch_embed(images)
        return torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], 1) + self.pos_embed

    def forward_features(self, images: Tensor) -> Tensor:
        """Return the normed tokens (B, 1 + N, C) that leave the last block."""
        return cast(Tensor, self.norm(self.blocks(self.embed(images))))

    def forward_head(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return logits (B, K) from normed tokens (B, 1 + N, C).

        `valid` (B, 1 + N) bool says which tokens are not padding (None: all).
        """
        patches = self.aux_head(x[:, 1:])
        if valid is not None:
            # minus infinity: padding is the maximum of no class
            patches = patches.masked_fill(~valid[:, 1:, None], -torch.inf)
        return cast(Tensor, self.head(x[:, 0]) + 0.5 * patches.amax(dim=1))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, K) for images (B, 3, H, W)."""
        return self.forward_head(self.forward_features(images))


def _resample_positions(state: dict[str, Tensor], model: LVViT) -> dict[str, Tensor]:
    """Resample the position embedding of a checkpoint to the model's grid of patches."""
    position = state.get("pos_embed")
    if position is None:
        return state
    grid, patch = model.patch_embed.grid_size, model.patch_embed.patch_size
    # the description is that of the checkpoint
    height, width = cast(Any, model).pretrained_cfg["input_size"][1:]
    own = height // patch[0], width // patch[1]
    made_for = grid_of_positions(position.shape[1] - 1, own, grid)
    if made_for is None:
        return state
    resampled = resample_abs_pos_embed(position, list(grid), list(made_for), num_prefix_tokens=1)
    return state | {"pos_embed": resampled}


def _timm_config(crop_pct: float) -> dict[str, Any]:
    """Return timm's description of a model (its `pretrained_cfg`)."""
    return {
        "url": "",  # timm publishes no weights of LV-ViT
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "fixed_input_size": True,
        "crop_pct": crop_pct,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "patch_embed.conv1",
        "classifier": ("head", "aux_head"),
    }


default_cfgs = generate_default_cfgs(
    {
        "lvvit_t": _timm_config(0.9),
        "lvvit_s": _timm_config(0.9),
        "lvvit_m": _timm_config(1.0),
        "lvvit_l": _timm_config(1.0),
    }
)


def _build(name: str, pretrained: bool, options: dict[str, Any], **size: Any) -> LVViT:
    # options last: a caller may replace an entry of the size
    return build_model_with_cfg(
        LVViT, name, pretrained, pretrained_filter_fn=_resample_positions, **(size | options)
    )


@register_model
def lvvit_t(pretrained: bool = False, **options: Any) -> LVViT:
    """Build LV-ViT-T: 12 blocks of width 240."""
    size = {"embed_dim": 240, "depth": 12, "num_heads": 4, "skip_lam": 1.0}
    return _build("lvvit_t", pretrained, options, **size)


@register_model
def lvvit_s(pretrained: bool = False, **options: Any) -> LVViT:
    """Build LV-ViT-S: 16 blocks of width 384."""
    size = {"embed_dim": 384, "depth": 16, "num_heads": 6, "skip_lam": 2.0}
    return _build("lvvit_s", pretrained, options, **size)


@register_model
def lvvit_m(pretrained: bool = False, **options: Any) -> LVViT:
    """Build LV-ViT-M: 20 blocks of width 512."""
    size = {"embed_dim": 512, "depth": 20, "num_heads": 8, "skip_lam": 2.0}
    return _build("lvvit_m", pretrained, options, **size)


@register_model
def lvvit_l(pretrained: bool = False, **options: Any) -> LVViT:
    """Build LV-ViT-L: 24 blocks of width 768 and a wider stem."""
    size = {"embed_dim": 768, "depth": 24, "num_heads": 12, "skip_lam": 3.0, "stem_width": 128}
    return _build("lvvit_l", pretrained, options, **size)
