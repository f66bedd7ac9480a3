"""What each kind of op does to labels, and what it costs: one small function an op, entered in a table."""

from ..labels import Value
from ..op import Op
from . import (
    boxes,
    broadcasting,
    convolution,
    elementwise,
    indexing,
    normalization,
    products,
    recurrent,
    reduction,
    repeating,
    resampling,
    reshape,
    shape_inference,
    slicing,
    sources,
    stacking,
)
from .registry import TABLE, Call, FlopsRule, Rule, flops_of, free, register_rule, rule

__all__ = [
    "TABLE", "Call", "FlopsRule", "Op", "Rule", "Value", "boxes", "broadcasting", "convolution", "elementwise",
    "flops_of", "free", "indexing", "normalization", "products", "recurrent", "reduction", "register_rule",
    "repeating", "resampling", "reshape", "rule", "shape_inference", "slicing", "sources", "stacking",
]  # fmt: skip
