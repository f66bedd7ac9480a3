"""Ops of detectors: maps are sampled inside of boxes, and boxes are decoded, sorted and left out."""

from __future__ import annotations

from collections.abc import Sequence

from ..labels import Signal, Value
from .registry import Call, free, rule


@rule("roi_align", "roi_pool", flops=free)
def sampled(call: Call) -> Sequence[Value]:
    """``[N, C, H, W]`` becomes ``[boxes, C, h, w]``: the channels pass, however many boxes there are."""
    x = call.arg(0)
    call.stop_others(0, reason="is a coordinate of a box")
    call.constraints.stop([label for label in x.labels if label.axes != (1,)], "is a place in an image")
    labels = tuple(label for label in x.labels if label.axes == (1,))
    return [Signal(call.plain(n).sized(1, x.shape[1]).shape, labels) for n in range(len(call.op.shapes))]


@rule("nms", "generate_proposals", "distribute_fpn_proposals", "collect_fpn_proposals", "yolo_box", "prior_box",
      "box_coder", "box_clip", "matrix_nms", "multiclass_nms3", "psroi_pool", "bipartite_match",
      flops=free)  # fmt: skip
def decoded(call: Call) -> Sequence[Value]:
    """What becomes of a channel is written into the op: coordinates, scores and classes."""
    call.stop_others(reason="is a coordinate or a score of a box")
    return [call.plain(n) for n in range(len(call.op.shapes))]
