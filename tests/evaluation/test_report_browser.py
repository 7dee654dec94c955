"""The report in a real browser, from disk, on a desk and on a phone."""

import json
import os
import shutil

import pytest

from btk_punet import compare

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)

# On a user's machine the tests are skipped where there is no browser, in CI they fail.
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER) and not os.environ.get("CI"),
    reason="chromium and chromedriver are not installed: apt-get install chromium chromium-driver",
)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser") / "run"
    compare(folder, ["sep", "probaunet"], n_blends=4, batch_size=4, progress=False)
    return folder / "report.html"


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver")
    assert CHROMIUM and DRIVER, "apt-get install chromium chromium-driver"
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=DRIVER)
    browser = webdriver.Chrome(options=options, service=service)
    yield browser
    browser.quit()


@pytest.fixture(scope="module", params=SIZES)
def page(request, driver, report):
    """The browser with the report open."""
    width, height = SIZES[request.param]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    for log in ("browser", "performance"):
        driver.get_log(log)  # what came before
    driver.get(report.as_uri())
    assert driver.execute_script("return window.innerWidth") == width
    return driver


@pytest.fixture(scope="module")
def console(page):
    return page.get_log("browser")


@pytest.fixture(scope="module")
def requests(page):
    """Addresses that were asked for."""
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


def test_console_is_silent(console):
    assert console == []


def test_nothing_is_fetched(page, requests):
    assert any(url.startswith("file:") for url in requests)
    assert {url.partition(":")[0] for url in requests} <= {"file", "data"}
    entries = page.execute_script("return performance.getEntries().map(e => e.name)")
    assert not [name for name in entries if name.startswith(("http:", "https:"))]


def test_page_is_not_wider_than_the_screen(page):
    wide, inner = page.execute_script(
        "return [document.documentElement.scrollWidth, window.innerWidth]"
    )
    assert wide <= inner
    # What is wider scrolls in a box of its own; nothing else reaches beyond the screen.
    outside = page.execute_script(
        "return [...document.body.querySelectorAll('*')]"
        ".filter(e => !e.closest('.scroll') && e.getBoundingClientRect().right > innerWidth + 0.5)"
        ".map(e => e.outerHTML.slice(0, 80))"
    )
    assert outside == []


def test_images_are_there_and_said_in_words(page):
    images = page.execute_script(
        "return [...document.images].map(i => [i.naturalWidth, i.clientWidth, i.alt])"
    )
    # Of every section, and the scenes among them.
    assert len(images) > 10
    assert all(natural > 0 and shown > 100 for natural, shown, _ in images)
    assert all(alt.startswith("Plot: ") and alt.endswith(".") for *_, alt in images)
    assert any("class mean looks like the true classes" in alt for *_, alt in images)


def test_headings_are_in_order(page):
    levels = page.execute_script(
        "return [...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => +h.tagName[1])"
    )
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))


def test_links_lead_somewhere(page):
    lost = page.execute_script(
        "return [...document.links].map(a => a.hash)"
        ".filter(h => !document.getElementById(h.slice(1)))"
    )
    assert lost == []
    assert page.execute_script("return document.links.length") > 5


def test_page_stays_light_where_the_system_is_dark(page):
    media = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    colour = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert colour == "rgb(255, 255, 255)"
