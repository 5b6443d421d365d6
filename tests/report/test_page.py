"""The report's page: its content, and its behaviour in a browser."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser
from itertools import combinations

import kept
import numpy as np
import pytest
import runs
from PIL import Image

from mamlbench.figures import style
from mamlbench.report import readme
from mamlbench.report.page import page
from mamlbench.report.report import report_folders, report_tables

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars"),
)
PHONE, DESKTOP = (360, 740), (1280, 900)
SENT = "Network.requestWillBeSent"


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """A page with a paper's table, three settings, and a name that looks like HTML."""
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


def test_every_link_has_its_place_and_none_leads_outside(html):
    parser, attributes = HTMLParser(), []
    parser.handle_starttag = lambda tag, found: attributes.extend(found)
    parser.feed(html)
    addresses = [v for name, v in attributes if name in ("href", "src", "action", "srcset")]
    places = {f"#{value}" for name, value in attributes if name == "id"}
    assert {address for address in addresses if not address.startswith("data:")} <= places
    # each number leads to its command and config
    scores = re.findall(r'<a class="score" href="#(run-\d+)">([^<]+)</a>', html)
    # step 1 of Table 2, steps 0 to 2 of Figure 3, the settings, and their differences
    assert len(scores) == 1 + 3 + 3 + 3
    for anchor, _ in scores:
        part = html.split(f'<details id="{anchor}"')[1].split("<details id=")[0]
        assert "<code>mamlbench experiment=maml/sinusoid seed=0</code>" in part
        assert "inner_lr: 0.0" in part


def test_names_are_text_and_never_html(html):
    assert "<b>outputs" not in html
    assert "&lt;b&gt;outputs &amp; more&lt;/b&gt;/bad" in html


def test_data_are_generated_hashed_or_not(tmp_path):
    config = kept.composed(*kept.SINUSOID)
    of_files = {**config, "dataset": {**config["dataset"], "root": "data"}}
    kept.keep(tmp_path / "generated", config)
    kept.keep(tmp_path / "hashed", of_files, data_sha256="a" * 64)
    kept.keep(tmp_path / "unknown", of_files, kept.SCORES + 1)
    told = re.findall(r"<dt>data</dt>\s*<dd>(.*?)</dd>", page(report_folders([tmp_path])))
    assert sorted(set(told)) == ["generated", "not hashed", f"sha256 {'a' * 16}…"]


def test_figures_take_the_pages_colours(html):
    drawn = re.findall(r"<svg xmlns.*?</svg>", html, flags=re.DOTALL)
    assert len(drawn) == 3
    for svg in drawn:
        assert "var(--ink)" in svg
        assert "var(--curve0)" in svg
        assert "#222222" not in svg
        assert not re.search(r"<svg[^>]* (width|height)=", svg)


def test_what_two_papers_print_is_counted_once(tmp_path):
    config = kept.composed("experiment=maml/omniglot_5way1shot", "evaluation.tasks=4")
    kept.keep(tmp_path / "run", config, kept.SCORES / 10, metric="accuracy")
    found = report_folders([tmp_path])
    assert [paper.table.name for paper in found.papers] == ["maml_omniglot", "reptile_omniglot"]
    told = re.search(r"\n1 of \d+ published numbers are measured: 1 (\w+)", readme.block(found))
    assert f"<dt>{told[1]}</dt><dd>1</dd>" in page(found)
    everything = report_tables(["maml_omniglot", "reptile_omniglot"], [tmp_path])
    cells = {
        (cell.run, cell.published_text)
        for paper in everything.papers
        for cell in paper.table.cells
        if cell.run is not None
    }
    assert f"<dt>not run</dt><dd>{len(cells) - 1}</dd>" in page(everything)


def test_the_criterion_reads_on_from_the_verdict(tmp_path):
    config = kept.composed("experiment=maml/omniglot_5way1shot")
    kept.keep(tmp_path / "run", config, kept.SCORES / 100, metric="accuracy")
    made = page(report_folders([tmp_path]))
    verdicts = re.findall(r'"verdict worse">(\w+)</span> <span class="why">([^<]+)<', made)
    assert ("below", "by more than the printed interval") in verdicts


