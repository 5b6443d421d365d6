"""The report's page: what is in it, and how it works in a browser."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser

import kept
import numpy as np
import pytest
import runs
from PIL import Image

from mamlbench.report.page import page
from mamlbench.report.report import report_folders

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars"),
)
PHONE, DESKTOP = (360, 740), (1280, 900)


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """A page with a paper's table, three settings, and a name that is HTML."""
    folder = tmp_path_factory.mktemp("runs") / "<b>outputs & more</b>"
    config = kept.composed(*kept.SINUSOID)
    for seed in (0, 1):
        kept.keep(folder / f"a{seed}", config, kept.SCORES + seed / 10, seed=seed)
    for number, rate in enumerate((0.02, 0.03)):
        changed = {**config, "algorithm": {**config["algorithm"], "inner_lr": rate}}
        kept.keep(folder / f"b{number}", changed, kept.SCORES + np.arange(4) / 10 + number)
    (folder / "bad").mkdir()
    (folder / "bad" / "summary.json").write_text("{}")
    return page(report_folders([folder]))


class _Checked(HTMLParser):
    """Ids, links within the page, and addresses outside of it."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            elif name == "href" and value.startswith("#"):
                self.links.append(value[1:])
            elif name in ("href", "src", "action", "srcset") and not value.startswith("data:"):
                self.outside.append(value)


def test_every_link_has_its_place_and_none_leads_outside(html):
    found = _Checked()
    found.feed(html)
    assert set(found.links) <= set(found.ids)
    assert found.outside == []
    # each number leads to its command and config
    scores = re.findall(r'<a class="score" href="#(run-\d+)">([^<]+)</a>', html)
    assert len(scores) == 1 + 3 + 3  # steps 1 of Table 2, 0 to 2 of Figure 3, and the settings
    for anchor, _ in scores:
        part = html.split(f'<details id="{anchor}"')[1].split("<details id=")[0]
        assert "<code>mamlbench experiment=maml/sinusoid seed=0</code>" in part
        assert "inner_lr: 0.0" in part


def test_names_are_text_and_never_html(html):
    assert "<b>outputs" not in html
    assert "&lt;b&gt;outputs &amp; more&lt;/b&gt;/bad/summary.json" in html


def test_figures_take_the_pages_colours(html):
    drawn = re.findall(r"<svg xmlns.*?</svg>", html, flags=re.DOTALL)
    assert len(drawn) == 3
    for svg in drawn:
        assert "var(--ink)" in svg
        assert "var(--curve0)" in svg
        assert "#222222" not in svg
        assert not re.search(r"<svg[^>]* (width|height)=", svg)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Chromium without a window, by Debian's packages."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    from selenium.webdriver.chrome.service import Service

    paths = [shutil.which("chromium"), shutil.which("chromedriver")]
    if None in paths:
        runs.lacking("needs Debian's packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = paths[0]
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(paths[1]))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, html, tmp_path):
    """`opened(size, scheme)`: the page in a window of that size and colour scheme."""
    path = tmp_path / "report.html"
    path.write_text(html)

    def open_(size, scheme="light"):
        # without motion, since a click does not wait until scrolling has ended
        chosen = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in chosen.items()]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        for kind in ("performance", "browser"):
            browser.get_log(kind)  # what was before
        browser.get(path.as_uri())
        return browser

    return open_


def screenshot(driver):
    taken = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(taken["data"]))).convert("L"))


def column(driver, name):
    return driver.execute_script(
        "const table = document.querySelector('#runs-sinusoid-10shot-mse table');"
        "return [...table.querySelectorAll(`tbody [data-label='${arguments[0]}']`)]"
        ".map(cell => cell.textContent.trim())",
        name,
    )


def test_a_click_sorts_a_column(opened):
    driver = opened(DESKTOP)
    selector = "#runs-sinusoid-10shot-mse thead th:nth-child(2)"
    head = driver.find_element("css selector", selector)
    before = column(driver, "MSE")
    assert before == ["0.450 ± 0.130", "0.550 ± 0.276", "1.550 ± 0.276"]
    head.find_element("tag name", "button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(driver, "MSE") == before
    head.find_element("tag name", "button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert column(driver, "MSE") == before[::-1]
    # the rows move as a whole
    assert column(driver, "learner")[0] == "maml inner_lr=0.03"


def test_a_number_opens_its_command(opened):
    driver = opened(DESKTOP)
    driver.find_element("css selector", "#table-maml_sinusoid .score").click()
    (details,) = driver.find_elements("css selector", "details.run[open]")
    assert "mamlbench experiment=maml/sinusoid seed=0" in details.text


def test_nothing_leaves_the_page_and_nothing_fails_in_it(opened):
    driver = opened(DESKTOP)
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert [url.split(":")[0] for url in asked] in (["file"], ["file", "data"])
    assert driver.get_log("browser") == []


@pytest.mark.parametrize("size", [PHONE, (768, 1024), DESKTOP])
def test_nothing_is_wider_than_the_window(opened, size):
    driver = opened(size)
    for details in driver.find_elements("tag name", "details"):
        driver.execute_script("arguments[0].open = true", details)
    width = driver.execute_script("return document.documentElement.scrollWidth")
    assert width <= size[0]
    cut = driver.execute_script(
        "return [...document.querySelectorAll('main *')].filter(e => !e.closest('svg, pre')"
        " && !e.closest('.hidden') && e.getBoundingClientRect().right > innerWidth + 1)"
        ".map(e => e.outerHTML.slice(0, 80))"
    )
    assert cut == []


def test_light_and_dark_by_the_systems_choice_and_by_the_button(opened):
    light = screenshot(opened(DESKTOP, "light"))
    driver = opened(DESKTOP, "dark")
    dark = screenshot(driver)
    assert light.shape == dark.shape == DESKTOP[::-1]
    assert np.median(light) > 230
    assert np.median(dark) < 50
    button = driver.find_element("id", "theme")
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert np.median(screenshot(driver)) > 230
    # text stands out from what is behind it
    assert light.min() < 60
    assert dark.max() > 200
