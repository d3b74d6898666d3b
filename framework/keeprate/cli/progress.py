"""The progress bar of a run: its name, images done, images per second and the time left."""

from __future__ import annotations

import sys

from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm


class ImagesBar(TQDMProgressBar):
    """Lightning's bar, counting images instead of batches under the run's label."""

    def __init__(self, label: str, images: int, batch_size: int) -> None:
        super().__init__(leave=False)
        self.label, self.images, self.batch_size = label, images, batch_size

    def init_test_tqdm(self) -> Tqdm:
        """Return a bar named after the run."""
        bar = super().init_test_tqdm()
        bar.set_description(self.label)
        bar.unit, bar.unit_scale = " images", self.batch_size
        bar.bar_format = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{unit} "
        bar.bar_format += "[{remaining} left, {rate_fmt}]"
        return bar


def progress(label: str, images: int, batch_size: int) -> list[Callback]:
    """Return the bar for a run, nothing where standard error is not a terminal."""
    return [ImagesBar(label, images, batch_size)] if sys.stderr.isatty() else []