# Machado, Oliveira and Fernandes' matrices for vision without one kind of cones, in linear RGB
VISIONS = {
    "all": np.eye(3),
    "no long": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "no middle": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "no short": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def linear(colour):
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def oklab(rgb):
    cones = [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
    to_lab = [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
    return to_lab @ np.cbrt(cones @ np.clip(rgb, 0, 1))


def luminance(colour):
    return linear(colour) @ [0.2126, 0.7152, 0.0722] + 0.05


def test_everybody_tells_the_curves_apart(html):
    css = html.partition("</style>")[0]
    themes = re.findall(r"--page:.*?\}", css, flags=re.DOTALL)
    assert len(themes) == 3
    assert themes[1].split() == themes[2].split()  # dark by system setting, and by the button
    for theme in themes[:2]:
        curves = re.findall(r"--curve\d: (#\w{6});", theme)
        assert len(curves) == len(style.CURVES)
        card = luminance(re.search(r"--card: (#\w{6});", theme)[1])
        for colour in curves:
            assert max(card, luminance(colour)) >= 2.95 * min(card, luminance(colour))
        for matrix in VISIONS.values():
            seen = [oklab(matrix @ linear(colour)) for colour in curves]
            apart = [np.linalg.norm(one - other) for one, other in combinations(seen, 2)]
            assert min(apart) > 0.08


@pytest.fixture(scope="module")
def falling(tmp_path_factory):
    """A page of three settings whose accuracies are 5 and 55 points apart."""
    folder = tmp_path_factory.mktemp("falling")
    config = kept.composed(*kept.SINUSOID)
    for number, lost in enumerate((0.0, 0.05, 0.6)):
        rate = {**config["algorithm"], "inner_lr": (number + 1) / 100}
        scores = 0.2 * kept.SCORES[1:] + 0.7 - lost * np.array([0.9, 1.1, 0.9, 1.1])
        changed = {**config, "algorithm": rate}
        kept.keep(folder / str(number), changed, scores, seed=number, metric="accuracy")
    return page(report_folders([folder]))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Headless Chromium from Debian's packages."""
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
    """`opened(size, scheme, text)`: a page in a window of that size and colour scheme."""
    path = tmp_path / "report.html"

    def open_(size, scheme="light", text=html):
        path.write_text(text)
        # reduced motion, because a click does not wait until scrolling has ended
        chosen = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in chosen.items()]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        for kind in ("performance", "browser"):
            browser.get_log(kind)  # discards earlier entries
        browser.get(path.as_uri())
        return browser

    return open_


def screenshot(driver):
    taken = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(taken["data"]))).convert("L"))


TABLES = "#runs-sinusoid-10shot-mse table"


def column(driver, name, tables=TABLES):
    """The texts below the header of that name, in the first table that has it."""
    return driver.execute_script(
        "for (const table of document.querySelectorAll(arguments[1])) {"
        " const heads = [...table.tHead.rows[0].cells].map(cell => cell.innerText.trim());"
        " const n = heads.indexOf(arguments[0]);"
        " if (n >= 0) return [...table.tBodies[0].rows].map(r => r.cells[n].innerText.trim()) }",
        *(name, tables),
    )


def test_a_click_sorts_a_column(opened):
    driver = opened(DESKTOP)
    selector = f"{TABLES} thead th:nth-child(2)"
    head = driver.find_element("css selector", selector)
    before = column(driver, "MSE")
    assert before == ["0.450 ± 0.130", "0.550 ± 0.276", "1.550 ± 0.276"]
    for order, rows in (("ascending", before), ("descending", before[::-1])):
        head.find_element("tag name", "button").click()
        assert head.get_attribute("aria-sort") == order
        assert column(driver, "MSE") == rows
    # rows move as a whole
    assert column(driver, "learner")[0] == "maml inner_lr=0.03"


def test_differences_are_sorted_as_numbers(opened, falling):
    driver = opened(DESKTOP, text=falling)
    tables = "#runs-sinusoid-10shot-accuracy table"
    name = "difference (± 95%, paired)"
    before = ["−5.00 ± 0.92", "−60.00 ± 11.02", "−55.00 ± 10.11"]
    assert column(driver, name, tables) == before
    for order in ([1, 2, 0], [0, 2, 1]):
        driver.find_element("xpath", f"//button[starts-with(., '{name}')]").click()
        assert column(driver, name, tables) == [before[n] for n in order]
    # the number links to the command of one result, the name to that of the other
    row = driver.find_elements("css selector", f"{tables} tbody tr")[-1]
    links = row.find_elements("tag name", "a")
    assert [link.text for link in links] == ["−60.00 ± 11.02", "maml inner_lr=0.01"]
    for link, seed in zip(links, (2, 0), strict=True):
        anchor = link.get_attribute("href").partition("#")[2]
        part = driver.find_element("id", anchor).get_attribute("textContent")
        assert f"mamlbench experiment=maml/sinusoid seed={seed}" in part


