"""Tasks cut into shards: whole batches of one task, each as large as is worth a trip."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from ...engine import Task


@dataclass(frozen=True)
class Shard:
    """Some runs, by id, on some samples: consecutive `positions` of the task with this number.

    `attempt` counts how often it was handed out, this time included.
    """

    task: int
    ids: tuple[str, ...]
    positions: tuple[int, ...]
    attempt: int = 1

    def again(self, given_up: Collection[str]) -> Shard:
        """Return the shard for another attempt, without the runs that failed meanwhile."""
        left = tuple(name for name in self.ids if name not in given_up)
        return replace(self, ids=left, attempt=self.attempt + 1)


class Cutter:
    """Cuts tasks, one after another, into shards that take about `seconds` each.

    Every shard begins at a multiple of `batch_size` in its task, so that its batches are those of
    the task taken in one go. A task's first shards are single batches, until `learn` has told how
    long an image takes; towards the end shards get smaller, so that all workers end together. With
    `images` shards have that many, rounded up to whole batches.
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
        """Return the next shard for one of so many workers, None where all is handed out."""
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

    def learn(self, shard: Shard, images: int, seconds: float) -> None:
        """Hear how long some images of a shard took."""
        if images:
            self._seconds_per_image[shard.task] = seconds / images

    def give_up(self, name: str) -> None:
        """Leave a run out of the shards still to be cut."""
        self.given_up.add(name)

    def _batches(self, workers: int) -> int:
        """Return how many batches the next shard has."""
        if self.images is not None:
            return max(1, -(-self.images // self.batch_size))
        seconds = self._seconds_per_image.get(self._task)
        if seconds is None:
            return 1
        most = int(self.seconds / max(seconds * self.batch_size, 1e-9))
        left = sum(len(task.positions) for task in self.tasks[self._task :]) - self._start
        share = -(-left // (workers * self.batch_size))
        return max(1, min(most, max(share, most // 4)))
