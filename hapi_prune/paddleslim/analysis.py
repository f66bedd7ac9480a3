"""The count of FLOPs where ``paddleslim.analysis`` has it: trainers import ``dygraph_flops`` from there.

Example:
    >>> from hapi_prune.paddleslim import flops
    >>> from hapi_prune.paddleslim.analysis import dygraph_flops
    >>> dygraph_flops is flops
    True
"""

from .flops import dygraph_flops, flops

__all__ = ["dygraph_flops", "flops"]