def test_a_number_opens_its_command(opened):
    driver = opened(DESKTOP)
    driver.find_element("css selector", "#table-maml_sinusoid .score").click()
    (details,) = driver.find_elements("css selector", "details.run[open]")
    assert "mamlbench experiment=maml/sinusoid seed=0" in details.text


def test_nothing_leaves_the_page_and_nothing_fails_in_it(opened):
    driver = opened(DESKTOP)
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == SENT]
    assert [url.split(":")[0] for url in asked] in (["file"], ["file", "data"])
    assert driver.get_log("browser") == []


@pytest.mark.parametrize("size", [PHONE, (768, 1024), DESKTOP])
def test_nothing_is_wider_than_the_window(opened, size, html):
    assert '<div class="notes"><p>' in html
    path = '<div class="notes"><p>' + "a_long_path" * 20
    driver = opened(size, text=html.replace('<div class="notes"><p>', path))
    driver.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true })")
    width = driver.execute_script("return document.documentElement.scrollWidth")
    assert width <= size[0]
    cut = driver.execute_script(
        "return [...document.querySelectorAll('main *')].filter(e => !e.closest('svg, pre')"
        " && !e.closest('.hidden, .scroll table')"
        " && e.getBoundingClientRect().right > innerWidth + 1)"
        ".map(e => e.outerHTML.slice(0, 80))"
    )
    assert cut == []


BOXES = """
document.querySelectorAll('details').forEach(part => { part.open = true });
for (const box of document.querySelectorAll('.scroll, .drawing')) box.scrollLeft = arguments[1];
return [...document.querySelectorAll(arguments[0])].map(part => {
  const b = part.getBoundingClientRect(); return [b.left, b.right, b.height] })
"""


@pytest.mark.parametrize("width", [PHONE[0], 400, 820])
def test_a_row_is_three_lines_on_a_small_screen(opened, width):
    driver = opened((width, 740))

    def boxes(parts, moved=0):
        return driver.execute_script(BOXES, parts, moved)

    rows = boxes("tbody tr")
    assert len(rows) == 3 + 11 + 3 + 3
    assert max(height for *_, height in rows) < 96
    numbers = boxes("tbody tr > :nth-child(-n + 3), tbody .score")
    verdicts = boxes("tbody .verdict, tbody .why, .paired td:last-child a")
    assert len(verdicts) >= 3 + 11 + 3
    assert all(left >= 0 and right <= width for left, right, _ in numbers + verdicts)
    for stays in ("tbody th", ".verdict", ".paired td:last-child a"):
        assert boxes(stays, 60) == pytest.approx(np.array(boxes(stays)), abs=1)
    assert driver.execute_script("return document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("selector", [".scroll:has(.published)", ".drawing"])
def test_a_shade_is_where_there_is_more(opened, selector, scheme):
    driver = opened(PHONE, scheme)
    box = driver.find_element("css selector", selector)
    edges = int(box.rect["x"]) + 3, int(box.rect["x"] + box.rect["width"]) - 3
    move = "arguments[0].scrollIntoView(); arguments[0].scrollLeft = arguments[1]"
    for moved, shaded in ((0, [False, True]), (999, [True, False])):
        driver.execute_script(move, box, moved)
        seen = np.median(screenshot(driver)[:150], axis=0)
        assert [abs(seen[x] - seen[PHONE[0] // 2]) > 10 for x in edges] == shaded


def test_text_in_a_figure_is_not_tiny_on_a_phone(opened):
    texts = opened(PHONE).execute_script(BOXES, ".drawing text", 0)
    assert min(height for *_, height in texts) > 10


def test_points_of_a_figure_are_folded_below_it(opened):
    driver = opened(PHONE)
    part = driver.find_element("css selector", "#table-maml_sinusoid_steps .folded")
    assert part.get_attribute("open") is None
    assert re.fullmatch("11 points as numbers: (3 shortened, )?8 not run", part.text)
    assert part.location["y"] > driver.find_element("tag name", "figure").location["y"]
    part.find_element("tag name", "summary").click()
    assert part.find_element("css selector", ".score").is_displayed()
    # parts that are open on a desktop are folded on a phone
    opened_parts = "return document.querySelectorAll('main details[open]').length"
    assert opened(PHONE).execute_script(opened_parts) == 0
    assert opened(DESKTOP).execute_script(opened_parts) == 2  # contents, differences


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
    # text stands out from its background
    assert light.min() < 60
    assert dark.max() > 200
