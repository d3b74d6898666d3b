"""Every extension point of keeprate, on one page.

A plugin is a Python module with some of the eight functions below, each marked `@hookimpl`. It is
found as an installed package's entry point of the group `keeprate`, as a file named with
`--plugin FILE.py`, or as `keeprate_plugins.py` in the working directory. Each example below is a
complete plugin file.

A plugin may state the version of this contract that it is made for, in one line:
`keeprate_api = 2`. docs/plugins.md says when the number is raised and what happens then.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from pathlib import Path

    from .backbone import Backbone
    from .dataset import DataSet
    from .engine import Engine
    from .method import Method
    from .metric import Metric
    from .report import Report
    from .strategy import Strategy

PROJECT = "keeprate"
"""pluggy's name for this project and the group of its entry points."""

API_VERSION = 2
"""The version of the contract between keeprate and plugins; raised when plugins must change."""

OLDEST_API_VERSION = 2
"""The oldest version of the contract whose plugins still work."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def keeprate_methods() -> Iterable[type[Method]]:  # type: ignore[empty-body]
    """Offer token-reduction methods: classes derived from `keeprate.Method`.

    Example::

        from torch import Tensor

        from keeprate import Attention, Method, Needs, Stage, Tokens, hookimpl


        class KeyNorm(Method):
            \"\"\"Keeps the patch tokens with the longest keys.\"\"\"

            name = "key-norm"
            needs = Needs.KEYS

            def __init__(self, power: float = 2.0) -> None:
                self.power = power

            def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
                return attention.k.norm(p=self.power, dim=-1).mean(dim=1)  # (B, H, N, d) -> (B, N)


        @hookimpl
        def keeprate_methods() -> list[type[Method]]:
            return [KeyNorm]
    """


@hookspec
def keeprate_backbones() -> Iterable[type[Backbone]]:  # type: ignore[empty-body]
    """Offer families of models: classes derived from `keeprate.Backbone`.

    docs/new_backbone.md writes a whole family out.

    Example, for classifiers that wrap a timm Vision Transformer::

        from torch import nn

        from keeprate import Backbone, hookimpl
        from keeprate.backbones.timm.vit import TimmViT


        class WrappedViT(TimmViT):
            \"\"\"Classifiers that are a timm Vision Transformer in an attribute `vit`.\"\"\"

            name = "wrapped-vit"

            def __init__(self, model: nn.Module) -> None:
                super().__init__(model.vit)
                self.model = model  # what is proved: the whole, not the part inside

            @classmethod
            def refusal(cls, model: nn.Module) -> str | None:
                inner = getattr(model, "vit", None)
                return "" if inner is None else super().refusal(inner)


        @hookimpl
        def keeprate_backbones() -> list[type[Backbone]]:
            return [WrappedViT]
    """


@hookspec
def keeprate_datasets() -> Iterable[type[DataSet]]:  # type: ignore[empty-body]
    """Offer data sets: classes derived from `keeprate.DataSet`.

    Example::

        from collections.abc import Sequence

        import torch
        from torch import Tensor

        from keeprate import DataSet, KeeprateError, Sample, hookimpl


        class Stripes(DataSet):
            \"\"\"Draws stripes, upright (label 0) and lying (label 1) in turn.\"\"\"

            name = "stripes"

            def __init__(self, count: int = 100, size: int = 32) -> None:
                self.count = count
                self.size = size

            def bind(self, num_classes: int, label_names: Sequence[str] | None) -> None:
                if num_classes < 2:
                    raise KeeprateError("stripes needs a model with at least 2 classes.")

            def samples(self) -> list[Sample]:
                return [Sample(f"stripes/{i:04d}", i % 2) for i in range(self.count)]

            def image(self, index: int) -> Tensor:
                row = (torch.arange(self.size) // 4 % 2 * 255).to(torch.uint8)
                upright = row.expand(3, self.size, self.size)  # (3, H, W)
                return upright.mT if index % 2 else upright


        @hookimpl
        def keeprate_datasets() -> list[type[DataSet]]:
            return [Stripes]
    """


@hookspec
def keeprate_metrics() -> Iterable[type[Metric]]:  # type: ignore[empty-body]
    """Offer metrics: classes derived from `keeprate.Metric` or `keeprate.ImageMetric`.

    Example::

        from torch import Tensor

        from keeprate import ImageMetric, Metric, Predictions, Targets, hookimpl


        class Margin(ImageMetric):
            \"\"\"The probability of the first class less that of the second.\"\"\"

            name = "margin"
            heading = "Margin"

            def per_image(self, predictions: Predictions, targets: Targets) -> Tensor:
                best = predictions.log_probs.exp().topk(2, dim=1).values  # (B, 2)
                return best[:, 0] - best[:, 1]


        @hookimpl
        def keeprate_metrics() -> list[type[Metric]]:
            return [Margin]
    """


@hookspec
def keeprate_reports() -> Iterable[type[Report]]:  # type: ignore[empty-body]
    """Offer reports: classes derived from `keeprate.Report`.

    Example::

        from pathlib import Path

        from keeprate import Report, hookimpl
        from keeprate.analysis.model import Findings


        class Ranking(Report):
            \"\"\"Lists the runs from the most to the least accurate.\"\"\"

            name = "ranking"

            def write(self, findings: Findings, folder: Path) -> list[Path]:
                points = [point for group in findings.groups for point in group.points]
                best = sorted(points, key=lambda point: point.score.value, reverse=True)
                ranks = [f"{point.score.value:.1f} {point.label}" for point in best]
                path = folder / "ranking.txt"
                path.write_text("\\n".join(ranks))
                return [path]


        @hookimpl
        def keeprate_reports() -> list[type[Report]]:
            return [Ranking]
    """


@hookspec
def keeprate_engines() -> Iterable[type[Engine]]:  # type: ignore[empty-body]
    """Offer engines, which run the passes of a study: classes derived from `Engine`.

    Example, for machines that others use as well::

        import time
        from collections.abc import Sequence

        from keeprate import hookimpl
        from keeprate.engine import Engine, RowSink, Task


        class Paced(Engine):
            \"\"\"Runs one pass after another and rests in between.\"\"\"

            name = "paced"

            def __init__(self, seconds: float = 60.0) -> None:
                self.seconds = seconds

            def run(self, tasks: Sequence[Task], sink: RowSink) -> None:
                for task in tasks:
                    if sink.stopping():
                        return
                    task.run_here(sink)
                    time.sleep(self.seconds)


        @hookimpl
        def keeprate_engines() -> list[type[Engine]]:
            return [Paced]
    """


@hookspec
def keeprate_strategies() -> Iterable[type[Strategy]]:  # type: ignore[empty-body]
    """Offer strategies, which choose what `keeprate search` tries: classes derived from `Strategy`.

    Example, which tries two stages of equal size at all pairs of blocks::

        from collections.abc import Sequence
        from itertools import combinations

        from keeprate import hookimpl
        from keeprate.strategy import Candidate, Judged, ScheduleTrial, Space, Strategy


        class Pairs(Strategy):
            \"\"\"Tries every pair of blocks.\"\"\"

            name = "pairs"

            def ask(self, space: Space, history: Sequence[Judged]) -> Sequence[ScheduleTrial]:
                if history:
                    return ()
                pairs = combinations(space.blocks, 2)
                profiles = [tuple(float(b in pair) for b in range(space.depth)) for pair in pairs]
                return [ScheduleTrial(Candidate(profile)) for profile in profiles]


        @hookimpl
        def keeprate_strategies() -> list[type[Strategy]]:
            return [Pairs]
    """


@hookspec
def keeprate_studies() -> Iterable[Path]:  # type: ignore[empty-body]
    """Offer ready studies: paths of study files, each named by its stem (`keeprate run NAME`).

    Example, for the files in a folder `studies` beside the plugin::

        from pathlib import Path

        from keeprate import hookimpl


        @hookimpl
        def keeprate_studies() -> list[Path]:
            return sorted((Path(__file__).parent / "studies").glob("*.yaml"))
    """
