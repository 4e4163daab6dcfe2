"""A headless Chromium, driven over its DevTools pipe; needs no further package."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import itertools
import json
import os
import select
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
PATIENCE = 120.0
"""Seconds to wait for an answer, of a machine that may be busy."""


def find_chromium() -> str | None:
    """Returns the program's path, None where no Chromium is installed."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if (path := shutil.which(name))), None)


class Browser:
    """One page of a running browser.

    Attributes:
        events: everything the browser has reported so far, in order.
    """

    def __init__(self, commands: int, answers: int) -> None:
        self.events: list[dict[str, Any]] = []
        self._commands = commands
        self._answers = answers
        self._numbers = itertools.count(1)
        self._buffer = b""
        self._session = ""

    def attach(self) -> None:
        """Opens a page and switches its reports on."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        found = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = found["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Sends a command and returns its result.

        Raises:
            RuntimeError: the browser refused it.
            TimeoutError: it did not answer.
        """
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != number:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def open(self, file: Path, width: int = 1280, height: int = 900) -> None:
        """Loads a file and waits until it is ready."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)
        self.events.clear()
        self.call("Page.navigate", url=file.as_uri())
        deadline = time.monotonic() + PATIENCE
        while not self._loaded() and time.monotonic() < deadline:
            time.sleep(0.02)

    def evaluate(self, expression: str) -> Any:
        """Returns the value of a JavaScript expression.

        Raises:
            RuntimeError: it threw.
        """
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(str(result["exceptionDetails"]))
        return result["result"].get("value")

    def point_at(self, x: float, y: float) -> None:
        """Moves the mouse to a place in the window."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def press(self, key: str) -> None:
        """Presses and releases a key, which is named as in JavaScript."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def prefer(self, scheme: str) -> None:
        """Makes the browser prefer the colour scheme `light` or `dark`."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def screenshot(self) -> bytes:
        """Returns the window as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def problems(self) -> list[str]:
        """Returns console errors, warnings, exceptions and violated policies since `open`."""
        kinds = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
        return [str(event["params"]) for event in self.events if event.get("method") in kinds]

    def requests(self) -> list[str]:
        """Returns the addresses of everything that was asked for since `open`."""
        sent = [e for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def _loaded(self) -> bool:
        return bool(
            self.evaluate("document.readyState === 'complete' && location.href !== 'about:blank'")
        )

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._answers], [], [], PATIENCE)[0]:
                raise TimeoutError("the browser did not answer")
            received = os.read(self._answers, 1 << 16)
            if not received:
                raise TimeoutError("the browser has ended")
            self._buffer += received
        message, _, self._buffer = self._buffer.partition(b"\0")
        parsed: dict[str, Any] = json.loads(message)
        return parsed


@contextlib.contextmanager
def running_browser(program: str, profile: Path) -> Iterator[Browser]:
    """Starts Chromium with an empty profile directory, and ends it."""
    commands, send = _pipe()
    receive, answers = _pipe()
    # Chromium reads commands from file 3 and answers on file 4.
    actions = [
        (os.POSIX_SPAWN_DUP2, commands, 3),
        (os.POSIX_SPAWN_DUP2, answers, 4),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    arguments = [program, *FLAGS, f"--user-data-dir={profile}"]
    process = os.posix_spawn(program, arguments, os.environ, file_actions=actions)
    os.close(commands)
    os.close(answers)
    browser = Browser(send, receive)
    try:
        browser.attach()
        yield browser
    finally:
        with contextlib.suppress(OSError, RuntimeError, TimeoutError):
            browser.call("Browser.close")
        os.close(send)
        os.close(receive)
        os.waitpid(process, 0)


def _pipe() -> tuple[int, int]:
    """Returns the two ends of a pipe, away from the numbers that Chromium uses."""
    ends = os.pipe()
    moved = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return moved[0], moved[1]
