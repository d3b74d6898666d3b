"""What makes a study's runs impossible is told with line, key and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from keeprate import Place
from keeprate.plugins.parameters import parameters_of
from keeprate.plugins.registry import load
from keeprate.resizing import InputMethod
from keeprate.study import StudyProblems, read_study

TINY = "vit_tiny_patch16_224"
ON_PHOTOS = f"models: {TINY}\ndata: imagenet:photos\n"
REDUCING = {
    name: offer.cls
    for name, offer in load(environ={"KEEPRATE_PLUGINS": ""}).methods.items()
    if offer.cls.reduces and not offer.cls.requires_weights
}
WITHOUT_CLASS_TOKEN = [name for name, cls in REDUCING.items() if not cls.requires_class_token]
AROUND_THE_BLOCK = [
    f"{name}:place=after-block" if "place" in {each.name for each in parameters_of(cls)} else name
    for name, cls in REDUCING.items()
    if cls.place is not Place.AFTER_ATTENTION
    or issubclass(cls, InputMethod)
    or "place" in {each.name for each in parameters_of(cls)}
]
PROBLEMS = {
    "unknown model": (
        "models:\n  - vit_tiny_patch16_225\ndata: imagenet:photos",
        f"s.yaml:2: models.0: No model 'vit_tiny_patch16_225'. Did you mean '{TINY}'?",
    ),
    "unknown tag": (
        f"data: imagenet:photos\nmodels: {{name: {TINY}.augreg_in22k}}",
        f"s.yaml:2: models.name: No model '{TINY}.augreg_in22k'. Did you mean "
        f"'{TINY}.augreg_in21k'?",
    ),
    "no tokens": (
        "models: resnet18\ndata: imagenet:photos",
        "s.yaml:1: models: Cannot reduce a model of class timm.models.resnet.ResNet: Convolutional "
        "networks have no tokens to reduce. Another family can be added with the "
        "keeprate_backbones hook.",
    ),
    "no weights": (
        "models: lvvit_t\ndata: imagenet:photos",
        "s.yaml:1: models: timm publishes no weights for 'lvvit_t'. Give local weights: "
        "weights: FILE.safetensors.",
    ),
    "weights that are not there": (
        f"models:\n  name: {TINY}\n  weights: w.pth\ndata: imagenet:photos",
        "s.yaml:3: models.weights: No weights file 'w.pth'.",
    ),
    "image size": (
        f"models:\n  name: {TINY}\n  image_size: 100\ndata: imagenet:photos",
        "s.yaml:3: models.image_size: Image size 100 is not a multiple of the model's patch size "
        "16: use 96 or 112.",
    ),
    "image size of none": (
        "models:\n  name: 'hf:.'\n  image_size: 96\ndata: imagenet:photos",
        "s.yaml:3: models.image_size: 'hf:.' has weights, image size and classes of its own.",
    ),
    "hugging face": (
        "models: hf:.\ndata: imagenet:photos",
        "s.yaml:1: models: '.' holds no config.json: it is no folder that save_pretrained wrote.",
    ),
    "classes": (
        f"models: {TINY}\ndata: digits",
        "s.yaml:2: data: Data set 'digits' has 10 classes, the model's head has 1000. Leave the "
        "model out to use the classifier that ships with it.",
    ),
    "no classifier": (
        "data: imagenet:photos",
        "s.yaml: models: Data set 'imagenet' ships no classifier: name a model.",
    ),
    "class token": (
        "models: vit_little_patch16_reg4_gap_256\ndata: imagenet:photos\n"
        "methods:\n  - random\n  - name: class-attention",
        "s.yaml:5: methods.1: Method 'class-attention' needs a class token, and this "
        "VisionTransformer has none. Methods that would work: "
        f"{', '.join(WITHOUT_CLASS_TOKEN)}.",
    ),
    "place": (
        "models: vit_pwee_patch16_reg1_gap_256\ndata: imagenet:photos\nmethods:\n  - tome\n"
        "  - zero-tprune",
        "s.yaml:4: methods.0: Method 'tome' acts after-attention, and in the blocks of this "
        "VisionTransformer attention and MLP run side by side. Methods that would work: "
        f"{', '.join(AROUND_THE_BLOCK)}.",
    ),
    "block": (
        ON_PHOTOS + "methods: random\nbudgets: [65%]\nschedules:\n  - keep@3\n  - keep@3,12",
        "s.yaml:7: schedules.1: Schedule 'keep@3,12' names block 12, but the model's blocks are "
        "0 to 11.",
    ),
    "counts": (
        ON_PHOTOS + "methods: random\nschedules: [197@3]",
        "s.yaml:4: schedules.0: Schedule '197@3' keeps 197 patch tokens at block 3, where 1 to 196 "
        "are possible.",
    ),
    "counts and a budget": (
        ON_PHOTOS + "methods: {name: random, schedules: 100@3, budgets: 65%}",
        "s.yaml:3: methods.schedules: Schedule '100@3' gives explicit counts: no scale is left for "
        "a budget. Drop one of the two.",
    ),
    "no numbers": (
        ON_PHOTOS + "methods: random\nschedules: keep",
        "s.yaml:4: schedules: Schedule 'keep' has no numbers: give a value or a budget.",
    ),
    "budget too small": (
        ON_PHOTOS + "methods: tome\nbudgets: [65%, 1%]",
        "s.yaml:4: budgets.1: A budget of 12.537 MMACs is out of reach of method 'tome' with "
        "schedule 'r': it costs 0.1738 GMACs at least and 1.2537 GMACs at most.",
    ),
    "budget too large": (
        ON_PHOTOS + "methods: tome\nbudgets: 5",
        "s.yaml:4: budgets: A budget of 5.0000 GMACs is more than method 'tome' with schedule 'r' "
        "can spend: at most 1.2537 GMACs. A share is written with %, as 65%.",
    ),
    "empty last mlp": (
        "models: vit_little_patch16_reg4_gap_256\ndata: imagenet:photos\nmethods: tome\n"
        "empty_last_mlp: true",
        "s.yaml:4: empty_last_mlp: empty_last_mlp needs a head that reads only the class token; "
        "this model pools its patches.",
    ),
    "folder of another kind": (
        f"models: {TINY}\ndata:\n  name: imagenet\n  parameters:\n    root: .",
        "s.yaml:2: data: Class folder 'photos' in '.' is not a WordNet id of ImageNet-1k. Did you "
        "mean the folder 'photos'? For classes of your own use the data set 'image-folder'.",
    ),
    "engine": (
        "limit: 1\nengine: sequentiel",
        "s.yaml:2: engine: No engine 'sequentiel'. Did you mean 'sequential'?",
    ),
    "engine's parameter": (
        "engine: sequential:speed=9",
        "s.yaml:1: engine: Engine 'sequential' has no parameters.",
    ),
}


@pytest.mark.sample(8)
@pytest.mark.parametrize(("text", "message"), PROBLEMS.values(), ids=PROBLEMS)
def test_every_problem_has_line_key_and_remedy(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos" / "n01440764").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(StudyProblems) as caught:
        read_study("s.yaml")
    assert [str(problem) for problem in caught.value.problems] == [message]
