"""The page in a real headless Chromium: fill, generate, look at the picture; a wrong file, a long
text, two users at once."""

import base64
import io
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medcodi.demo.studies import HeldOut, TrainingBank
from medcodi.demo.studio import MAX_TEXT, Studio
from tests.tiny import SIZE

pytest.importorskip("gradio")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="needs Chromium and its driver (apt-get install chromium chromium-driver)",
    ),
]
WAIT = 240


class Browser:
    """A Chromium that forgets everything when it is closed."""

    def __init__(self, address: str) -> None:
        from selenium.webdriver import Chrome, ChromeOptions, ChromeService

        options = ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1500,2400"):
            options.add_argument(argument)
        self.driver = Chrome(options, ChromeService(DRIVER))
        self.driver.get(address)
        self.find("#generate")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *error: object) -> None:
        self.driver.quit()

    def wait(self, condition):
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, WAIT, 0.1).until(lambda _: condition())

    def find(self, selector: str):
        return self.wait(lambda: self.all(selector) and self.all(selector)[0])

    def all(self, selector: str):
        from selenium.webdriver.common.by import By

        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def click(self, selector: str) -> None:
        self.driver.execute_script("arguments[0].click()", self.find(selector))

    def type(self, selector: str, text: str) -> None:
        self.driver.execute_script(
            "arguments[0].value = arguments[1];"
            "arguments[0].dispatchEvent(new Event('input', {bubbles: true}));",
            self.find(selector),
            text,
        )

    def check(self, selector: str, label: str) -> None:
        """Click the box of that label in a group."""
        box = lambda: [x for x in self.all(f"{selector} label") if x.text.strip() == label]
        self.wait(box)[0].click()

    def picture(self, name: str) -> np.ndarray | None:
        """Greys of the picture in the widget `name`, as the browser shows it."""
        script = """
        const image = document.querySelector(arguments[0] + ' img');
        if (!image || !image.complete || !image.naturalWidth) return null;
        const canvas = document.createElement('canvas');
        canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
        canvas.getContext('2d').drawImage(image, 0, 0);
        return canvas.toDataURL('image/png');
        """
        url = self.driver.execute_script(script, f"#{name}")
        if url is None:
            return None
        with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
            return np.asarray(image.convert("L"))

    def shown(self, name: str) -> np.ndarray:
        """The same, once it is there."""
        self.wait(lambda: self.picture(name) is not None)
        return self.picture(name)

    def text(self) -> str:
        return self.driver.execute_script("return document.body.innerText")


@pytest.fixture(scope="module")
def page(tiny_run, tmp_path_factory):
    """Address of a demo of the tiny run, and the folder of its files."""
    from medcodi.demo import server
    from medcodi.pipeline import MedCoDiPipeline

    pipe = MedCoDiPipeline.from_pretrained(tiny_run.run_dir / "pipeline")
    prepared = tiny_run.data.prepared
    modalities = [pipe.family.modality(name) for name in pipe.modalities]
    bank = TrainingBank(prepared, modalities)
    bank.wait()
    studio = Studio(pipe, HeldOut(prepared, pipe.modalities), bank)
    with server.serving(studio, port=0) as address:
        yield address, Path(os.environ["GRADIO_TEMP_DIR"])


def test_fill_generate_and_look_at_the_picture(page):
    address, _ = page
    assert address.startswith("http://127.0.0.1:")
    with Browser(address) as browser:
        assert "Synthetic. Not for clinical use." in browser.text()
        browser.type("#text-report textarea", "Large left pleural effusion.")
        browser.click("#generate")
        greys = browser.shown("made-frontal")
        assert greys.shape == (512, 512)
        assert greys.std() > 1  # a picture, not a blank
        browser.wait(lambda: "given: typed" in browser.text())
        text = browser.text()
        assert "SYNTHETIC (seed 0, 25 steps)" in text
        assert "phantom-" in text  # the nearest training study


def test_a_drawn_picture_is_a_prompt_until_it_is_taken_out(page, tiny_run):
    address, _ = page
    held_out = HeldOut(tiny_run.data.prepared, ["lateral"])
    number = next(n for n in range(20) if "lateral" in held_out.draw(n).values)
    study = held_out.draw(number)
    with Browser(address) as browser:
        browser.type("#study input", str(number))
        browser.check("#take", "lateral")
        browser.click("#draw")
        shown = Image.fromarray(browser.shown("given-lateral")).resize((SIZE, SIZE))
        greys = np.asarray(shown, float).ravel()
        assert np.corrcoef(greys, study.values["lateral"].ravel())[0, 1] > 0.9
        browser.click("#generate")
        browser.wait(lambda: f"given: held-out study {study.study_id}" in browser.text())
        browser.click("#clear-lateral")
        browser.wait(lambda: browser.picture("given-lateral") is None)
        browser.check("#outputs", "lateral")  # it may be an output again
        browser.click("#generate")
        assert browser.shown("made-lateral").std() > 1
        browser.wait(lambda: "given: held-out study" not in browser.text())


def test_wrong_file_and_long_text_are_told(page, tmp_path):
    address, folder = page
    (tmp_path / "notes.png").write_text("not an image")
    with Browser(address) as browser:
        upload = browser.wait(lambda: browser.all("#file-lateral input[type=file]"))[0]
        upload.send_keys(str(tmp_path / "notes.png"))
        browser.wait(lambda: "notes.png: the file is not a readable image" in browser.text())
        browser.type("#text-report textarea", "x" * (MAX_TEXT + 1))
        browser.click("#generate")
        browser.wait(lambda: "a text of 4,001 characters, at most 4,000" in browser.text())
    assert not list(folder.rglob("notes.png"))


def test_an_upload_is_shown_and_leaves_no_file(page, tmp_path):
    address, folder = page
    grey = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1))
    Image.fromarray(grey).save(tmp_path / "ramp.png")
    with Browser(address) as browser:
        upload = browser.wait(lambda: browser.all("#file-lateral input[type=file]"))[0]
        upload.send_keys(str(tmp_path / "ramp.png"))
        shown = browser.shown("given-lateral")
        assert shown[:, -1].mean() > shown[:, 0].mean() + 150
        assert not list(folder.rglob("ramp.png"))
        browser.click("#generate")
        browser.wait(lambda: "given: uploaded (ramp.png)" in browser.text())


def test_two_users_at_once_see_their_own(page):
    address, _ = page
    with Browser(address) as one, Browser(address) as two:
        one.type("#text-report textarea", "Large left pleural effusion.")
        two.type("#text-report textarea", "No acute abnormality. Normal heart.")
        one.click("#generate")
        two.click("#generate")
        first, second = one.shown("made-frontal"), two.shown("made-frontal")
        time.sleep(0.5)
        assert not np.array_equal(first, second)
        assert "SYNTHETIC" in one.text() and "SYNTHETIC" in two.text()


def test_a_password_keeps_others_out(tiny_pipeline):
    import urllib.error
    import urllib.request

    from medcodi.demo import server

    studio = Studio(tiny_pipeline)
    with (
        server.serving(studio, port=0, password="correct horse battery") as address,
        pytest.raises(urllib.error.HTTPError, match="401"),
    ):
        urllib.request.urlopen(f"{address}config", timeout=30)
