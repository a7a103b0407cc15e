"""A page in Chromium, with a real mouse, over its debugging pipe."""

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-pipe",
)


class Page:
    """An HTML file of the disk, opened in a browser of its own; a context manager.

    Args:
        path: the file.
        profile: an empty folder for what the browser writes.
        size: (width, height) of the window's inside, in pixels.
    """

    def __init__(self, path: Path, profile: Path, size: tuple[int, int] = (800, 600)):
        self._number = 0
        self._events: list[dict] = []
        self._unread = b""
        read, self._write = os.pipe()
        self._read, write = os.pipe()

        def ends() -> None:  # the browser reads from 3 and writes to 4
            ours = os.dup(read), os.dup(write)
            os.dup2(ours[0], 3)
            os.dup2(ours[1], 4)

        command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._browser = subprocess.Popen(
            command, close_fds=False, preexec_fn=ends, stderr=subprocess.DEVNULL
        )
        os.close(read)
        os.close(write)
        self._session = None
        (page,) = (
            each for each in self._ask("Target.getTargets")["targetInfos"] if each["type"] == "page"
        )
        attached = self._ask("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self._ask(f"{domain}.enable")
        width, height = size
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self._ask("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._take()

    def __enter__(self) -> "Page":
        return self

    def __exit__(self, *error: object) -> None:
        self._browser.kill()
        self._browser.wait()
        os.close(self._read)
        os.close(self._write)

    def evaluate(self, script: str):
        """What a script of JavaScript gives; an error in it is raised."""
        done = self._ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def mouse(self, kind: str, x: float, y: float, **more: object) -> None:
        """A "mouseMoved", "mousePressed", "mouseReleased" or "mouseWheel" at a place."""
        self._ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def screenshot(self) -> bytes:
        """PNG."""
        return base64.b64decode(self._ask("Page.captureScreenshot")["data"])

    def seen(self, method: str) -> list[dict]:
        """The parameters of all events of a kind so far."""
        return [event["params"] for event in self._events if event["method"] == method]

    def _ask(self, method: str, **parameters: object) -> dict:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._take()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def _take(self) -> dict:
        """The next message; events are kept."""
        limit = time.monotonic() + 60
        while b"\0" not in self._unread:
            part = os.read(self._read, 1 << 20)
            assert part, "the browser has ended"
            assert time.monotonic() < limit, "the browser does not answer"
            self._unread += part
        message, _, self._unread = self._unread.partition(b"\0")
        message = json.loads(message)
        if "method" in message:
            self._events.append(message)
        return message
