"""Prune the filters of a network while ``paddle.Model.fit`` trains it: pruning and fine-tuning in one run."""

from importlib.util import find_spec

if find_spec("paddle") is None:
    raise ImportError(
        "hapi_prune needs PaddlePaddle 3, which is not installed. Install the build for your machine, for example "
        "`pip install paddlepaddle` (CPU) or a paddlepaddle-gpu build; hapi_prune does not do it by itself, since it "
        "would overwrite a GPU build."
    )

from .analysis.cost import cost
from .analysis.labels import Label, Mismatch, Signal
from .analysis.rules.registry import Call, register_rule
from .callback import PruneCallback
from .criteria import FPGM, Criterion, L1Norm, L2Norm
from .diagnostics.check import CheckReport, CheckRow, check
from .diagnostics.explain import explain
from .diagnostics.explanation import Explanation, ExplanationRow
from .errors import PruneError, PruneWarning
from .exporting.export import ExportReport, export
from .plan import ChannelGroup, Cost, Cut, LayerCost, PruningPlan, Reason, ReasonKind
from .pruning import prune
from .reporting.history import History
from .reporting.record import PruneRecord
from .schedules import Explicit, Exponential, Linear, OneShot, Polynomial, Schedule
from .selection.scopes import Global, Scope, Uniform
from .training.checkpoint import load
from .training.resume import resume

__version__ = "0.1.0"

__all__ = [
    "FPGM",
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
    "History",
    "L1Norm",
    "L2Norm",
    "Label",
    "LayerCost",
    "Linear",
    "Mismatch",
    "OneShot",
    "Polynomial",
    "PruneCallback",
    "PruneError",
    "PruneRecord",
    "PruneWarning",
    "PruningPlan",
    "Reason",
    "ReasonKind",
    "Schedule",
    "Scope",
    "Signal",
    "Uniform",
    "check",
    "cost",
    "explain",
    "export",
    "load",
    "prune",
    "register_rule",
    "resume",
]
