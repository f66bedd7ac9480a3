"""VisualDL's own page of a run, served and opened in a real browser where there is one: curves and the network."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager

from browser import IN_A_BROWSER, PATIENCE, opened, pixels
from fits import HARMLESS, Images, build, fit
from visualdl import LogReader, LogWriter

from hapi_prune import PruneCallback

CURVE, BOX = (148, 152, 240), (150, 190, 255)
"""The colours in which VisualDL draws a run's curve before it is smoothed, and the box of a layer."""

CHARTS = (slice(130, None), slice(0, 1100))
"""Below the bar of tabs, and left of the settings."""

DRAWN, STRAY = 1000, 300
"""So many pixels of such a colour at least where something is drawn, and at most where there are but words."""

pytestmark = [*HARMLESS, *IN_A_BROWSER]


@contextmanager
def served(log_dir):
    """The address of VisualDL's page for a directory; its processes are gone afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--logdir", log_dir, "--host", "127.0.0.1", "--port", str(port), "--disable-telemetry"]
    code = "from visualdl.server.app import main; main()"
    command = [sys.executable, "-W", "ignore", "-c", code, *words]
    with open("server.txt", "w", encoding="utf-8") as said:
        server = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)
    page, end = f"http://127.0.0.1:{port}/app", time.monotonic() + PATIENCE
    try:
        while not answers(f"{page}/api/runs"):
            with open("server.txt", encoding="utf-8") as said:
                assert server.poll() is None and time.monotonic() < end, f"VisualDL does not answer: {said.read()}"
            time.sleep(0.2)
        yield page
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(address):
    try:
        return asked(address)["status"] == 0
    except OSError:
        return False


def asked(address):
    """What the server tells its page."""
    with urllib.request.urlopen(address, timeout=20) as answer:
        return json.loads(answer.read())


TEXT = "document.body ? document.body.innerText : ''"
"""What the page says; before it is loaded it has no body."""


def test_the_page_shows_the_curves_and_the_pruned_network(tmp_path):
    log_dir = str(tmp_path / "log")
    fit(build(), PruneCallback({1: 0.25, 2: 0.5}, verbose=0, log_dir=log_dir), eval_data=Images(8, 1))
    (records,) = [name for name in os.listdir(log_dir) if "vdlrecords" in name]
    tags = LogReader(file_path=os.path.join(log_dir, records)).get_tags()["scalar"]
    assert {"prune/flops", "prune/ratio", "prune/acc"} <= set(tags)
    with served(log_dir) as page:
        told = asked(f"{page}/api/scalar/tags")["data"]
        assert {tag.replace("%2F", "/") for run in told["tags"] for tag in run} >= set(tags)
        with opened(f"{page}/scalar", tmp_path) as tab:
            charts = tab.until(lambda: tab.ask("document.querySelectorAll('canvas').length"), lambda n: n >= len(tags))
            assert charts >= len(tags), "a chart for each"
            curves = tab.until(lambda: pixels(tab.seen()[CHARTS], CURVE), lambda found: found > DRAWN)
            assert curves > DRAWN, f"{curves} pixels have the colour of a curve"

        run = urllib.parse.quote(log_dir, safe="")
        graph = asked(f"{page}/api/graph/graph?run={run}&expand_all=false&refresh=true")["data"]
        shown = {node["type"]: node for node in graph["nodes"]}
        assert {"conv1 (Conv2D)", "conv2 (Conv2D)", "fc (Linear)"} <= set(shown)
        with opened(f"{page}/graph/dynamic_graph", tmp_path) as tab:
            boxes = tab.until(lambda: pixels(tab.seen()[CHARTS], BOX), lambda found: found > DRAWN)
            assert boxes > DRAWN, f"{boxes} pixels have the colour of a layer"


def test_a_log_without_ours_has_neither(tmp_path):
    log_dir = str(tmp_path / "log")
    with LogWriter(log_dir) as writer:
        writer.add_text("said", "nothing", 0)
    with served(log_dir) as page:
        for path, colour in (("scalar", CURVE), ("graph/dynamic_graph", BOX)):
            with opened(f"{page}/{path}", tmp_path) as tab:
                assert "SAMPLES" in tab.until(lambda: tab.ask(TEXT), lambda found: "SAMPLES" in found)
                assert pixels(tab.seen()[CHARTS], colour) < STRAY
