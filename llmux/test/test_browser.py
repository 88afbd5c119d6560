"""
The page of operators, in a real browser: Chromium without a window, driven by
selenium.

Where C{LLMUX_SCREENSHOTS} names a folder, pictures of the page are kept there.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import os
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

import yaml

from llmux.test._http import request
from llmux.test._processes import Processes, eventually, needsPrograms
from llmux.test._service import ProcessTestCase, Service

#: So that nothing is asked of anybody but llmux.
SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

#: Roles of what can be worked with, in Chromium's tree for assistive programs.
CONTROLS = {"button", "combobox", "textbox", "link"}


def needsBrowser() -> str | None:
    """
    Why tests with a browser have to be skipped, if they have to.
    """
    if find_spec("selenium") is None:
        return "needs PyPI's selenium"
    return needsPrograms("chromium", "chromedriver", "curl")


@cache
def browser() -> Any:
    """
    The browser of all tests, as it takes seconds to start one.
    """
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service as Driver

    processes = Processes()
    options = webdriver.ChromeOptions()
    options.binary_location = str(which("chromium"))
    for switch in (*SWITCHES, f"--user-data-dir={processes.folder / 'profile'}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = Driver(which("chromedriver"), env=processes.environment())
    driver: Any = webdriver.Chrome(options=options, service=service)

    def end() -> None:
        with contextlib.suppress(Exception):
            driver.quit()
        processes.end()

    atexit.register(end)
    return driver


class BrowserTestCase(ProcessTestCase):
    """
    A test with a browser.
    """

    skip = needsBrowser()

    def open(self, service: Service) -> None:
        """
        Open the page.
        """
        self.browser = browser()
        self.addCleanup(self.browser.get, "about:blank")
        self.size(1280, 900)
        self.scheme("light")
        self.browser.get_log("browser")
        self.browser.get(f"{service.url}/llmux/")

    def size(self, width: int, height: int) -> None:
        """
        Have a screen of some size.
        """
        self.browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {
                "width": width,
                "height": height,
                "deviceScaleFactor": 1,
                "mobile": width < 600,
            },
        )

    def scheme(self, name: str) -> None:
        """
        Be somebody who likes it C{light} or C{dark}.
        """
        feature = {"name": "prefers-color-scheme", "value": name}
        self.browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [feature]}
        )

    def find(self, selector: str) -> Any:
        """
        An element.
        """
        return self.browser.find_element("css selector", selector)

    def text(self, selector: str) -> str:
        """
        What an element says; empty if it is not there or not to be seen.
        """
        from selenium.common.exceptions import (
            NoSuchElementException,
            StaleElementReferenceException,
        )

        with contextlib.suppress(
            NoSuchElementException, StaleElementReferenceException
        ):
            return str(self.find(selector).text)
        return ""

    def run_(self, script: str) -> Any:
        """
        What a script returns.
        """
        return self.browser.execute_script(script)

    def until(self, selector: str, words: str) -> None:
        """
        Wait until an element says something.
        """
        eventually(lambda: words in self.text(selector), f"{selector} says {words!r}")

    def picture(self, name: str) -> bytes:
        """
        Make a picture of the whole page, and keep it.
        """
        made = self.browser.execute_cdp_cmd(
            "Page.captureScreenshot", {"captureBeyondViewport": True}
        )
        folder = Path(os.environ.get("LLMUX_SCREENSHOTS") or self.mktemp())
        folder.mkdir(parents=True, exist_ok=True)
        data = base64.b64decode(made["data"])
        (folder / f"{name}.png").write_bytes(data)
        return data

    def complaints(self) -> list[str]:
        """
        What the browser has complained of, but that the page says itself.
        """
        return [
            entry["message"]
            for entry in self.browser.get_log("browser")
            if not re.search("status of (401|403|409|503)", entry["message"])
        ]

    def tree(self) -> list[tuple[str, str]]:
        """
        The roles and names of all that a screen reader is told of.
        """
        self.browser.execute_cdp_cmd("Accessibility.enable", {})
        nodes = self.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node.get("ignored") and "role" in node
        ]


class PageTests(BrowserTestCase):
    """
    Tests of C{/llmux/}.
    """

    def card(self, model: str) -> str:
        """
        Where a model is on the page.
        """
        return f'#models [data-model="{model}"]'

    def click(self, model: str, act: str) -> None:
        """
        Press a model's button.
        """
        self.find(f'{self.card(model)} [data-act="{act}"]').click()

    @contextlib.contextmanager
    def page(self, **more: Any) -> Iterator[Service]:
        """
        llmux with two models, and its page.
        """
        settings = self.settings(*self.backends("llama", "mistral"), **more)
        for name, model in settings["models"].items():
            model["wake"] = f"echo loading {name}\n{model['wake']}"
        service = self.serve(settings)
        self.open(service)
        yield service
        self.assertEqual(self.complaints(), [])

    def test_switch(self) -> None:
        """
        An operator sees what is awake, wakes another model and watches the
        switch happen: who drains, how far it is, and what hooks print; the
        focus stays where it is, and the page says aloud what happened.
        """
        with self.page() as service:
            self.until("#link", "live")
            self.until(f"{self.card('llama')} .badge", "asleep")
            self.click("llama", "wake")
            self.until(f"{self.card('llama')} .badge", "awake")
            self.until("#logs", "loading llama")
            stream = service.stream("llama", tokens=10000, rate=5)
            self.addCleanup(stream.close)
            stream.next()
            self.until(f"{self.card('llama')} .facts", "in flight\n1\noldest")

            self.click("mistral", "wake")
            self.until("#switches h3", "mistral in the place of llama")
            self.until("#switches [aria-current]", "draining")
            self.until("#switches p", "left")
            self.assertLess(
                0, self.run_("return document.querySelector('progress').value")
            )
            self.until(f"{self.card('llama')} .badge", "draining")
            self.until(f"{self.card('mistral')} .facts", "waiting\n1\noldest")
            self.assertTrue(self.picture("switch").startswith(b"\x89PNG"))
            focused = self.run_(
                "return document.activeElement.getAttribute('aria-label')"
            )
            self.assertEqual(focused, "Wake: mistral")
            stream.close()

            self.until(f"{self.card('mistral')} .badge", "awake")
            self.until(f"{self.card('llama')} .badge", "asleep")
            eventually(lambda: not self.find("#now").is_displayed(), "it is over")
            said = self.run_("return document.getElementById('told').textContent")
            self.assertEqual(said, "mistral is awake")
            self.until("#past li", "mistral: woken in")
            focused = self.run_(
                "return document.activeElement.getAttribute('aria-label')"
            )
            self.assertEqual(focused, "Wake: mistral")
            eventually(
                lambda: (
                    "draining"
                    in self.run_(
                        "return document.querySelector('#hour [role=img]')"
                        ".getAttribute('aria-label')"
                    )
                ),
                "the timeline shows it",
            )
            self.click("mistral", "sleep")
            self.until(f"{self.card('mistral')} .badge", "asleep")

    def test_prompt(self) -> None:
        """
        A prompt is sent, by the keyboard alone, and its answer streams; an
        answer can be stopped.
        """
        from selenium.webdriver import Keys

        with self.page() as service:
            self.until("#try-model", "llama")
            prompt = self.find("#try-prompt")
            prompt.clear()
            prompt.send_keys("Good morning", Keys.CONTROL, Keys.ENTER)
            self.until("#try-answer", "llama: ")
            self.until("#try-state", "pieces in")
            eventually(lambda: "llama" in self.browser.title, "it is awake")
            # A pause between words, so that it is still going on.
            self.run_(
                "const real = fetch; window.fetch = (path, options) => real(path, {"
                "...options, headers: {...options.headers, 'X-Demo-Tokens': '9999',"
                "'X-Demo-Tokens-Per-Second': '20'}})"
            )
            self.find("#try-send").click()
            self.until("#try-state", "began after")
            self.find("#try-stop").click()
            self.until("#try-state", "stopped")
            eventually(
                lambda: (
                    service.get("/llmux/status").json()["models"][0]["in_flight"] == 0
                ),
                "nothing is in flight",
            )

    def test_refusal(self) -> None:
        """
        What llmux refuses is said, and can be put aside.
        """
        with self.page(model={"wake": "exit 3"}):
            self.until("#link", "live")
            self.click("llama", "wake")
            self.until("#alert", "'llama' could not be woken")
            self.until(f"{self.card('llama')} .error", "wake failed")
            self.until(f"{self.card('llama')} .error", "exit status")
            self.find("#alert-close").click()
            self.assertFalse(self.find("#alert").is_displayed())

    def test_everybody(self) -> None:
        """
        The page can be used on a narrow screen, in the dark, and by a screen
        reader: nothing is cut off, the colours are others, there are
        landmarks, and every control has a name of its own.
        """
        with self.page(resources={"gpu": 24}, model={"needs": {"gpu": 24}}):
            self.until(f"{self.card('llama')} .badge", "asleep")
            self.picture("light")
            ground = "return getComputedStyle(document.body).backgroundColor"
            light = self.run_(ground)
            self.scheme("dark")
            self.assertNotEqual(self.run_(ground), light)
            self.picture("dark")
            self.size(375, 800)
            width = "return document.documentElement.scrollWidth"
            eventually(lambda: self.run_("return innerWidth") == 375, "it is narrow")
            self.assertEqual(self.run_(width), 375)
            self.picture("narrow")
            tree = self.tree()
            roles = {role for role, _ in tree}
            self.assertLessEqual({"banner", "main", "contentinfo", "log"}, roles)
            regions = {name for role, name in tree if role == "region"}
            self.assertLessEqual({"Models", "The last hour", "Try a model"}, regions)
            controls = [(role, name) for role, name in tree if role in CONTROLS]
            self.assertGreater(len(controls), 8)
            self.assertNotIn("", [name for _, name in controls])
            buttons = [name for role, name in controls if role == "button"]
            self.assertEqual(len(buttons), len(set(buttons)), buttons)

    def test_key(self) -> None:
        """
        Where there are keys, the page is shown and asks for one, until it is
        one for operators; then everything is as elsewhere, prompts as well.
        """
        keys = {
            "somebody": {"key": "sk-somebody"},
            "admin": {"key": "sk-admin", "operator": True},
        }
        with self.page(api_keys=keys):
            eventually(self.find("#ask").is_displayed, "a key is asked for")
            for key, why in (
                ("nonsense", "missing or wrong"),
                ("sk-somebody", "not for"),
            ):
                self.find("#ask-key").send_keys(key)
                self.find("#ask-form button").click()
                self.until("#ask-why", why)
                eventually(self.find("#ask").is_displayed, "it is asked for again")
            self.find("#ask-key").send_keys("sk-admin")
            self.find("#ask-form button").click()
            self.until("#link", "live")
            self.click("llama", "wake")
            self.until(f"{self.card('llama')} .badge", "awake")
            self.until("#logs", "loading llama")
            self.find("#try-send").click()
            self.until("#try-answer", "llama: ")
            self.assertFalse(self.find("#ask").is_displayed())

    def test_reload(self) -> None:
        """
        Models that come and go with another configuration do so on the page.
        """
        with self.page() as service:
            self.until(f"{self.card('llama')} .badge", "asleep")
            path = self.folder / "config.yaml"
            settings = yaml.safe_load(path.read_text("utf-8"))
            settings["models"]["qwen"] = settings["models"].pop("mistral")
            self.configuration(settings)
            answer = request(service.url, "POST", "/llmux/reload")
            self.assertEqual(answer.status, 200, answer.body)
            self.until(f"{self.card('qwen')} .badge", "asleep")
            eventually(lambda: not self.text(self.card("mistral")), "mistral is gone")
            self.assertEqual(self.find("#logs-model").text.split(), ["llama", "qwen"])

    def test_restart(self) -> None:
        """
        When llmux is away the page says so, and when it is back it goes on.
        """
        with self.page() as service:
            self.until("#link", "live")
            service.stop()
            self.until("#link", "connection lost")
            self.browser.get_log("browser")
            config = self.folder / "config.yaml"
            self.serve(config, port=service.port)
            self.until("#link", "live")
            # That nobody was there was not worth a complaint of its own.
            self.browser.get_log("browser")
