"""Chromium without a window, driven by its DevTools protocol over pipes."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_browser() -> str | None:
    """Returns the path of Chromium, or None."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Page:
    """An open page."""

    def __init__(self, commands: Any, replies: Any) -> None:
        self._commands, self._replies = commands, replies
        self._last = 0
        self.errors: list[str] = []
        """Messages of uncaught exceptions and of requests that failed."""
        self.requests: list[str] = []
        """URLs that were requested."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the protocol and returns its result."""
        return self._call(method, self._session, **parameters)

    def _call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        self._commands.write(json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        self._commands.flush()
        while True:
            reply = self._read()
            if reply.get("id") == self._last:
                assert "error" not in reply, reply
                return reply["result"]

    def _read(self) -> dict[str, Any]:
        data = bytearray()
        while (byte := self._replies.read(1)) != b"\0":
            assert byte, "Chromium ended"
            data += byte
        reply = json.loads(data)
        if reply.get("method") == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(reply["params"]["exceptionDetails"]))
        if reply.get("method") == "Network.requestWillBeSent":
            self.requests.append(reply["params"]["request"]["url"])
        return reply

    def open(self, url: str, *, width: int, height: int) -> None:
        """Opens a page in a window of this size and waits until it is loaded."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Page.navigate", url=url)
        while self._read().get("method") != "Page.loadEventFired":
            pass

    def evaluate(self, script: str) -> Any:
        """Evaluates a JavaScript expression and returns its value."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def screenshot(self, path: str) -> None:
        """Writes a picture of the whole page."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))


@contextlib.contextmanager
def browser_page(browser: str, profile: str) -> Iterator[Page]:
    """Starts Chromium; yields an empty page.

    Args:
        browser: path of Chromium.
        profile: empty folder.
    """
    (commands_out, commands_in), (replies_out, replies_in) = os.pipe(), os.pipe()
    options = (
        "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync "
        "--disable-component-update --remote-debugging-pipe"
    )
    # The protocol is spoken on the file descriptors 3 and 4.
    script = f'exec "$0" {options} --user-data-dir="$1" 3<&{commands_out} 4>&{replies_in}'
    process = subprocess.Popen(
        ["bash", "-c", script, browser, profile], pass_fds=(commands_out, replies_in), stderr=subprocess.DEVNULL
    )
    os.close(commands_out)
    os.close(replies_in)
    try:
        with open(commands_in, "wb") as commands, open(replies_out, "rb") as replies:
            yield Page(commands, replies)
    finally:
        process.kill()
        process.wait()
