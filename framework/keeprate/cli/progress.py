"""The progress bar of a run: its name, images done, images per second and the time left."""

from __future__ import annotations

import sys
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback, ProgressBar
from tqdm import tqdm


class ImagesBar(ProgressBar):
    """Counts the images of the test loop under the run's label, on standard error."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self.label = label
        self.bar: tqdm[Any] | None = None

    def disable(self) -> None:
        """Nothing to do: the bar is made for the first process only."""

    def on_test_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Open the bar for this process's share of the images."""
        if trainer.is_global_zero:
            images = len(trainer.test_dataloaders.dataset)  # type: ignore[union-attr]
            self.bar = tqdm(total=images, desc=self.label, unit=" images", leave=False)

    def on_test_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the images of a batch."""
        if self.bar is not None:
            self.bar.update(len(batch[1]))

    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Take the bar off the screen."""
        if self.bar is not None:
            self.bar.close()


def progress(label: str) -> list[Callback]:
    """Return the bar for a run, nothing where standard error is not a terminal."""
    return [ImagesBar(label)] if sys.stderr.isatty() else []
