"""What a reduced model says of itself and of its last call: stages, costs, tokens, survivors."""

from __future__ import annotations

from typing import NoReturn

from torch import Tensor, nn

from ..backbone import Backbone
from ..errors import KeeprateError
from ..method import Stage
from .export import refuse_torchscript
from .macs import Costs, pixels
from .plan import Plan
from .trace import ForwardTrace, MacsPerImage, Survivors, gathered, gathered_survivors


class DescribedModel(nn.Module):
    """A model with a plan; whoever runs it adds the `records` of each call."""

    def __init__(self, backbone: Backbone, plan: Plan, *, trace: bool) -> None:
        super().__init__()
        assert backbone is plan.backbone, "a plan is for its own backbone"
        self.model = backbone.model
        self.backbone = backbone
        self.method = plan.method
        self.plan = plan
        self.trace = trace
        self.records: list[ForwardTrace] = []
        """Traces of the last call, one for each size of its inputs."""

    def __dir__(self) -> list[str]:
        # torch.jit.trace reads all that is listed, and these raise where nothing was recorded
        recorded = {"token_counts", "macs_per_image", "survivors"}
        names: list[str] = super().__dir__()  # type: ignore[no-untyped-call]
        return [name for name in names if name not in recorded]

    def __prepare_scriptable__(self) -> NoReturn:
        """Refuse `torch.jit.script`, which calls this first."""
        refuse_torchscript("torch.jit.script")

    @property
    def token_counts(self) -> Tensor:
        """Tokens after each block in the last call, prefix included: int64 (B, depth), on CPU."""
        return gathered(self._last(), ForwardTrace.counts)

    @property
    def macs_per_image(self) -> MacsPerImage:
        """Multiply-accumulates of each image of the last call, from its real token counts."""
        records = self._last()
        return MacsPerImage(
            gathered(records, lambda record: record.model_macs(self.backbone)),
            gathered(records, lambda record: record.overhead_macs(self.backbone, self.method)),
        )

    @property
    def survivors(self) -> list[Survivors]:
        """Where each patch was after every stage of the last call (only with `trace`)."""
        if not self.trace:
            raise KeeprateError("Survivors are recorded only with trace=True.")
        return gathered_survivors(self._last())

    def stages(self, image_size: int | tuple[int, int] | None = None) -> tuple[Stage, ...]:
        """Return the stages for images of `image_size` pixels (the model's own by default)."""
        return self.plan.stages(pixels(self.backbone, image_size))

    def costs(self, image_size: int | tuple[int, int] | None = None) -> Costs:
        """Return the multiply-accumulates of one image, part by part."""
        return self.plan.costs(pixels(self.backbone, image_size))

    def _last(self) -> list[ForwardTrace]:
        if not self.records:
            raise KeeprateError("The model has not been called yet.")
        return self.records
