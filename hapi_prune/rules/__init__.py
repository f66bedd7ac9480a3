"""What each kind of op does to labels, and what it costs: one small function an op, entered in a table."""

from . import convolution, cutting, joining, mixing, moving
from .registry import TABLE, Call, Op, Price, Rule, Value, free, rule

__all__ = [
    "TABLE", "Call", "Op", "Price", "Rule", "Value", "convolution", "cutting", "free", "joining", "mixing",
    "moving", "rule",
]  # fmt: skip
