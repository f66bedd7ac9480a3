"""A run as one picture and one page: what is shown is what happened, and nothing on the page needs anything else."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import numpy as np
import paddle
import pytest
from daily import some
from fits import HARMLESS, Images, build
from fits import fit as run
from PIL import Image
from test_report import record

from hapi_prune import History, PruneCallback, prune
from hapi_prune.plan import Cost, LayerCost
from hapi_prune.reporting import plots, story
from hapi_prune.reporting.plots import Around, Reached

pytestmark = HARMLESS

HISTORIES = {
    "a run": History([record(), record(3)], [(0, {"acc": 0.5}), (1, {"acc": 0.6}), (3, {"acc": float("nan")})]),
    "no cut": History([], [(0, {"acc": 0.5})]),
    "nothing": History(),
    "loss only": History([], [(0, {"loss": 0.5})]),
    "no epoch": History([record(None)]),
    "no metrics": History([replace(record(), metrics_before={}, metrics_after={})]),
    "many": History([record(epoch) for epoch in range(40)]),
    "all nan": History([replace(record(), metrics_before={"acc": float("nan")}, metrics_after={"acc": float("inf")})]),
}


class Page(HTMLParser):
    """The page as a browser reads it: texts of cells and headings, sources of images; tags must close."""

    def __init__(self, text):
        super().__init__()
        self.open, self.rows, self.heads, self.sources = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag in ("h1", "h2", "h3"):
            self.heads.append("")
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data
        elif {"h1", "h2", "h3"} & set(self.open):
            self.heads[-1] += data


@pytest.mark.parametrize("name", some(HISTORIES, 4))
def test_a_picture_of_any_history_can_be_saved(name):
    image = HISTORIES[name].plot("run.png")
    assert (np.asarray(Image.open("run.png")) == np.asarray(image)).all()
    assert (image == History().plot()) == (name == "nothing")


@pytest.mark.parametrize("name", some(HISTORIES, 4, 1))
def test_a_page_of_any_history_is_whole_and_needs_nothing_else(name):
    HISTORIES[name].to_html("run.html")
    text = Path("run.html").read_text(encoding="utf-8")
    shown = Page(text)
    assert all(source.startswith("data:image/png;base64,") for source in shown.sources)
    assert "http" not in text
    assert len(shown.sources) == (name != "nothing")
    for source in shown.sources:
        picture = Image.open(io.BytesIO(base64.b64decode(source.split(",")[1])))
        assert (np.asarray(picture) == np.asarray(HISTORIES[name].plot())).all()


def parts(history, monkeypatch):
    """What `plots.run_picture` is asked to draw."""
    shown = []
    monkeypatch.setattr(plots, "run_picture", lambda *given: shown.extend(given))
    history.plot()
    return shown


def test_a_picture_shows_the_metric_fall_at_the_cut_and_heal_after_it(monkeypatch):
    history = History([], [])
    history.evaluated(0, {"acc": 0.7})
    history.add(record(1))
    history.evaluated(1, {"acc": 0.6, "loss": 1.0})
    metric, curve, cuts, widths, around, front = parts(history, monkeypatch)
    assert metric == "acc"
    assert curve == [(1, 0.7), (1, 0.75), (1, 0.5), (2, 0.6)]  # epoch 1 begins when one epoch has been trained
    assert cuts == [(1, 0.64, 0.6)]
    assert widths == record().widths
    assert around == [Around("2", 0.75, 0.5, 0.6)]
    assert front == [Reached("dense", 1.0, 0.75), Reached("2", 0.64, 0.6)]


def test_a_cut_that_was_not_evaluated_since_stands_where_it_fell_to(monkeypatch):
    _, _, _, _, around, front = parts(History([record(1)]), monkeypatch)
    assert around == [Around("2", 0.75, 0.5, None)]
    assert front == [Reached("dense", 1.0, 0.75), Reached("2", 0.64, 0.5)]


def test_of_losses_the_lowest_is_best():
    points = [Reached("dense", 1.0, 0.9), Reached("2", 0.5, 0.8), Reached("4", 0.4, 0.85)]
    assert [one.name for one in plots.unbeaten("loss", points)] == ["2", "4"]
    same = [Reached("2", 0.5, 0.8), Reached("4", 0.5, 0.8), Reached("6", 0.5, 0.7)]
    assert [one.name for one in plots.unbeaten("acc", same)] == ["2", "4"]


def test_pictures_leave_matplotlib_as_it_was():
    matplotlib.rcParams["font.size"] = 11.0
    before = dict(matplotlib.rcParams)
    HISTORIES["a run"].plot()
    assert dict(matplotlib.rcParams) == before


def test_the_page_of_a_run_tells_each_cut_and_each_layer():
    callback = PruneCallback({1: 0.25, 2: 0.5}, verbose=0)
    model = build()
    run(model, [callback], Images(), Images())
    history = callback.history
    history.to_html("run.html")
    shown = Page(Path("run.html").read_text(encoding="utf-8"))
    assert shown.heads[0] == "Pruning run: 2 cuts"
    assert shown.heads[1:5] == ["Each cut", "The run", "Layers", "What was said"]
    assert shown.heads[5:] == [one.title for one in history]
    # Each line of the table in the terminal is a row of the page.
    lines = [re.split(r"\s{2,}", line.strip()) for line in history.table().splitlines()]
    assert [row for row in shown.rows if row in lines][-3:] == [line for line in lines if line in shown.rows][-3:]
    assert sum(row in lines for row in shown.rows) >= 3
    rows = {row[0]: row for row in shown.rows}
    dense, now = history[-1].cost_original, history[-1].cost_after
    assert rows["conv1"][:4] == ["conv1", "Conv2D", "8", "4"]
    flops = [next(row.flops for row in cost.layers if row.name == "conv1") for cost in (dense, now)]
    assert rows["conv1"][5:7] == [story.tables.count(count) for count in flops]
    assert "why it stays" not in shown.rows[-1]


class Odd(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.last = paddle.nn.Conv2D(3, 8, 1), paddle.nn.Conv2D(8, 8, 1), paddle.nn.Conv2D(8, 2, 1)

    def forward(self, image):
        return self.last(self.b(self.a(image)).reshape([-1, 8, 8, 8]))


def test_each_layer_that_stays_has_its_reason():
    made = prune(Odd(), [1, 3, 8, 8], 0.5)
    assert made.stays.keys() == {"b", "last"}
    assert made.stays["last"] == "is an output of the network"
    assert made.stays["b"].startswith("does not run at other sizes: ")
    history = History([made])
    assert History.from_json(history.to_json()) == history
    shown = Page(story.story(history))
    reasons = {row[0]: row[-1] for row in shown.rows if len(row) == 10}
    assert {name: reasons[name] for name in ("a", "b", "last")} == {"a": "", **made.stays}


def test_what_looks_like_html_is_shown_as_it_is():
    name = "<b>&conv</b>"
    layers = (LayerCost(name, "<Kind>", 10, 10, 5),)
    odd = replace(
        record(),
        ratio_asked={name: 0.5},
        widths={name: (8, 4)},
        cost_original=Cost(10, 10, 5, 5, layers),
        cost_after=Cost(10, 10, 5, 5, layers),
        notes=(f"'{name}' stays: <script>",),
        stays={name: "a < b"},
    )
    text = story.story(History([odd]))
    assert "<script>" not in text
    assert "<b>" not in text
    row = next(row for row in Page(text).rows if row[0] == name)
    assert (row[1], row[-1]) == ("<Kind>", "a < b")
