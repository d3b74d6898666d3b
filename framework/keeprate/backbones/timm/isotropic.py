"""The code that timm's columnar models share: embedding of patches, pooling, head and costs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self, cast

from timm.layers.attention_pool import AttentionPoolLatent
from torch import Tensor, nn

from ...backbone import Backbone, BlockCost, HeadCost
from ...tokens import Tokens
from ..fused_attention import switched_on
from ..heads import JoinedHead
from ..patch_grid import Grid, whole
from ..pooling import SizeMask, size_weighted
from .resizing import is_resizable, resized_model

if TYPE_CHECKING:
    from ...resizing import InputSize

POOLS = ("token", "avg", "max", "map")
_FORWARDS = ("forward", "forward_features")
_KNOWN_PACKAGES = ("torch", "torchvision", "timm", "transformers", "keeprate")
# their linear layers are no nn.Linear, so that their products would count nothing
_QUANTISED = ("torch.ao.", "torchao.")


class TimmColumn(Backbone):
    """The shared part of families whose models have the attributes of timm's VisionTransformer."""

    vit: Any
    """The model. Any: timm's modules are found by name, and their classes checked by `refusal`."""
    blocks: list[Any]

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.vit = model
        self.blocks = self._own_blocks()
        self.num_prefix = self._own_prefix()
        self.has_class_token = getattr(self.vit, "cls_token", None) is not None
        self.depth = len(self.blocks)
        self.channels = self.vit.embed_dim
        self.image_size = self._own_image_size()
        self.head_reads_prefix_only = self.vit.global_pool == "token"
        self.resizable = is_resizable(model) and self.grid(self.image_size) is not None
        self._size_heads()

    def _own_blocks(self) -> list[Any]:
        """Return the blocks whose tokens are reduced."""
        return list(self.vit.blocks)

    def _own_prefix(self) -> int:
        """Return how many prefix tokens the model has."""
        return int(self.vit.num_prefix_tokens)

    def _own_image_size(self) -> tuple[int, int]:
        """Return the (height, width) in pixels that the model was made for."""
        return cast("tuple[int, int]", self.vit.patch_embed.img_size)

    def _size_heads(self) -> None:
        """Set `heads` and `head_dim` to what methods see."""
        attention = self.blocks[0].attn
        self.heads = attention.num_heads
        self.head_dim = attention.qkv.out_features // (3 * attention.num_heads)

    def classify(self, tokens: Tokens, mask: Tensor | None) -> Tensor:
        """Return logits (B, K): timm's norm, pooling and head, run on the tokens that are left."""
        tokens = tokens.with_x(self.vit.norm(tokens.x))
        pool = getattr(self.vit, "attn_pool", None)
        if pool is not None:
            return self._pool_by_attention(tokens.x, pool, mask)
        include_prefix = bool(getattr(self.vit, "pool_include_prefix", False))
        # timm's own pooling follows: its plain mean then weighs each token by its size
        kind = "avg" if type(self.vit.head) is JoinedHead else self.vit.global_pool
        pooled = size_weighted(tokens, kind, include_prefix)
        return cast(Tensor, self.vit.forward_head(pooled))

    def _attention_pools_prefix(self) -> bool:
        """Tell whether attention pooling reads the prefix tokens as well."""
        return bool(getattr(self.vit, "pool_include_prefix", False))

    def _pool_by_attention(self, x: Tensor, pool: nn.Module, mask: Tensor | None) -> Tensor:
        if mask is None:
            return cast(Tensor, self.vit.forward_head(x))
        # the mask is for all tokens, also for prefix tokens that the pooling leaves out
        skipped = 0 if self._attention_pools_prefix() else self.num_prefix
        with switched_on(pool), SizeMask(mask[..., skipped:]):
            return cast(Tensor, self.vit.forward_head(x))

    def num_patches(self, image_size: tuple[int, int]) -> int:
        """Return how many patches an image has, after padding where the model pads."""
        rows, columns = self._patches(image_size)
        return rows * columns

    def grid(self, image_size: tuple[int, int]) -> Grid | None:
        """Return the rows and columns of patches, None where a patch reaches beyond the image."""
        return whole(self._patches(image_size), image_size)

    def resized(self, size: InputSize) -> Self:
        """Return the same model, by timm's own rules, for images and patches of other sizes."""
        return type(self)(resized_model(self.model, size))

    def _patches(self, image_size: tuple[int, int]) -> Grid:
        """Return the rows and columns of patches of an image."""
        return cast(Grid, self.vit.patch_embed.dynamic_feat_size(image_size))

    def embed_macs(self, image_size: tuple[int, int]) -> int:
        """Return the patch projection's cost: one product per weight and patch."""
        return self.num_patches(image_size) * int(self.vit.patch_embed.proj.weight.numel())

    def block_cost(self, block: int) -> BlockCost:
        """Return what one block costs, read off its linear layers."""
        b = self.blocks[block]
        return BlockCost(linear_macs(b.attn), 2 * self.heads * self.head_dim, linear_macs(b.mlp))

    def head_cost(self) -> HeadCost:
        """Return what pooling and the linear heads cost."""
        heads = [self.vit.head, getattr(self.vit, "head_dist", nn.Identity())]
        fixed = sum(linear_macs(head) for head in heads)
        pool = getattr(self.vit, "attn_pool", None)
        if pool is None:
            return HeadCost(fixed)
        latent = linear_macs(pool) - linear_macs(pool.kv)  # q, proj and MLP see the latents only
        pair = 2 * pool.latent_len * pool.num_heads * pool.head_dim
        return HeadCost(
            fixed=fixed + pool.latent_len * latent,
            per_token=linear_macs(pool.kv) + pair,
            reads_prefix=self._attention_pools_prefix(),
        )


