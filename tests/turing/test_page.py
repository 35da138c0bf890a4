"""The page in a real headless Chromium: rate by keyboard, close, open again, go on; look at images;
read no truth."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.turing.conftest import serving
from tests.turing.folders import start_server, write_study

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="needs Chromium and its driver (apt-get install chromium chromium-driver)",
)
ITEM = "return document.getElementById('parts').dataset.item"
GREYS = """
const canvas = document.querySelectorAll('canvas')[arguments[0]], context = canvas.getContext('2d');
const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
let sum = 0; for (let i = 0; i < data.length; i += 4) sum += data[i];
return sum / (data.length / 4);
"""


class Browser:
    """A Chromium that forgets everything when it is closed."""

    def __init__(self, size: str = "1280,800") -> None:
        from selenium.webdriver import Chrome, ChromeOptions, ChromeService

        options = ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in ("--headless", "--no-sandbox", "--disable-gpu", f"--window-size={size}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = Chrome(options, ChromeService(DRIVER))
        self.driver.set_script_timeout(60)

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *error: object) -> None:
        self.driver.quit()

    def press(self, *keys: str) -> None:
        from selenium.webdriver import ActionChains

        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def wait(self, script: str, *arguments: object) -> object:
        """The value of the expression `script` once it is true."""
        from selenium.webdriver.support.ui import WebDriverWait

        wait = WebDriverWait(self.driver, 60, 0.02)
        return wait.until(lambda driver: driver.execute_script(f"return {script}", *arguments))

    def sign_in(self, url: str, code: str) -> None:
        from selenium.webdriver.common.keys import Keys

        self.driver.get(url)
        self.wait("document.activeElement.id === 'code'")
        self.press(code.lower(), Keys.ENTER)
        self.wait(
            "!document.getElementById('sign-in') || document.getElementById('sign-in').hidden"
        )

    def rate(self, score: int) -> str:
        """Press the key of a score; the item that it was for."""
        key = self.driver.execute_script(ITEM)
        self.press(str(score))
        self.wait(
            f"arguments[0] in session.ratings && ({ITEM[7:]} !== arguments[0] || reading.hidden)",
            key,
        )
        return key

    def screenshot(self, name: str) -> None:
        """Kept where TURING_SCREENSHOTS names a folder."""
        if folder := os.environ.get("TURING_SCREENSHOTS"):
            self.driver.save_screenshot(str(Path(folder) / f"{name}.png"))

    def complaints(self) -> list[str]:
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] == "SEVERE"
        ]


def test_rate_close_and_resume(tmp_path):
    """All by keyboard: two tasks with two items each, then a new browser goes on to the end."""
    from selenium.webdriver.common.keys import Keys

    folder, (code, *_) = write_study(tmp_path, num_items=2)
    with serving(folder) as client:
        rated = {}
        with Browser() as browser:
            browser.sign_in(client.server.url, code)
            for task in range(2):
                browser.wait("!document.getElementById('intro').hidden")
                browser.press(Keys.ENTER)
                browser.wait("!document.getElementById('reading').hidden")
                for score in (2 + task, 4)[: 2 - task]:
                    rated[browser.rate(score)] = score
        assert len(rated) == 3
        with Browser() as browser:
            browser.driver.get(f"{client.server.url}#{code}")
            browser.wait("!document.getElementById('intro').hidden")
            assert (
                "Task 2 of 5" in browser.driver.page_source
                and "1 of 2 are rated" in browser.driver.page_source
            )
            for _ in range(4):
                browser.press(Keys.ENTER)
                browser.wait("!document.getElementById('reading').hidden")
                while browser.driver.execute_script(
                    "return document.getElementById('intro').hidden && !reading.hidden"
                ):
                    rated[browser.rate(5)] = 5
            browser.wait("!document.getElementById('done').hidden")
            assert browser.complaints() == []
        assert json.loads(client("GET", "/api/session", reader=code)[2])["ratings"] == rated
        assert len(rated) == 10


@pytest.mark.slow
def test_images_can_be_looked_at(tmp_path):
    """Window, level, zoom, move, invert, reset, the other image: each changes the picture as it
    says."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    folder, (code, *_) = write_study(tmp_path, num_items=2)
    with serving(folder) as client, Browser() as browser:
        browser.sign_in(client.server.url, code)
        browser.wait("!document.getElementById('intro').hidden")
        browser.driver.execute_script("at = {task: 4, item: 0}; showItem()")
        browser.wait("viewers.length === 2 && viewers.every((viewer) => viewer.greys)")

        def grey(index: int = 0) -> float:
            return browser.driver.execute_script(GREYS, index)

        start, other = grey(), grey(1)
        browser.screenshot("pair")
        for keys, brighter in (("eee", True), ("0ddd", False)):
            browser.press(*keys)
            assert (grey() > start) is brighter and grey(1) == other
            browser.press("0")
            assert grey() == start
        browser.press("w", "w", "w", "w")
        assert browser.wait("viewers[0].width === 191") and grey() != start
        browser.press("0", "i")
        assert grey() != start
        browser.press("i")
        assert grey() == start
        browser.press("+", "+")
        zoomed = grey()
        assert browser.wait("viewers[0].zoom > 1.5") and zoomed != start
        ActionChains(browser.driver).key_down(Keys.SHIFT).send_keys(Keys.ARROW_RIGHT).key_up(
            Keys.SHIFT
        ).perform()
        assert browser.wait("viewers[0].x === -40") and grey() != zoomed
        assert browser.driver.execute_script("return at.item") == 0
        browser.press("v", "+")
        assert browser.wait("viewers[1].zoom > 1.2")
        canvas = browser.driver.find_elements("tag name", "canvas")[0]
        ActionChains(browser.driver).click_and_hold(canvas).move_by_offset(
            -60, 20
        ).release().perform()
        assert browser.driver.execute_script(
            "return [active, viewers[0].width, viewers[0].level]"
        ) == [0, 195, 147.5]
        ActionChains(browser.driver).double_click(canvas).perform()
        assert browser.driver.execute_script("return viewers[0].zoom") == 1 and grey() == start
        browser.press("?")
        assert browser.wait("document.getElementById('help').open")
        browser.press("3")  # no rating while the list of keys is open
        browser.press(Keys.ESCAPE)
        assert browser.driver.execute_script("return Object.keys(session.ratings).length") == 0
        browser.press(Keys.ARROW_RIGHT)
        assert browser.driver.execute_script("return at.item") == 1
        assert browser.complaints() == []


