"""A headless Chromium that opens a page and says what went wrong in it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from html_factory import make_findings
from keeprate.analysis.model import Findings
from keeprate_reports.html_page import page_bytes

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
GROUPS = (("deit_tiny", "imagenet"), ("digits_vit", "digits"))
ROWS = "[...document.querySelectorAll('#group-0 [data-part=runs] tbody tr')]"
MARKS = "document.querySelectorAll('#group-0 [data-part=cost] .mark-symbol.role-mark path')"
COUNT = "document.getElementById('count').textContent"
FRONT, FOCUS = 4, 0
_BROWSERS = ("chromium", "google-chrome", "chromium-browser")
_WAIT_SECONDS = 20.0


def browser_path() -> str | None:
    """The browser on the path, where there is one with the driver to steer it."""
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    return found if shutil.which("chromedriver") else None


class Browser:
    """A window of `width` pixels; `script` runs JavaScript in it."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path, width: int = 1280) -> None:
        """Open a file and wait until its script has filled it."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.command("Emulation.setDeviceMetricsOverride", **metrics)
        self.prefer("light")
        self.problems()
        self.driver.get(path.as_uri())
        self.wait("document.documentElement.dataset.ready === 'yes'")

    def prefer(self, scheme: str) -> None:
        """Ask for light or dark, and for no motion: what is scrolled to is there at once."""
        wishes = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        self.command("Emulation.setEmulatedMedia", features=features)

    def press(self, *keys: str) -> None:
        """Press keys, one after another, as a hand would."""
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def tab_back(self) -> None:
        """Press Tab with Shift held down."""
        from selenium.webdriver import ActionChains, Keys

        chain = ActionChains(self.driver).key_down(Keys.SHIFT).send_keys(Keys.TAB)
        chain.key_up(Keys.SHIFT).perform()

    def point_at(self, element: Any) -> None:
        """Move the pointer over an element."""
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).move_to_element(element).perform()

    def command(self, name: str, **parameters: Any) -> Any:
        """A command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(name, parameters)

    def script(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        return self.driver.execute_script(f"return {expression}")

    def wait(self, expression: str) -> None:
        """Wait until a JavaScript expression is true."""
        until(lambda: bool(self.script(expression)), expression)

    def problems(self) -> list[str]:
        """What the console said since the last time."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """The addresses asked for since the last time."""
        events = [json.loads(entry["message"]) for entry in self.driver.get_log("performance")]
        asked = [each["message"]["params"] for each in events if is_request(each)]
        return [params["request"]["url"] for params in asked]


def show(browser: Browser, folder: Path, findings: Findings, width: int = 1280) -> None:
    """Open the report of some findings."""
    path = folder / "report.html"
    path.write_bytes(page_bytes(findings))
    browser.open(path, width)


def is_request(event: Any) -> bool:
    """Whether an event of the DevTools protocol says that something is asked for."""
    return bool(event["message"]["method"] == "Network.requestWillBeSent")


def until(done: Callable[[], bool], what: str) -> None:
    """Wait for `done`; AssertionError after 20 seconds."""
    end = time.monotonic() + _WAIT_SECONDS
    while not done():
        assert time.monotonic() < end, f"never came true: {what}"
        time.sleep(0.05)


@contextmanager
def browsing(profile: Path) -> Iterator[Browser]:
    """A browser with an empty profile, closed at the end."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(browser_path())
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


def show_two_groups(browser: Browser, folder: Path) -> Browser:
    """Open a report of `GROUPS`, scrolled to the first chart of accuracy, once that is drawn."""
    show(browser, folder, make_findings(groups=GROUPS))
    browser.script("document.querySelector('#group-0 [data-part=cost]').scrollIntoView()")
    browser.wait(f"{MARKS}.length > 0")
    return browser


def fill(browser: Browser, text: str) -> None:
    """Type into the box that finds runs."""
    box = browser.driver.find_element("id", "find")
    box.clear()
    box.send_keys(text)
