"""Cuts tasks into shards: whole batches of one task, large enough to be worth sending."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from ...engine import Task


@dataclass(frozen=True)
class Shard:
    """Some runs, by id, on consecutive `positions` of the task with the number `task`.

    `attempt` counts how often the shard was handed out, this time included.
    """

    task: int
    ids: tuple[str, ...]
    positions: tuple[int, ...]
    attempt: int = 1

    def again(self, given_up: Collection[str]) -> Shard:
        """Return the shard for another attempt, without the runs that were `given_up` meanwhile."""
        remaining = tuple(name for name in self.ids if name not in given_up)
        return replace(self, ids=remaining, attempt=self.attempt + 1)


class Cutter:
    """Cuts tasks, one after another, into shards that take about `seconds` each.

    Every shard begins at a multiple of `batch_size` in its task, so that every image is in the same
    batch as without shards. A task's first shards are single batches, until `learn` has told how
    long an image takes. Towards the end shards get smaller, so that all workers end together. With
    `images`, shards have that many images, rounded up to whole batches.
    """

    def __init__(
        self, tasks: Sequence[Task], batch_size: int, seconds: float, images: int | None = None
    ) -> None:
        self.tasks, self.batch_size, self.seconds = tasks, batch_size, seconds
        self.images = images
        self.given_up: set[str] = set()
        self._task, self._start = 0, 0
        self._seconds_per_image: dict[int, float] = {}

    def cut(self, workers: int) -> Shard | None:
        """Return the next shard for one of so many workers, None once all are handed out."""
        while self._task < len(self.tasks):
            number, task = self._task, self.tasks[self._task]
            ids = tuple(name for name in task.ids if name not in self.given_up)
            end = self._start + self.batch_size * self._batches(workers)
            positions = tuple(task.positions[self._start : end]) if ids else ()
            self._start = end
            if end >= len(task.positions) or not ids:
                self._task, self._start = number + 1, 0
            if positions:
                return Shard(number, ids, positions)
        return None

    def task_of(self, shard: Shard) -> Task:
        """Return the part of a task that a shard is."""
        return replace(self.tasks[shard.task], ids=shard.ids, positions=shard.positions)

    def learn(self, shard: Shard, images: int, seconds: float) -> None:
        """Learn from the time that some images of a shard took."""
        if images:
            self._seconds_per_image[shard.task] = seconds / images

    def _batches(self, workers: int) -> int:
        """Return how many batches the next shard has."""
        if self.images is not None:
            return max(1, -(-self.images // self.batch_size))
        seconds = self._seconds_per_image.get(self._task)
        if seconds is None:
            return 1
        # a batch that took no measurable time must not divide by zero
        most = int(self.seconds / max(seconds * self.batch_size, 1e-9))
        images_left = sum(len(task.positions) for task in self.tasks[self._task :]) - self._start
        share = -(-images_left // (workers * self.batch_size))
        # not below a quarter: sending a shard and starting on it take time as well
        return max(1, min(most, max(share, most // 4)))
