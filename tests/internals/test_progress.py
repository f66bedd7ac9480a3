"""A bar is shown of what takes a moment, in a terminal, where the user has not asked for silence; else nothing."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout, suppress

import numpy as np
import paddle
import pytest
from paddle import nn
from zoo import ZOO

from hapi_prune import PruneCallback, check, prune, sensitivity
from hapi_prune.analysis import replay
from hapi_prune.internals import progress as module
from hapi_prune.internals.progress import bars, progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Nothing is done within a moment."""
    monkeypatch.setattr(module, "MOMENT", 0.0)
    monkeypatch.setattr(module, "PAUSE", 0.0)


def shown(run, place=Terminal):
    """What some work prints where standard output is a terminal, or something else."""
    with redirect_stdout(place()) as found:
        run()
    return found.getvalue()


def work(parts=4):
    with progress("part", parts) as at:
        for done in range(parts):
            at(done)


def test_a_bar_is_drawn_to_its_end_and_ends_its_line():
    assert "part 4/4" in shown(work)
    assert shown(work).endswith("\n")


def test_what_is_done_at_once_has_none(monkeypatch):
    monkeypatch.setattr(module, "MOMENT", 60.0)
    assert shown(work) == ""


def test_none_is_drawn_outside_a_terminal_or_where_silence_is_asked_for():
    def silent():
        with bars(False), bars(True):
            work()

    assert shown(silent) == shown(work, io.StringIO) == ""


def test_of_bars_in_each_other_the_outermost_is_drawn():
    def both():
        with progress("whole", 2) as at:
            at(1)
            work(7)

    assert "7/7" not in shown(both)
    assert "whole 2/2" in shown(both)


def test_what_is_broken_off_ends_its_line_too():
    def broken_off():
        with progress("part", 4) as at:
            at(2)
            raise KeyboardInterrupt

    def both():
        with suppress(KeyboardInterrupt):
            broken_off()

    assert shown(both).endswith("\n")
    assert "4/4" not in shown(both)
    assert "4/4" in shown(work), "and the next one is shown again"


def refused():
    """A network of which a group is refused, so that the one to blame is looked for."""

    class Refused(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2D(3, 8, 3), nn.Conv2D(8, 8, 3), nn.Conv2D(8, 4, 1)

        def forward(self, x):
            x = self.b(self.a(x))
            return self.c(x.reshape([-1, 8, 12 * 12]).reshape([-1, 8, 12, 12]))

    return Refused()


IMAGE = [1, 3, 16, 16]
LONG = {
    "search": (lambda: prune(refused(), IMAGE, 0.5), "group"),
    "check": (
        lambda: check(ZOO["SplitAndConcat"].build(), ZOO["SplitAndConcat"].inputs, [0.3], ["l1_norm", "fpgm"]),
        "",
    ),
    "sensitivity": (lambda: sensitivity(refused(), lambda network: 0.5, IMAGE, ratios=[0.2, 0.4, 0.6]), "evaluation"),
    "latency": (lambda: prune(nn.Sequential(*layers()), IMAGE, 0.3, target="latency"), "op"),
}


def layers():
    return [nn.Conv2D(3, 16, 3), nn.ReLU(), nn.Conv2D(16, 16, 3), nn.ReLU(), nn.Conv2D(16, 4, 3)]


@pytest.fixture
def _no_clock(monkeypatch):
    """A table of times of a machine that is never busy: on a real one so small a network may have no time to lose."""

    def seconds(op, args):
        return 1e-9 * args[0].size * args[1].size if op.name == "conv2d" else None

    monkeypatch.setattr(replay, "seconds_of_op", seconds)
    monkeypatch.setattr(replay, "seconds_of_network", lambda channel_map: 1e-3)


@pytest.mark.usefixtures("_no_clock")
@pytest.mark.parametrize("what", LONG)
def test_what_takes_long_shows_one(what, monkeypatch, tmp_path):
    monkeypatch.setenv("HAPI_PRUNE_CACHE", str(tmp_path))
    run, unit = LONG[what]
    assert re.search(rf"{unit} +\d+/\d+ \[", shown(run))


@pytest.mark.parametrize("verbose", [0, 1])
def test_a_run_shows_them_if_it_shows_anything(verbose):
    spec = paddle.static.InputSpec([None, *IMAGE[1:]], "float32", "image")
    model = paddle.Model(nn.Sequential(refused(), nn.Flatten(), nn.Linear(576, 2)), [spec])
    model.prepare(paddle.optimizer.SGD(0.01, parameters=model.parameters()), nn.CrossEntropyLoss())
    data = [(np.ones([2, *IMAGE[1:]], "float32"), np.zeros([2, 1], "int64"))]
    callback = PruneCallback({0: 0.5}, verbose=verbose)
    told = shown(lambda: model.fit(data, epochs=1, verbose=0, callbacks=[callback]))
    assert ("group" in told) == bool(verbose)