def shell_refusal(model: Any) -> str | None:
    """Return what is not known outside the blocks of a timm model: patch dropout, pooling."""
    if isinstance(getattr(model, "patch_drop", None), nn.Module) and not isinstance(
        model.patch_drop, nn.Identity
    ):
        return "patch dropout (patch_drop_rate > 0) is not supported"
    pools_in_head = model.global_pool == "" and type(model.head) is JoinedHead
    if model.global_pool not in POOLS and not pools_in_head:
        return f"pooling '{model.global_pool}' is not supported (known: {', '.join(POOLS)})"
    pool = getattr(model, "attn_pool", None)
    if pool is not None and type(pool) is not AttentionPoolLatent:
        return f"attention pooling {type(pool).__name__} is not supported"
    if pool is not None and pool.pos_embed is not None:
        return "attention pooling with a position embedding is not supported"
    return uncounted_refusal(model) or altered_refusal((model, model.blocks, *model.blocks))


def altered_refusal(modules: Iterable[nn.Module]) -> str | None:
    """Return that one of the modules does more than its class says, None if none does.

    They are the modules that a backbone does not call, only their parts.
    """
    if any(is_altered(module) for module in modules):
        return "forward hooks on it or its blocks, or a replaced forward, would be left out"
    return None


def class_refusal(what: str, module: nn.Module, known: tuple[type, ...]) -> str | None:
    """Return that `module` is of none of the `known` classes, None if it is exactly of one.

    `what` is the name of the module in the reason.
    """
    if type(module) in known:  # not isinstance: a subclass may compute something else
        return None
    names = " or ".join(cls.__name__ for cls in known)
    return f"{what} is a {type(module).__name__}, not {names}"


def is_altered(module: nn.Module) -> bool:
    """Tell whether calling `module` does more than its class says: by hooks, or another forward."""
    hooks = (module._forward_hooks, module._forward_pre_hooks)
    return not vars(module).keys().isdisjoint(_FORWARDS) or any(hooks)


def scaled(branch: Tensor, scale: Tensor | None) -> Tensor:
    """Apply a layer scale (C,) to a branch (B, N, C), where there is one."""
    return branch if scale is None else scale * branch


def uncounted_refusal(model: nn.Module) -> str | None:
    """Return that a foreign module multiplies by weights of its own, which would not be counted.

    Modules of torch, torchvision, timm and transformers are known, but quantised ones cannot be
    counted.
    """
    for name, module in model.named_modules():
        source = type(module).__module__
        quantised = source.startswith(_QUANTISED)
        known = source.partition(".")[0] in _KNOWN_PACKAGES and not quantised
        if not known and (_owns_matrix(module) or quantised):
            return f"'{name}' is a {source}.{type(module).__qualname__}, whose cost is not known"
    return None


def _owns_matrix(module: nn.Module) -> bool:
    # vectors scale or shift, which counts nothing
    return any(parameter.dim() > 1 for parameter in module.parameters(recurse=False))


def linear_macs(module: nn.Module) -> int:
    """Sum the weights of the linear layers: the products each token costs."""
    linears = (m for m in module.modules() if isinstance(m, nn.Linear))
    return sum(m.in_features * m.out_features for m in linears)
