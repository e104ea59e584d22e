"""One built site, one browser, and one visit to each page, from which all checks read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from visiting import Visit, look_at

ROOT = Path(__file__).parents[2]
BROWSERS = [
    os.environ.get("RNNBOOK_BROWSER", ""),
    "chromium",
    "chromium-browser",
    "google-chrome",
    "chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    *(  # Windows has it, but not on the path
        f"{os.environ[folder]}/Google/Chrome/Application/chrome.exe"
        for folder in ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA")
        if folder in os.environ
    ),
]
QUIET = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"]


try:
    from tools.chapters import pages, read_yaml
except ModuleNotFoundError:  # where only NumPy is; the tests are skipped
    TOC = []
else:
    TOC = pages(read_yaml("_toc.yml"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def toc() -> list[str]:
    return TOC


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of the built HTML, built first where it is stale (RNNBOOK_SITE names another)."""
    if "RNNBOOK_SITE" in os.environ:
        return Path(os.environ["RNNBOOK_SITE"]).resolve()
    subprocess.run([sys.executable, "-m", "tools.build"], cwd=ROOT, check=True)
    return ROOT / "_build/html"


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="the browser tests need the package playwright"
    )
    program = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if program is None:
        absent = pytest.fail if os.environ.get("CI") else pytest.skip  # in CI nothing is left out
        absent("no Chromium or Chrome found: install one, or name it in RNNBOOK_BROWSER")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=program, args=QUIET)
        yield running
        running.close()


@pytest.fixture
def tab(browser):
    """A fresh page with the network off."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_offline(True)
    context.set_default_timeout(10_000)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def visits() -> dict[str, Visit]:
    return {}


@pytest.fixture(params=[*TOC, "search"])
def visit(request: pytest.FixtureRequest, site: Path, browser, visits: dict[str, Visit]) -> Visit:
    """The one visit to a page; the checks of all tests read from it."""
    name = request.param
    if name not in visits:
        visits[name] = look_at(browser, (site / f"{name}.html").as_uri())
    return visits[name]
