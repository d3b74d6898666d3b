"""The page rank in one launch, in Triton's interpreter on a CPU, against numbers moved one by one.

The interpreter is chosen before Triton is imported, so the kernel runs in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from keeprate_methods import page_rank as torch_form
from keeprate_methods.page_rank import page_rank
from keeprate_methods.zero_tprune import ZeroTPrune
from references.page_rank import page_rank_of_head

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

IN_INTERPRETER = """
import sys, torch
from keeprate_methods.page_rank_kernel import fused_page_rank
calls = torch.load(sys.argv[1])
torch.save([fused_page_rank(weights, **options) for weights, options in calls], sys.argv[2])
"""


class Case(NamedTuple):
    """A page rank to compute; `removed` is the share of tokens that are no longer in the graph."""

    tokens: int
    dtype: torch.dtype = torch.float32
    batch: int = 1
    heads: int = 1
    iterations: int = 3
    emphasis: str = "every"
    removed: float = 0.3
    renormalise: bool = True
    strided: bool = False

    def weights(self) -> Tensor:
        generator = torch.Generator().manual_seed(self.tokens)
        step = 2 if self.strided else 1
        shape = (self.heads, self.batch, self.tokens, step * self.tokens)
        logits = torch.randn(shape, generator=generator).transpose(0, 1)[..., ::step]
        weights = torch.empty_like(logits) if self.strided else logits
        return weights.copy_((2 * logits).softmax(dim=-1)).to(self.dtype)

    def alive(self) -> Tensor | None:
        if not self.removed:
            return None
        generator = torch.Generator().manual_seed(self.tokens)
        order = torch.rand(self.batch, self.tokens, generator=generator).argsort(dim=1)
        return (order >= round(self.removed * self.tokens)).index_fill(1, torch.tensor([0]), True)

    def options(self) -> dict[str, object]:
        names = ("iterations", "emphasis", "renormalise")
        own = {name: getattr(self, name) for name in names}
        return own | {"alive": self.alive(), "tolerance": None}

    def expected(self) -> Tensor:
        alive, signals = self.alive(), []
        for number, image in enumerate(self.weights().double()):
            nodes = None if alive is None else alive[number].nonzero()[:, 0].tolist()
            for head in image.tolist():
                found = page_rank_of_head(
                    head, self.iterations, self.emphasis, nodes, self.renormalise
                )
                signals.append(found)
        return torch.tensor(signals, dtype=torch.float64).reshape(self.batch, self.heads, -1)


QUICK = (
    Case(2, removed=0),
    Case(17, batch=2, heads=2, emphasis="start", strided=True),
    Case(197, torch.bfloat16),  # held, by matrix products
)
SLOW = (
    Case(2, torch.bfloat16, removed=0, emphasis="start"),
    Case(3, batch=3, heads=2, renormalise=False),
    Case(17, torch.bfloat16, heads=3, emphasis="none", removed=0),
    Case(64, iterations=50),
    Case(65, torch.bfloat16, batch=2, heads=2, iterations=50),
    Case(129, torch.float16, heads=2, strided=True),
    Case(197, heads=2, iterations=30),
    Case(197, torch.bfloat16, batch=2, heads=2, iterations=30, strided=True, renormalise=False),
    Case(256, torch.bfloat16, removed=0),
    Case(257, torch.bfloat16, emphasis="none"),
    Case(577, iterations=2),
    Case(1370, torch.bfloat16, iterations=2),
)


def in_interpreter(calls: list[tuple[Tensor, dict[str, object]]], folder: Path) -> list[Tensor]:
    torch.save(calls, folder / "calls.pt")
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", IN_INTERPRETER, folder / "calls.pt", folder / "signals.pt"]
    subprocess.run(command, env=environment, check=True)
    found: list[Tensor] = torch.load(folder / "signals.pt")
    return found


def check(cases: tuple[Case, ...], folder: Path) -> None:
    signals = in_interpreter([(case.weights(), case.options()) for case in cases], folder)
    for case, signal in zip(cases, signals, strict=True):
        torch.testing.assert_close(
            signal.double(),
            case.expected(),
            rtol=1e-5,
            atol=1e-8,
            msg=lambda m, c=case: f"{c}: {m}",
        )


@needs_triton
def test_the_kernel_gives_what_the_reference_gives(tmp_path: Path) -> None:
    check(QUICK, tmp_path)


@needs_triton
@pytest.mark.slow
def test_the_kernel_gives_what_the_reference_gives_at_every_size(tmp_path: Path) -> None:
    check(SLOW, tmp_path)


@needs_triton
@pytest.mark.slow
def test_the_kernel_stops_at_a_tolerance_and_shows_what_is_no_number(tmp_path: Path) -> None:
    case = Case(33, emphasis="none", removed=0.2)
    weights = 0.8 * torch.eye(33) + 0.2 * case.weights()  # which settles slowly
    broken = weights.clone()
    broken[..., 5, 7] = torch.nan
    options = case.options() | {"iterations": 100, "tolerance": 0.01}
    settled, no_number = in_interpreter([(weights, options), (broken, options)], tmp_path)
    expected = page_rank(weights.double(), **options)
    last = page_rank(weights.double(), **options | {"tolerance": None})
    assert (settled - expected).abs().sum() < 0.01  # a step more or less, if it is a close thing
    assert (settled - last).abs().sum() > 0.02
    assert no_number.isnan().any()


@needs_triton
@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("case", [Case(197, torch.bfloat16), Case(577)])
def test_the_kernel_compiles_for_a_gpu_that_is_not_there(case: Case, capability: int) -> None:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from keeprate_methods.page_rank_kernel import Blocks, _page_rank

    held, rows, columns, warps = Blocks.of(case.weights())
    kinds = "*bf16" if held else "*fp32", "*i1", "*fp32", "i32", "i32", "i32", "fp32", "fp32"
    settings = {
        "EMPHASIS": "every",
        "RESTRICTED": True,
        "RENORMALISE": True,
        "UNTIL_SETTLED": True,
        "FACTOR": triton.language.bfloat16,
        "HELD": held,
        "ROWS": rows,
        "COLUMNS": columns,
    }
    signature = dict(zip(_page_rank.arg_names, [*kinds, *["constexpr"] * 8], strict=True))
    source = ASTSource(_page_rank, signature, settings)
    options = {"num_warps": warps, "enable_fp_fusion": True}
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    assert made.asm["cubin"]
    assert made.metadata.shared <= 163 * 1024  # what an A100 has for a program


@needs_gpu
@pytest.mark.parametrize("case", [*QUICK, *SLOW])
def test_on_a_gpu_the_page_rank_is_that_of_the_reference(case: Case) -> None:
    alive, options = case.alive(), case.options()
    there = options | {"alive": None if alive is None else alive.cuda()}
    signal = page_rank(case.weights().cuda(), **there)
    torch.testing.assert_close(signal.cpu().double(), case.expected(), rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize(
    ("device", "dtype", "tokens", "fits"),
    [
        ("cuda", torch.bfloat16, 1370, True),
        ("cuda", torch.float32, 2048, True),
        ("cuda", torch.float32, 2049, False),
        ("cuda", torch.float64, 197, False),
        ("cpu", torch.float32, 197, False),
    ],
)
def test_a_gpu_has_the_kernel_for_what_it_can_hold(
    device: str, dtype: torch.dtype, tokens: int, fits: bool
) -> None:
    with FakeTensorMode():
        weights = torch.empty(1, 1, tokens, tokens, dtype=dtype, device=device)
        assert torch_form._fits_kernel(weights) is fits
        assert not torch_form._fits_kernel(weights.requires_grad_())


def test_where_triton_fails_the_page_rank_is_computed_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = Case(9).weights()
    expected = page_rank(weights, iterations=3)
    monkeypatch.setattr(torch_form, "_fits_kernel", lambda weights: True)
    with pytest.warns(RuntimeWarning, match="The page rank is slow here, as Triton fails: "):
        assert torch.equal(page_rank(weights, iterations=3), expected)


def test_the_kernel_leaves_stored_runs_recognisable() -> None:
    from keeprate.plugins.code.code_hash import hash_code

    assert hash_code(ZeroTPrune()).unknown == ()
