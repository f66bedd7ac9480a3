"""Prune the filters of a network while ``paddle.Model.fit`` trains it: pruning and fine-tuning in one run."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if find_spec("paddle") is None:
    raise ImportError(
        "hapi_prune needs PaddlePaddle 3, which is not installed. Install the build for your machine, for example "
        "`pip install paddlepaddle` (CPU) or a paddlepaddle-gpu build; hapi_prune does not do it by itself, since it "
        "would overwrite a GPU build."
    )
if import_module("paddle").__version__.split(".")[0] in {"1", "2"}:  # not "< 3": a build from source says 0.0.0
    raise ImportError(
        f"hapi_prune needs PaddlePaddle 3.0 or later; {import_module('paddle').__version__} is installed, which has no "
        "PIR programs to follow channels through. Upgrade it, for example with `pip install --upgrade paddlepaddle` "
        "(CPU), or to a paddlepaddle-gpu build of version 3."
    )

if TYPE_CHECKING:
    from .analysis.cost import cost
    from .analysis.labels import Label, Mismatch, Signal
    from .analysis.rules.registry import Call, register_rule
    from .callback import PruneCallback
    from .criteria.filters import FPGM, Criterion, L1Norm, L2Norm
    from .criteria.groups import BatchNormScale, GroupCriterion, GroupL2Norm, GroupSlices, Random, Taylor
    from .criteria.reduced import Reduced
    from .cutting.pruning import prune
    from .diagnostics.check import CheckReport, CheckRow, check
    from .diagnostics.explain import explain
    from .diagnostics.explanation import Explanation, ExplanationRow
    from .diagnostics.preview import Preview, PreviewRow
    from .diagnostics.sensitivity import sensitivity
    from .diagnostics.sensitivity_table import BySensitivity, Sensitivity, SensitivityRow
    from .errors import PruneError, PruneWarning
    from .exporting.export import ExportReport, export
    from .plan import ChannelGroup, Cost, Cut, Latency, LayerCost, PruningPlan, Reason, ReasonKind
    from .reporting.history import History
    from .reporting.record import PruneRecord
    from .schedules import Explicit, Exponential, Linear, OneShot, Polynomial, Schedule
    from .selection.scopes import Global, Scope, Uniform
    from .training.checkpoint import load
    from .training.resume import resume

__version__ = "0.1.0"

__all__ = [
    "FPGM",
    "BatchNormScale",
    "BySensitivity",
    "Call",
    "ChannelGroup",
    "CheckReport",
    "CheckRow",
    "Cost",
    "Criterion",
    "Cut",
    "Explanation",
    "ExplanationRow",
    "Explicit",
    "Exponential",
    "ExportReport",
    "Global",
    "GroupCriterion",
    "GroupL2Norm",
    "GroupSlices",
    "History",
    "L1Norm",
    "L2Norm",
    "Label",
    "Latency",
    "LayerCost",
    "Linear",
    "Mismatch",
    "OneShot",
    "Polynomial",
    "Preview",
    "PreviewRow",
    "PruneCallback",
    "PruneError",
    "PruneRecord",
    "PruneWarning",
    "PruningPlan",
    "Random",
    "Reason",
    "ReasonKind",
    "Reduced",
    "Schedule",
    "Scope",
    "Sensitivity",
    "SensitivityRow",
    "Signal",
    "Taylor",
    "Uniform",
    "check",
    "cost",
    "explain",
    "export",
    "load",
    "prune",
    "register_rule",
    "resume",
    "sensitivity",
]

_MODULE_OF = {
    "cost": ".analysis.cost",
    "Label": ".analysis.labels",
    "Mismatch": ".analysis.labels",
    "Signal": ".analysis.labels",
    "Call": ".analysis.rules.registry",
    "register_rule": ".analysis.rules.registry",
    "PruneCallback": ".callback",
    "FPGM": ".criteria.filters",
    "Criterion": ".criteria.filters",
    "L1Norm": ".criteria.filters",
    "L2Norm": ".criteria.filters",
    "BatchNormScale": ".criteria.groups",
    "GroupCriterion": ".criteria.groups",
    "GroupL2Norm": ".criteria.groups",
    "GroupSlices": ".criteria.groups",
    "Random": ".criteria.groups",
    "Taylor": ".criteria.groups",
    "Reduced": ".criteria.reduced",
    "prune": ".cutting.pruning",
    "CheckReport": ".diagnostics.check",
    "CheckRow": ".diagnostics.check",
    "check": ".diagnostics.check",
    "explain": ".diagnostics.explain",
    "Explanation": ".diagnostics.explanation",
    "ExplanationRow": ".diagnostics.explanation",
    "Preview": ".diagnostics.preview",
    "PreviewRow": ".diagnostics.preview",
    "sensitivity": ".diagnostics.sensitivity",
    "BySensitivity": ".diagnostics.sensitivity_table",
    "Sensitivity": ".diagnostics.sensitivity_table",
    "SensitivityRow": ".diagnostics.sensitivity_table",
    "PruneError": ".errors",
    "PruneWarning": ".errors",
    "ExportReport": ".exporting.export",
    "export": ".exporting.export",
    "ChannelGroup": ".plan",
    "Cost": ".plan",
    "Cut": ".plan",
    "Latency": ".plan",
    "LayerCost": ".plan",
    "PruningPlan": ".plan",
    "Reason": ".plan",
    "ReasonKind": ".plan",
    "History": ".reporting.history",
    "PruneRecord": ".reporting.record",
    "Explicit": ".schedules",
    "Exponential": ".schedules",
    "Linear": ".schedules",
    "OneShot": ".schedules",
    "Polynomial": ".schedules",
    "Schedule": ".schedules",
    "Global": ".selection.scopes",
    "Scope": ".selection.scopes",
    "Uniform": ".selection.scopes",
    "load": ".training.checkpoint",
    "resume": ".training.resume",
}
"""The module of each public name: it is loaded when the name is asked for, so that an import costs next to nothing."""


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = getattr(import_module(_MODULE_OF[name], __name__), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
