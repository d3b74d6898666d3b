"""Compare token-reduction methods for Transformers: the names a plugin author may import.

Names are looked up when first used, so that `import keeprate` needs neither torch nor timm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._lazy import lazy_names

if TYPE_CHECKING:
    from .analysis.figure import Figure
    from .api import compare
    from .attention import Attention
    from .backbone import Backbone
    from .backbones.loading.load import load_model
    from .comparison_table import ComparisonTable, load
    from .dataset import DataSet, Sample, TextDataSet
    from .engine import Engine
    from .errors import KeeprateError
    from .hookspecs import hookimpl
    from .method import Method, Needs, Place, Preset, Reuse, Shape, Stage
    from .metric import ImageMetric, Metric, Predictions, Targets
    from .reduction.function_method import as_method
    from .reduction.macs import macs
    from .reduction.random_numbers import uniform
    from .reduction.reduce import reduce
    from .report import Report
    from .tokens import Tokens

__version__ = "0.1.0"

__all__ = [
    "Attention",
    "Backbone",
    "ComparisonTable",
    "DataSet",
    "Engine",
    "Figure",
    "ImageMetric",
    "KeeprateError",
    "Method",
    "Metric",
    "Needs",
    "Place",
    "Predictions",
    "Preset",
    "Report",
    "Reuse",
    "Sample",
    "Shape",
    "Stage",
    "Targets",
    "TextDataSet",
    "Tokens",
    "__version__",
    "as_method",
    "compare",
    "hookimpl",
    "load",
    "load_model",
    "macs",
    "reduce",
    "uniform",
]

# one name a line, as above: type checkers read the imports, a run reads this table
_HOME = {
    "Attention": "attention",
    "Backbone": "backbone",
    "ComparisonTable": "comparison_table",
    "DataSet": "dataset",
    "Engine": "engine",
    "Figure": "analysis.figure",
    "ImageMetric": "metric",
    "KeeprateError": "errors",
    "Method": "method",
    "Metric": "metric",
    "Needs": "method",
    "Place": "method",
    "Predictions": "metric",
    "Preset": "method",
    "Report": "report",
    "Reuse": "method",
    "Sample": "dataset",
    "Shape": "method",
    "Stage": "method",
    "Targets": "metric",
    "TextDataSet": "dataset",
    "Tokens": "tokens",
    "as_method": "reduction.function_method",
    "compare": "api",
    "hookimpl": "hookspecs",
    "load": "comparison_table",
    "load_model": "backbones.loading.load",
    "macs": "reduction.macs",
    "reduce": "reduction.reduce",
    "uniform": "reduction.random_numbers",
}


__getattr__, __dir__ = lazy_names(__name__, _HOME)