@pytest.mark.slow
def test_a_rating_that_is_not_saved_says_so(tmp_path):
    """The server goes away: the page stays at the item and says it; when it is back, the same key
    works."""
    from selenium.webdriver.common.keys import Keys

    folder, (code, *_) = write_study(tmp_path, num_items=2)
    process, url = start_server(folder)
    with Browser() as browser:
        with process:
            browser.sign_in(url, code)
            browser.wait("!document.getElementById('intro').hidden")
            browser.press(Keys.ENTER)
            key = browser.wait("document.getElementById('parts').dataset.item")
            process.kill()
        browser.press("3")
        browser.wait("document.getElementById('status').textContent.startsWith('Not saved')")
        browser.screenshot("not_saved")
        assert browser.driver.execute_script(ITEM) == key
        process, _ = start_server(folder, int(url.rstrip("/").rpartition(":")[2]))
        with process:
            assert browser.rate(3) == key
            process.kill()


@pytest.mark.slow
def test_wrong_code(tmp_path):
    folder, _ = write_study(tmp_path, num_items=2)
    with serving(folder) as client, Browser() as browser:
        browser.driver.get(f"{client.server.url}#NOBODY")
        browser.wait(
            "document.getElementById('sign-in-error').textContent === 'this study does not know "
            "that reader code'"
        )
