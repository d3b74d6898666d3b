"""Compare all methods and Zero-TPrune's ablations on a real ViT-Tiny and a folder of photographs.

    python benchmarks/photographs.py WEIGHTS.safetensors IMAGENET_FOLDER [--name NAME]

WEIGHTS are timm's `vit_tiny_patch16_224` (AugReg), IMAGENET_FOLDER holds WordNet-id folders.
Results go to runs/NAME-*: finished runs are not run again. The tables of docs/benchmarks.md are
made with it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

MODEL = "vit_tiny_patch16_224"
METHODS = (
    "random",
    "attention-score",
    "class-attention",
    "tome",
    "tome:proportional_attention=false",
    "zero-tprune",
    "zero-tprune:emphasis=none",
    "zero-tprune:emphasis=start",
    "zero-tprune:on_drop=mass",
    "zero-tprune:on_drop=merge",
)
ABLATIONS = {
    "pattern": ("I'-S-I", "I'-S", "S-I", "I-S", "S", "I"),
    "partition": ("sequential-u", "sequential-i", "alternate", "random", "none"),
    "feature": ("key", "query", "value", "x_pre", "x"),
    "feature_heads": ("concat", "mean"),
    "similarity": ("cosine", "dot", "manhattan", "euclidean", "chebyshev"),
    "heads": ("rms", "mean", "max"),
    "head_filter": ("true", "false"),
    "iterations": ("30,5,1", "1", "5", "50"),
    "renormalise": ("true", "false"),
}


def compare(weights: str, folder: str, name: str, methods: list[str], budgets: list[str]) -> None:
    """Run `keeprate compare` with these methods at these budgets."""
    command = [sys.executable, "-m", "keeprate", "compare", "--model", MODEL, "--name", name]
    command += ["--weights", weights, "--data", f"imagenet:{folder}", "--no-throughput"]
    for method in methods:
        command += ["--method", method]
    for budget in budgets:
        command += ["--budget", budget]
    subprocess.run(command, check=True)


def main() -> None:
    """Run both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights")
    parser.add_argument("folder")
    parser.add_argument("--name", default="photographs")
    asked = parser.parse_args()
    compare(
        asked.weights, asked.folder, f"{asked.name}-methods", list(METHODS), ["80%", "65%", "50%"]
    )
    ablated = [
        f"zero-tprune:{parameter}={value}"
        for parameter, values in ABLATIONS.items()
        for value in values
    ]
    compare(asked.weights, asked.folder, f"{asked.name}-ablations", ablated, ["65%"])


if __name__ == "__main__":
    main()
