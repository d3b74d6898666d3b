"""Shards are whole batches of their task, and together hold every sample once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from keeprate.engine import Task
from keeprate.evaluation.engines.shards import Cutter, Shard


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
    tasks = [Task((f"run-{i}",), range(i, 3 * size, 3)) for i, size in enumerate(sizes)]
    shards = cut_up(Cutter(tasks, batch, 10, images), workers, seconds)
    for number, task in enumerate(tasks):
        ours = [shard.positions for shard in shards if shard.task == number]
        assert [position for positions in ours for position in positions] == list(task.positions)
        assert all(len(positions) % batch == 0 for positions in ours[:-1])
        assert all(shard.ids == task.ids for shard in shards if shard.task == number)


def test_shards_take_about_the_time_asked_for_once_it_is_known() -> None:
    cutter = Cutter([Task(("a",), range(1000))], 8, seconds=10)
    sizes = [len(shard.positions) for shard in cut_up(cutter, 1, seconds_per_image=0.1)]
    assert sizes[:3] == [8, 96, 96]  # ten seconds are 100 images, 12 whole batches


def test_what_is_left_is_split_among_all_workers() -> None:
    cutter = Cutter([Task(("a",), range(8 + 80))], 8, seconds=100)  # 100 seconds: 12 batches
    sizes = [len(shard.positions) for shard in cut_up(cutter, 2, seconds_per_image=1.0)]
    assert sizes == [8, 40, 24, 16]  # 5 of 10 batches, 3 of 5, then a quarter of 12 at least


def test_a_number_of_images_is_rounded_up_to_whole_batches() -> None:
    cutter = Cutter([Task(("a",), range(40))], 8, seconds=60, images=9)
    assert [len(shard.positions) for shard in cut_up(cutter)] == [16, 16, 8]


def test_runs_given_up_are_in_no_later_shard_and_a_task_without_runs_has_none() -> None:
    cutter = Cutter([Task(("a", "b"), range(24)), Task(("b",), range(9))], 8, seconds=60)
    first = cutter.cut(1)
    cutter.give_up("b")
    assert first is not None
    assert (first.ids, first.again(cutter.given_up).ids) == (("a", "b"), ("a",))
    assert [(shard.task, shard.ids) for shard in cut_up(cutter)] == [(0, ("a",)), (0, ("a",))]


def test_a_shard_handed_out_again_counts_it() -> None:
    assert Shard(0, ("a",), (1, 2)).again(()).attempt == 2
