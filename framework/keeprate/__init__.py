"""Compare token-reduction methods for Transformers: the names a plugin author may import.

Names are looked up when first used, so that `import keeprate` needs neither torch nor timm.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .asking import compare
    from .attention import Attention
    from .backbones import Backbone
    from .choosing import reduce
    from .comparison_table import ComparisonTable
    from .data import DataSet, Sample, TextDataSet
    from .errors import KeeprateError
    from .function_method import as_method
    from .hookspecs import hookimpl
    from .method import Method, Needs, Place, Preset, Shape, Stage
    from .report import Report
    from .ruler import macs
    from .tokens import Tokens

__version__ = "0.1.0"

__all__ = [
    "Attention",
    "Backbone",
    "ComparisonTable",
    "DataSet",
    "KeeprateError",
    "Method",
    "Needs",
    "Place",
    "Preset",
    "Report",
    "Sample",
    "Shape",
    "Stage",
    "TextDataSet",
    "Tokens",
    "__version__",
    "as_method",
    "compare",
    "hookimpl",
    "macs",
    "reduce",
]

_HOME = {
    "Attention": "attention",
    "Backbone": "backbones",
    "ComparisonTable": "comparison_table",
    "DataSet": "data",
    "KeeprateError": "errors",
    "Method": "method",
    "Needs": "method",
    "Place": "method",
    "Preset": "method",
    "Report": "report",
    "Sample": "data",
    "Shape": "method",
    "Stage": "method",
    "TextDataSet": "data",
    "Tokens": "tokens",
    "as_method": "function_method",
    "compare": "asking",
    "hookimpl": "hookspecs",
    "macs": "ruler",
    "reduce": "choosing",
}


def __getattr__(name: str) -> object:
    """Import the module that defines a public name, the first time the name is used."""
    if name not in _HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value: object = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
