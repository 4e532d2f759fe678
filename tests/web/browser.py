"""Debian's Chromium without a window, driven by Selenium (apt-get install chromium chromium-driver)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

T = TypeVar("T")
PROGRAM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
REQUIRED = "BROWSER_TESTS"
"""In the environment of a run that must not skip tests for lack of a browser."""
PATIENCE_SECONDS = 40.0
POLL_SECONDS = 0.1


@contextmanager
def browser(place: Path, width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[Browser]:
    """One that keeps its files in ``place``. The test is skipped where there is none."""
    if not (Path(PROGRAM).exists() and Path(DRIVER).exists()):
        assert REQUIRED not in os.environ, "this run has to have a browser"
        pytest.skip("there is no browser: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = PROGRAM
    for argument in ("--headless=new", "--disable-dev-shm-usage", f"--user-data-dir={place / 'chromium'}"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    driver = webdriver.Chrome(options=options, service=Service(DRIVER, log_output=os.devnull))
    try:
        found = Browser(driver)
        found.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        yield found
    finally:
        driver.quit()
        shutil.rmtree(place / "chromium", ignore_errors=True)


class Browser:
    """What a person sees and does."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def resize(self, width: int, height: int) -> None:
        shape = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)

    def run(self, script: str, *arguments: object) -> Any:
        """What ``script`` returns."""
        return self.driver.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        """All text in the first element that ``selector`` finds, as it is laid out; empty if there is none."""
        return str(self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def row(self, table: str, name: str) -> dict[str, Any]:
        """The row of ``name`` in the section ``table``: the text of its cells, and what its bar says."""
        return self.run(_ROW, table, name) or {}

    def press(self, *keys: str) -> None:
        """Type into whatever has the focus."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def until(self, condition: Callable[[], T], what: str) -> T:
        """The first value of ``condition`` that counts as true."""
        deadline = monotonic() + PATIENCE_SECONDS
        while not (value := condition()):
            assert monotonic() < deadline, f"{what}; the page says {self.text('body')}"
            sleep(POLL_SECONDS)
        return value

    def complaints(self) -> list[str]:
        """Errors of scripts, and what the content security policy kept out."""
        found: list[dict[str, str]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in found]


_ROW = """
for (const row of document.querySelectorAll(`#${arguments[0]} tbody tr`)) {
  if (row.querySelector("bdi").textContent !== arguments[1]) continue;
  const bar = row.querySelector("[role=progressbar]");
  return {
    cells: [...row.cells].map((cell) => cell.innerText),
    percent: bar.checkVisibility() ? Number(bar.getAttribute("aria-valuenow")) : null,
  };
}
"""
