"""What each kind of op does to labels, and what it costs: one small function an op, entered in a table."""

from . import (
    convolution,
    cutting,
    indexing,
    joining,
    measures,
    mixing,
    moving,
    normalising,
    products,
    recurrent,
    reducing,
    repeating,
    resampling,
    sources,
    stacking,
)
from .registry import TABLE, Call, Op, Price, Rule, Value, free, register_rule, rule

__all__ = [
    "TABLE", "Call", "Op", "Price", "Rule", "Value", "convolution", "cutting", "free", "indexing", "joining",
    "measures", "mixing", "moving", "normalising", "products", "recurrent", "reducing", "register_rule", "repeating",
    "resampling", "rule", "sources", "stacking",
]  # fmt: skip
