"""The command line: what it prints, what it writes, and what it says of a user's mistake."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import paddle
import pytest
from fits import HARMLESS

from hapi_prune import __main__ as cli
from hapi_prune import cost, explain, load, prune

pytestmark = HARMLESS

LENET = ["paddle.vision.models:LeNet", "--input", "1,1,28,28"]
SHAPE = [1, 1, 28, 28]

NETWORKS = """
import paddle
from beside import WIDTH

conv = paddle.nn.Conv2D
made = paddle.nn.Linear(4, 2)
number = 3

class Two(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.table, self.conv, self.head = paddle.nn.Embedding(10, 4), conv(3, WIDTH, 3), conv(WIDTH, 4, 1)

    def forward(self, image, words):
        return self.head(self.conv(image)).mean([2, 3]) + self.table(words).mean(1)

def two():
    return Two()

def needs(width):
    return Two()

def none():
    return None
"""


@pytest.fixture
def _networks(monkeypatch):
    """A file with networks in the folder where the command is given; afterwards Python knows nothing of it."""
    Path("own_nets.py").write_text(NETWORKS, encoding="utf-8")
    Path("beside.py").write_text("WIDTH = 8\n", encoding="utf-8")
    Path("broken_nets.py").write_text("import paddle\nraise ValueError('half done')\n", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in ("own_nets", "beside", "broken_nets"):
        sys.modules.pop(name, None)


def said(capsys, *arguments):
    """The exit code, and what was printed for people and for mistakes."""
    code = cli.main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("command", ["explain", "cost"])
def test_it_prints_what_the_function_returns(capsys, command):
    code, out, err = said(capsys, command, *LENET)
    network = paddle.vision.models.LeNet()
    expected = {"explain": explain, "cost": cost}[command](network, SHAPE).table()
    assert (code, out, err) == (0, expected + "\n", "")


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_every_command_prints_json_and_writes_a_page(capsys, command):
    more = ["--ratio", "0.5", "--criterion", "fpgm"] if command in ("check", "preview") else []
    code, out, _ = said(capsys, command, *LENET, *more, "--json", "--html", "page.html")
    assert code == 0
    assert json.loads(out)
    text = Path("page.html").read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert text.count("<section>") == text.count("</section>") == (2 if command == "explain" else 1)
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    for picture in re.findall(r"<svg.*?</svg>", text, re.S):
        ET.fromstring(picture)


def test_a_preview_by_flops(capsys):
    code, out, _ = said(capsys, "preview", *LENET, "--ratio", "0.5", "--target", "flops", "--json")
    row = json.loads(out)["rows"][0]
    assert code == 0
    assert row["reached"] == pytest.approx(0.5, abs=0.02)
    _, out, _ = said(capsys, "cost", *LENET, "--ratio", "0.5", "--target", "flops", "--json")
    assert json.loads(out)["after"]["flops"] == row["cost"]["flops"]
    code, _, err = said(capsys, "preview", *LENET, "--ratio", "0.99", "--target", "flops")
    assert code == 2
    assert "ask for" in err


def test_json_is_that_of_the_function(capsys):
    _, out, _ = said(capsys, "explain", *LENET, "--json", "--skip", "features.3")
    assert json.loads(out) == json.loads(explain(paddle.vision.models.LeNet(), SHAPE, skip=["features.3"]).to_json())
    _, out, _ = said(capsys, "cost", *LENET, "--json")
    assert json.loads(out)["flops"] == 347_560


def test_the_cost_at_a_ratio(capsys):
    code, out, _ = said(capsys, "cost", *LENET, "--ratio", "0.5", "--criterion", "l2_norm")
    network = paddle.vision.models.LeNet()
    record = prune(network, SHAPE, 0.5)
    assert code == 0
    assert out.splitlines()[0] == str(record)
    assert out.splitlines()[-1] == "Total FLOPs: 119,240     Total params: 35,772"
    _, out, _ = said(capsys, "cost", *LENET, "--ratio", "0.5", "--json")
    assert json.loads(out)["widths"] == {"features.0": [6, 3], "features.3": [16, 8]}


@pytest.mark.slow
def test_a_check_that_fails_exits_with_1(capsys, monkeypatch):
    code, out, _ = said(capsys, "check", *LENET, "--ratio", "0.3", "--ratio", "0.5", "--criterion", "l1_norm")
    assert code == 0
    assert "2 of 2 right" in out
    network = paddle.vision.models.LeNet()
    report = cli.check(network, SHAPE, [0.3], ["l1_norm"])
    broken = type(report)(report.network, report.rows, untouched=False)
    monkeypatch.setattr(cli, "check", lambda *args, **options: broken)
    assert said(capsys, "check", *LENET)[0] == 1


def test_the_weights_beside_it_are_loaded(capsys):
    network = paddle.vision.models.LeNet()
    prune(network, SHAPE, 0.5)
    paddle.save(network.state_dict(), "small.pdparams")
    fresh = paddle.vision.models.LeNet()
    load(fresh, "small.pdparams")
    code, out, _ = said(capsys, "cost", *LENET, "--weights", "small.pdparams")
    assert (code, out) == (0, cost(fresh, SHAPE).table() + "\n")
    assert "Total FLOPs: 119,240" in out


@pytest.mark.usefixtures("_networks")
@pytest.mark.parametrize("place", ["own_nets.py:two", "own_nets.py:Two"])
def test_a_network_from_a_file_with_several_inputs(capsys, place):
    code, out, err = said(capsys, "explain", place, "--input", "2,3,8,8", "--input", "2,5:int64")
    assert (code, err) == (0, "")
    assert "conv" in out
    assert said(capsys, "cost", "own_nets.py:made", "--input", "1,4")[0] == 0


@pytest.mark.usefixtures("_networks")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cost", "nowhere:net", "--input", "1"], "module 'nowhere': it cannot be imported.*No module named"),
        (["cost", "broken_nets.py:net", "--input", "1"], "cannot be imported.*half done"),
        (["cost", "missing.py:net", "--input", "1"], "cannot be imported"),
        (["cost", "own_nets.py", "--input", "1"], "no colon.*module:function"),
        (["cost", "own_nets.py:to", "--input", "1"], "has no 'to'.*'two'"),
        (["cost", "own_nets.py:needs", "--input", "1"], "it fails.*width"),
        (["cost", "own_nets.py:none", "--input", "1"], "it returns None.*paddle.nn.Layer"),
        (["cost", "own_nets.py:number", "--input", "1"], "it fails.*not callable"),
        (["cost", "own_nets.py:made", "--input", "1,x"], "--input: '1,x'.*1,3,224,224"),
        (["cost", "own_nets.py:made", "--input", "1,4:int65"], "--input: '1,4:int65'"),
        (["cost", "own_nets.py:made", "--input", "1,5,0"], "shape.*1, 5, 0"),
        (["cost", *LENET, "--weights", "none"], "checkpoint 'none': no such file"),
        (["cost", *LENET, "--ratio", "1.5"], "ratio.*1.5"),
        (["cost", *LENET, "--ratio", "0.5", "--criterion", "l9"], "l9"),
        (["explain", *LENET, "--skip", "features.9"], "features.9"),
        (["check", *LENET, "--ratio", "2"], "ratio"),
        (["cost", *LENET, "--html", "no/such/folder/page.html"], "no/such/folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_users_mistake_is_one_message_and_exit_code_2(capsys, arguments, message):
    code, out, err = said(capsys, *arguments)
    assert (code, out) == (2, "")
    assert re.search(message, err)
    assert err.startswith("python -m hapi_prune: ")
    assert "Traceback" not in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["prune", *LENET], ["cost"], ["cost", LENET[0]]])
def test_a_wrong_command_line_is_explained(capsys, arguments):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2
    assert "usage: python -m hapi_prune" in capsys.readouterr().err


@pytest.mark.slow
def test_it_is_a_command():
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).resolve().parent.parent)}

    def ran(*arguments):
        command = [sys.executable, "-W", "ignore", "-m", "hapi_prune", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)

    done = ran("cost", *LENET, "--json")
    assert (done.returncode, json.loads(done.stdout)["flops"]) == (0, 347_560)
    done = ran("cost", "nowhere:net", "--input", "1")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
