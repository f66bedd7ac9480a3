"""What ``paddle.Model`` knows and does not say."""

from __future__ import annotations

from typing import Any

import paddle


def metric_names(model: paddle.Model) -> list[str]:
    """The metrics that an evaluation returns, losses left out."""
    return [name for name in model._metrics_name() if "loss" not in name]


def given_inputs(model: paddle.Model) -> list[Any] | None:
    """The InputSpecs that the user gave, for a batch of one; None where there are none."""
    if model._input_info is None or model._is_shape_inferred:
        return None
    return [paddle.static.InputSpec([1, *list(spec.shape)[1:]], spec.dtype) for spec in model._inputs]
