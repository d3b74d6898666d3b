"""Which runs may be compared is answered once: by reports and by the warning of `runs remove`."""

from __future__ import annotations

from pathlib import Path

import pytest

from keeprate.analysis.build import findings_of
from keeprate.results.listing import compared_with
from keeprate.results.store import Store
from results_factory import make_backbone, make_data, make_run, put

OTHERS = {
    "weights": {"backbone": make_backbone("other", "00")},
    "image size": {"backbone": make_backbone().model_copy(update={"image_size": (64, 64)})},
    "samples": {"data": make_data(fingerprint="00" * 32)},
    "part": {"data": make_data(part=(0.0, 0.5, 100))},
    "skipped samples": {"data": make_data(skipped={"a.jpg": "broken"})},
    "transform": {"data": make_data(transform={"crop_pct": 0.9})},
    "precision": {"precision": "bf16-true"},
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_run_of_another_setting_is_compared_with_none_of_this(what: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    plain = put(store, make_run("full"))
    put(store, make_run("tome", 40))
    put(store, make_run("random", 40, **OTHERS[what]))
    assert compared_with(store, [plain.id]) == {plain.id: 1}
    assert [len(group.points) for group in findings_of(store).groups] in ([2, 1], [1, 2])
