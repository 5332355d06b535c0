"""A headless Chromium that tests drive through its debugging pipe.

Protocol: https://chromedevtools.github.io/devtools-protocol; messages are JSON that end
in a zero byte, read by the browser from file 3 and written by it to file 4.
"""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 60.0  # seconds, on a busy machine
KEYS = {"ArrowDown": 40, "ArrowUp": 38, "Home": 36, "End": 35, "Escape": 27}
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-extensions", "--disable-background-networking"),
    *("--hide-scrollbars", "--force-device-scale-factor=1", "--remote-debugging-pipe"),
)
# Becomes the browser, whose files 3 and 4 are the ends of the pipes.
WIRING = """\
import os, sys
reads, writes, *command = sys.argv[1:]
os.dup2(int(reads), 3), os.dup2(int(writes), 4)
os.execv(command[0], command)
"""


def find_chromium():
    """The path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@contextlib.contextmanager
def chromium(profile):
    """A `Page` of a browser of its own, which is gone afterwards."""
    if find_chromium() is None:
        raise FileNotFoundError(f"none of {', '.join(PROGRAMS)} is installed")
    (browser_reads, commands), (messages, browser_writes) = os.pipe(), os.pipe()
    # Numbers above 4, so that neither is in the way of the other.
    ends = [fcntl.fcntl(x, fcntl.F_DUPFD, 10) for x in (browser_reads, browser_writes)]
    os.close(browser_reads)
    os.close(browser_writes)
    command = [find_chromium(), *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(
        [sys.executable, "-c", WIRING, *map(str, ends), *command],
        pass_fds=ends,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for end in ends:
        os.close(end)
    page = Page(commands, messages)
    try:
        page.attach()
        yield page
    finally:
        with contextlib.suppress(OSError):
            page.call("Browser.close")
        for end in (commands, messages):
            os.close(end)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Page:
    """One tab.

    Attributes:
      errors: what the console and the browser complained about since `open`.
    """

    def __init__(self, commands, messages):
        self.commands, self.messages = commands, messages
        self.buffer, self.last, self.session = b"", 0, None
        self.events, self.errors = [], []

    def attach(self):
        targets = self.call("Target.getTargets")["targetInfos"]
        target = next(t["targetId"] for t in targets if t["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        self.last += 1
        message = {"id": self.last, "method": method, "params": params}
        if self.session is not None:
            message["sessionId"] = self.session
        left = json.dumps(message).encode() + b"\0"
        while left:
            left = left[os.write(self.commands, left) :]
        deadline = time.monotonic() + PATIENCE
        while (answer := self._read(deadline)).get("id") != self.last:
            self._note(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _read(self, deadline):
        while b"\0" not in self.buffer:
            wait = max(0.0, deadline - time.monotonic())
            if not select.select([self.messages], [], [], wait)[0]:
                raise TimeoutError("the browser does not answer")
            chunk = os.read(self.messages, 1 << 16)
            if not chunk:
                raise ConnectionError("the browser is gone")
            self.buffer += chunk
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, event):
        method, params = event.get("method"), event.get("params", {})
        self.events.append(method)
        if method == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"])
        elif method == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.errors.append(params["args"])
        elif method == "Log.entryAdded":
            self.errors.append(params["entry"])
        elif method == "Network.requestWillBeSent" and params["type"] != "Document":
            self.errors.append(f"asked for {params['request']['url']}")

    def open(self, file):
        self.events, self.errors = [], []
        url = file if file == "about:blank" else Path(file).resolve().as_uri()
        self.call("Page.navigate", url=url)
        deadline = time.monotonic() + PATIENCE
        while "Page.loadEventFired" not in self.events:
            self._note(self._read(deadline))

    def value(self, expression):
        """What an expression of JavaScript comes to."""
        options = {"returnByValue": True, "awaitPromise": True}
        result = self.call("Runtime.evaluate", expression=expression, **options)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def text(self, selector):
        return self.value(f"document.querySelector({json.dumps(selector)}).innerText")

    def count(self, selector):
        return self.value(f"document.querySelectorAll({json.dumps(selector)}).length")

    def _middle(self, selector):
        """The middle of its first line, scrolled into sight if it was not."""
        return self.value(
            f"""(async () => {{
              const found = document.querySelector({json.dumps(selector)});
              const middle = () => {{
                const box = found.getClientRects()[0];
                return [box.left + box.width / 2, box.top + box.height / 2];
              }};
              if (!found.contains(document.elementFromPoint(...middle()))) {{
                found.scrollIntoView({{block: "center"}});
                for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame);
              }}
              return middle();
            }})()"""
        )

    def _mouse(self, kind, place, **params):
        x, y = place
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **params)

    def hover(self, selector):
        self._mouse("mouseMoved", self._middle(selector))

    def click(self, selector):
        place = self._middle(selector)
        self._mouse("mouseMoved", place)
        for kind in ("mousePressed", "mouseReleased"):
            self._mouse(kind, place, button="left", clickCount=1)

    def press(self, key):
        """A named key, or one that writes a character."""
        code = KEYS.get(key, ord(key[0].upper()))
        params = {"key": key, "windowsVirtualKeyCode": code}
        written = {} if key in KEYS else {"text": key}
        self.call("Input.dispatchKeyEvent", type="keyDown", **params, **written)
        self.call("Input.dispatchKeyEvent", type="keyUp", **params)

    def write(self, selector, text):
        self.click(selector)
        self.call("Input.insertText", text=text)

    def look(self, width, height, scheme="light"):
        """The size of the window, and what the reader prefers."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        preference = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[preference])

    def screenshot(self, path):
        data = self.call("Page.captureScreenshot")["data"]
        Path(path).write_bytes(base64.b64decode(data))
