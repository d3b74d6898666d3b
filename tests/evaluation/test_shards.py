"""Shards are whole batches of their task, and together hold every sample once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from keeprate.engine import RowSink, Task
from keeprate.evaluation.engines.shards import Cutter, Shard
from keeprate.request import LoopOptions


class Uncomputed(Task):
    """A task that is only cut."""

    def run_here(self, sink: RowSink) -> None:
        raise NotImplementedError

    def check_portable(self) -> None:
        raise NotImplementedError


def task_on(ids: tuple[str, ...], positions: range, batch_size: int = 8) -> Uncomputed:
    return Uncomputed(ids, positions, LoopOptions(batch_size=batch_size))


def cut_up(cutter: Cutter, workers: int = 2, seconds_per_image: float | None = None) -> list[Shard]:
    shards = []
    while (shard := cutter.cut(workers)) is not None:
        shards.append(shard)
        if seconds_per_image is not None:
            cutter.learn(shard, len(shard.positions), seconds_per_image * len(shard.positions))
    return shards


@given(
    sizes=some.lists(some.integers(1, 90), max_size=3),
    batch=some.integers(1, 20),
    workers=some.integers(1, 5),
    images=some.none() | some.integers(1, 50),
    seconds=some.none() | some.floats(0, 3),
)
def test_every_sample_is_in_one_shard_in_the_batch_it_would_have_been_in(
    sizes: list[int], batch: int, workers: int, images: int | None, seconds: float | None
) -> None:
    tasks = [task_on((f"run-{i}",), range(i, 3 * size, 3)) for i, size in enumerate(sizes)]
    shards = cut_up(Cutter(tasks, batch, 10, images), workers, seconds)
    for number, task in enumerate(tasks):
        ours = [shard.positions for shard in shards if shard.task == number]
        assert [position for positions in ours for position in positions] == list(task.positions)
        assert all(len(positions) % batch == 0 for positions in ours[:-1])
        assert all(shard.ids == task.ids for shard in shards if shard.task == number)


def test_shards_take_about_the_time_asked_for_once_it_is_known() -> None:
    cutter = Cutter([task_on(("a",), range(1000))], 8, seconds=10)
    sizes = [len(shard.positions) for shard in cut_up(cutter, 1, seconds_per_image=0.1)]
    assert sizes[:3] == [8, 96, 96]  # ten seconds are 100 images, 12 whole batches


def test_what_is_left_is_split_among_all_workers() -> None:
    cutter = Cutter([task_on(("a",), range(8 + 80))], 8, seconds=100)  # 100 seconds: 12 batches
    sizes = [len(shard.positions) for shard in cut_up(cutter, 2, seconds_per_image=1.0)]
    assert sizes == [8, 40, 24, 16]  # 5 of 10 batches, 3 of 5, then a quarter of 12 at least


def test_a_number_of_images_is_rounded_up_to_whole_batches() -> None:
    cutter = Cutter([task_on(("a",), range(40))], 8, seconds=60, images=9)
    assert [len(shard.positions) for shard in cut_up(cutter)] == [16, 16, 8]


def test_runs_given_up_are_in_no_later_shard_and_a_task_without_runs_has_none() -> None:
    cutter = Cutter([task_on(("a", "b"), range(24)), task_on(("b",), range(9))], 8, seconds=60)
    first = cutter.cut(1)
    cutter.given_up.add("b")
    assert first is not None
    assert (first.ids, first.again(cutter.given_up).ids) == (("a", "b"), ("a",))
    assert [(shard.task, shard.ids) for shard in cut_up(cutter)] == [(0, ("a",)), (0, ("a",))]


def test_a_shard_handed_out_again_counts_it() -> None:
    assert Shard(0, ("a",), (1, 2)).again(()).attempt == 2


@given(size=some.integers(1, 90), batch=some.integers(1, 20), images=some.integers(0, 50))
def test_parts_of_a_task_are_whole_batches_of_at_least_so_many_images(
    size: int, batch: int, images: int
) -> None:
    whole = task_on(("a",), range(5, 5 + size), batch)
    parts = whole.parts(images)
    assert [position for part in parts for position in part.positions] == list(whole.positions)
    assert all(len(part.positions) % batch == 0 for part in parts[:-1])
    assert all(images <= len(part.positions) < images + batch + 1 for part in parts[:-1])
    assert all(part.ids == whole.ids for part in parts)


def test_a_task_within_a_share_of_a_machine_takes_no_more_than_it() -> None:
    whole = Uncomputed(("a",), range(9), LoopOptions(workers=8))
    assert (whole.threads, whole.loop.accelerator) == (None, "auto")
    one, four = whole.within(0.5, 0), whole.within(4, 1)
    assert (one.threads, one.loop.workers, one.loop.accelerator) == (1, 0, "cpu")
    assert (four.threads, four.loop.workers, four.loop.accelerator) == (4, 3, "auto")
