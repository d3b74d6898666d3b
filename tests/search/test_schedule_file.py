"""A schedule in a file is a preset of its method, and a schedule of any other, at any size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import yaml
from torch import nn

import keeprate
from keeprate import KeeprateError
from keeprate.backbones.lookup import adapt
from keeprate.costs import TOLERANCE
from keeprate.method import Method
from keeprate.reduction.named_schedules import preset_of
from keeprate.reduction.plan import Plan, make_plan
from keeprate.reduction.schedule import file_of
from keeprate.reduction.schedule_file import (
    Evidence,
    FoundOn,
    ScheduleFile,
    block_at,
    share_stage,
)
from keeprate_methods.random_drop import RandomDrop
from keeprate_methods.tome import ToMe
from study_factory import runs

TINY = {"patch_size": 8, "embed_dim": 32, "num_heads": 2}
EVIDENCE = Evidence(
    strategy="greedy",
    trials=3,
    metric="KL, nats",
    images_searched=5,
    images_confirmed=5,
    figures=(),
)


def vit(depth: int = 12, size: int = 64) -> nn.Module:
    return timm.create_model("vit_tiny_patch16_224", **TINY, depth=depth, img_size=size).eval()


def found(
    stages: tuple[tuple[int, int], ...] = ((3, 41), (6, 23), (9, 12)),
    method: Method | None = None,
    **parameters: object,
) -> ScheduleFile:
    """Stages of a model with 12 blocks and 64 patches."""
    method = method or RandomDrop()
    return ScheduleFile(
        method=method.name,
        parameters=parameters,
        budget="65%",
        stages=tuple(share_stage(method, block, keep, 12, 64) for block, keep in stages),
        found_on=FoundOn(model="m", data="d", blocks=12, patches=64),
        evidence=EVIDENCE,
        versions={"keeprate": "0"},
    )


@pytest.fixture
def write(tmp_path: Path) -> Callable[[ScheduleFile], str]:
    def to_file(content: ScheduleFile) -> str:
        (tmp_path / "schedule.yaml").write_text(content.text(), encoding="utf-8")
        return f"@{tmp_path / 'schedule.yaml'}"

    return to_file


def planned(model: nn.Module, method: Method, schedule: str, budget: str | None = None) -> Plan:
    return make_plan(adapt(model), method, schedule, budget)


def stages(plan: Plan) -> list[tuple[int, int]]:
    return [(stage.block, stage.keep) for stage in plan.stages(plan.backbone.image_size)]


def test_it_is_read_as_it_was_written(write: Callable[[ScheduleFile], str]) -> None:
    content = found(seed=3)
    assert file_of(write(content)) == content


def test_the_model_it_was_found_on_gets_the_same_stages(
    write: Callable[[ScheduleFile], str],
) -> None:
    counts = ((0, 63), (1, 62), (3, 41), (6, 23), (11, 1))
    plan = planned(vit(), RandomDrop(), write(found(counts)))
    assert tuple(stages(plan)) == counts
    assert plan.note((64, 64)) is None


def test_another_depth_and_size_get_the_shares_and_it_is_said(
    write: Callable[[ScheduleFile], str],
) -> None:
    spelling = write(found())
    plan = planned(vit(depth=6, size=128), RandomDrop(), spelling)  # 256 patches: 4 times as many
    # blocks 3, 6 and 9 of 12 are 1.5, 3 and 4.5 of 6: halves are rounded up
    assert stages(plan) == [(2, 164), (3, 92), (5, 48)]
    assert plan.note((128, 128)) == (
        f"Schedule '{spelling}' was found for 12 blocks and 64 patches, and is scaled to 6 and 256."
    )


def test_of_stages_that_fall_on_one_block_the_last_counts(
    write: Callable[[ScheduleFile], str],
) -> None:
    spelling = write(found(((3, 50), (4, 40), (9, 10))))
    assert stages(planned(vit(depth=2), RandomDrop(), spelling)) == [(1, 10)]


@pytest.mark.parametrize(
    ("place", "block", "depth", "at"),
    [("after-attention", 3, 24, 6), ("after-block", 3, 24, 7), ("after-block", 11, 6, 5)],
)
def test_what_acts_at_the_end_of_a_block_stays_at_the_end(
    place: str, block: int, depth: int, at: int
) -> None:
    method = RandomDrop(place=place)  # type: ignore[arg-type]
    assert block_at(method, share_stage(method, block, 9, 12, 64).depth, depth) == at
    assert block_at(method, share_stage(method, block, 9, 12, 64).depth, 12) == block


def test_a_budget_scales_all_stages(write: Callable[[ScheduleFile], str]) -> None:
    model = vit()
    plan = planned(model, RandomDrop(), write(found()), "80%")
    assert all(keep > fewer for (_, keep), fewer in zip(stages(plan), (41, 23, 12), strict=True))
    assert [block for block, _ in stages(plan)] == [3, 6, 9]
    cost = plan.costs((64, 64)).total / keeprate.macs(model)
    assert 0.8 * (1 - 3 * TOLERANCE) < cost <= 0.8


def test_its_own_method_takes_its_parameters_and_another_the_stages_alone(
    write: Callable[[ScheduleFile], str],
) -> None:
    spelling = write(found(method=ToMe(), proportional_attention=False))
    preset = preset_of(ToMe, spelling)
    assert preset is not None
    assert preset.parameters == {"proportional_attention": False}
    assert preset_of(RandomDrop, spelling) is None
    assert stages(planned(vit(), RandomDrop(), spelling)) == [(3, 41), (6, 23), (9, 12)]


def test_studies_take_it(write: Callable[[ScheduleFile], str]) -> None:
    spelling = write(found(method=ToMe(), proportional_attention=False))
    text = f"methods: [tome, random]\nschedules: ['{spelling}']\nbudgets: [65%]"
    assert {(run.method, run.cost.schedule) for run in runs(text)} == {
        ("tome", spelling),
        ("random", spelling),
    }


def test_reduce_takes_its_path(write: Callable[[ScheduleFile], str]) -> None:
    path = Path(write(found(method=ToMe(), proportional_attention=False)).removeprefix("@"))
    reduced = keeprate.reduce(vit(depth=4), "tome", path)
    assert [stage.keep for stage in reduced.stages()] == [41, 23, 12]
    assert reduced.method.proportional_attention is False


DAMAGE: dict[str, tuple[Callable[[dict[str, object]], object], str]] = {
    "a key is missing": (lambda data: data.pop("stages"), "stages: Field required."),
    "more tokens than there are": (
        lambda data: data.update(stages=[{"depth": 0.5, "tokens": 2}]),
        "stages.0.tokens: Input should be less than or equal to 1.",
    ),
    "no stage": (lambda data: data.update(stages=[]), "stages: Tuple should have at least 1 item"),
    "stages that go back": (
        lambda data: data.update(stages=data["stages"][::-1]),  # type: ignore[index]
        "stages: depth must ascend.",
    ),
    "another format": (
        lambda data: data.update(format="keeprate schedule 9"),
        "format: Input should be 'keeprate schedule 1'.",
    ),
    "a key that there is not": (
        lambda data: data.update(stage=1),
        "stage: Extra inputs are not permitted.",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_file_is_told_with_its_key(case: str, tmp_path: Path) -> None:
    damage, said = DAMAGE[case]
    data = yaml.safe_load(found().text())
    damage(data)
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    with pytest.raises(KeeprateError) as raised:
        file_of(f"@{path}")
    assert said in str(raised.value)
    assert f"'{path}'" in str(raised.value)
    assert str(raised.value).endswith("Write it anew with `keeprate search`.")


@pytest.mark.parametrize(
    "content", [b"", b"stages: [", b"\xff\xfe\xff", b"- 1", b"a: !!python/x 1"]
)
def test_what_is_no_such_file_is_an_error_of_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(content)
    with pytest.raises(KeeprateError, match=f"Schedule file '{path}'") as raised:
        file_of(f"@{path}")
    assert "\n" not in str(raised.value)


def test_a_file_that_there_is_not_is_named() -> None:
    with pytest.raises(
        KeeprateError, match=r"Cannot read the schedule file 'no\.yaml': No such file"
    ):
        planned(vit(), RandomDrop(), "@no.yaml")
