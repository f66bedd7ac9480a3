"""A real browser without a window, where there is one, and what a person would see in it."""

from __future__ import annotations

import base64
import io
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
QUIET = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
AS_3_AND_4 = "import os, sys; [os.dup2(int(sys.argv[n]), n + 2) for n in (1, 2)]; os.execv(sys.argv[3], sys.argv[3:])"
"""Where the browser wants the pipes that it is told by."""

PATIENCE = 90.0
"""So many seconds are waited for an answer, or for something to be seen."""

IN_A_BROWSER = [
    pytest.mark.slowest,
    pytest.mark.skipif(not BROWSER, reason="no Chromium on this machine: apt-get install chromium"),
]
"""For ``pytestmark``."""


class Tab:
    """An open page, over the DevTools protocol: messages of JSON, each ended by a zero."""

    def __init__(self, to, back, url):
        self.to, self.back, self.count, self.rest, self.session = to, back, 0, b"", {}
        target = self.call("Target.createTarget", url=url)["targetId"]
        self.session = {"sessionId": self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}

    def call(self, method, **params):
        """What the browser answers."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": params, **self.session}
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while (answer := json.loads(self.next())).get("id") != self.count:
            pass
        assert "result" in answer, answer
        return answer["result"]

    def next(self):
        """The next message."""
        while b"\0" not in self.rest:
            assert select.select([self.back], [], [], PATIENCE)[0], "the browser does not answer"
            more = os.read(self.back, 1 << 16)
            assert more, "the browser has ended"
            self.rest += more
        message, _, self.rest = self.rest.partition(b"\0")
        return message

    def ask(self, code):
        """The value of some JavaScript in the page."""
        return self.call("Runtime.evaluate", expression=code, returnByValue=True)["result"].get("value")

    def seen(self):
        """What a person sees, ``[height, width, 3]``."""
        picture = Image.open(io.BytesIO(base64.b64decode(self.call("Page.captureScreenshot")["data"])))
        return np.asarray(picture.convert("RGB")).astype(int)

    def until(self, look, enough):
        """What ``look`` returns as soon as that is ``enough``, or when patience has an end."""
        end = time.monotonic() + PATIENCE
        while not enough(found := look()) and time.monotonic() < end:
            time.sleep(0.5)
        return found


@contextmanager
def opened(url, folder, size="1400,3000"):
    """A page in a browser of its own, which is gone afterwards."""
    (hear, to), (back, say) = os.pipe(), os.pipe()
    words = [f"--user-data-dir={folder / 'profile'}", f"--window-size={size}", "--remote-debugging-pipe"]
    command = [sys.executable, "-c", AS_3_AND_4, str(hear), str(say), BROWSER, *QUIET.split(), *words, "about:blank"]
    env = {**os.environ, "HOME": str(folder)}
    browser = subprocess.Popen(
        command,
        pass_fds=(hear, say),
        env=env,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(hear)
    os.close(say)
    try:
        yield Tab(to, back, url)
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()
        os.close(to)
        os.close(back)


def pixels(image, colour, near=12):
    """How many pixels have a colour, or nearly so."""
    return int((np.abs(image - colour).max(axis=-1) < near).sum())
