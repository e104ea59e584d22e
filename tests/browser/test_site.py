"""The built site as a reader meets it: from disk, with the network off, in a real browser."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytest.importorskip("yaml", reason="the settings of the site are YAML")

import yaml
from visiting import Visit

ROOT = Path(__file__).parents[2]


def test_no_request_leaves_the_disk(visit: Visit) -> None:
    outside = [url for url in visit.requests if not url.startswith(("file:", "data:", "blob:"))]
    assert not outside


def test_console_shows_no_error(visit: Visit) -> None:
    assert not visit.errors


def test_all_mathematics_is_typeset(visit: Visit) -> None:
    assert not visit.bad_math


def test_folds_are_closed_and_open_on_click_and_key(visit: Visit) -> None:
    assert visit.folds_open == 0
    assert not visit.folds_stuck


def test_lines_of_text_have_60_to_80_characters(visit: Visit) -> None:
    assert visit.measure is None or 60 <= visit.measure <= 80


def test_every_figure_is_drawn_in_the_colors_of_the_theme(visit: Visit) -> None:
    assert not visit.figures


def test_axe_finds_nothing_serious_in_light_and_dark(visit: Visit) -> None:
    assert not visit.violations, "\n".join(visit.violations)


def test_page_never_scrolls_sideways(visit: Visit) -> None:
    assert visit.overflow == {1280: 0, 390: 0, 360: 0}


def test_nothing_is_cut_off_on_a_narrow_screen(visit: Visit) -> None:
    assert visit.missed == {390: [], 360: []}


class Page(HTMLParser):
    """The parts of one HTML file that the tests below read."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.language: str | None = None
        self.description = ""
        self.title = ""
        self.in_title = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if attributes.get("id"):
            self.ids.append(attributes["id"])
        self.links += [attributes[key] for key in ("href", "src") if attributes.get(key)]
        if tag == "html":
            self.language = attributes.get("lang")
        elif tag == "img":
            self.images.append(attributes)
        elif tag == "meta" and attributes.get("name") == "description":
            self.description = attributes.get("content") or ""
        self.in_title = tag == "title" and not self.title

    def handle_data(self, data: str) -> None:
        if self.in_title:
            self.title += data


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[str, Page]:
    files = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    return {path.relative_to(site).with_suffix("").as_posix(): Page(path) for path in files}


def test_the_site_has_the_pages_of_the_table_of_contents(
    pages: dict[str, Page], toc: list[str]
) -> None:
    made_by_sphinx = {"index", "search"}
    assert set(pages) - made_by_sphinx == set(toc)


def test_every_image_has_alternative_text(pages: dict[str, Page]) -> None:
    bare = {
        name: image["src"]
        for name, page in pages.items()
        for image in page.images
        if not (image.get("alt") or "").strip() or (image["alt"] or "").startswith("../_images")
    }
    assert not bare


def test_every_page_has_language_title_and_description(
    pages: dict[str, Page], toc: list[str]
) -> None:
    for name in toc:
        assert pages[name].language == "en", name
        assert 50 <= len(pages[name].description) <= 200, f"{name}: {pages[name].description!r}"
    for what in ("title", "description"):
        texts = [getattr(pages[name], what) for name in toc]
        assert len(set(texts)) == len(texts), f"two pages share a {what}"


def test_ids_are_unique(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        twice = {one for one in page.ids if page.ids.count(one) > 1}
        assert not twice, f"{name}: {twice}"


def test_internal_links_and_anchors_resolve(site: Path, pages: dict[str, Page]) -> None:
    anchors = {page.path.resolve(): set(page.ids) for page in pages.values()}
    broken = []
    for name, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            path = unquote(parts.path)
            target = (page.path.parent / path).resolve() if path else page.path.resolve()
            anchor = unquote(parts.fragment)
            if not target.is_file() or (anchor and anchor not in anchors.get(target, {anchor})):
                broken.append(f"{name}: {link}")
    assert not broken


def test_launch_buttons_follow_the_repository_url(pages: dict[str, Page], toc: list[str]) -> None:
    repository = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
    owner_and_name = urlsplit(repository["url"]).path.strip("/")
    branch = repository["branch"]
    for name in (page for page in toc if page.startswith("notebooks/")):
        notebook = f"{name}.ipynb"
        assert {
            f"https://mybinder.org/v2/gh/{owner_and_name}/{branch}?urlpath=lab/tree/{notebook}",
            f"https://colab.research.google.com/github/{owner_and_name}/blob/{branch}/{notebook}",
            f"../_sources/{notebook}",
        } <= set(pages[name].links), name


def test_search_finds_a_term(site: Path, toc: list[str], tab) -> None:
    tab.goto((site / f"{toc[0]}.html").as_uri())
    tab.keyboard.press("Control+k")
    tab.keyboard.type("recurrent")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#search-results li a")
    tab.click("#search-results li a")
    tab.wait_for_selector("article h1")
    assert "recurrent" in tab.inner_text("article").lower()


def test_search_says_when_it_finds_nothing(site: Path, tab) -> None:
    tab.goto((site / "search.html").as_uri() + "?q=xylophonequartet")
    tab.wait_for_selector("#search-results .search-summary")
    tab.wait_for_function("document.querySelector('#search-results').innerText.includes('did not')")
    assert tab.query_selector("#search-results li a") is None


def test_keyboard_reaches_the_text_first(site: Path, toc: list[str], tab) -> None:
    tab.goto((site / f"{toc[0]}.html").as_uri())
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.getAttribute('href')") == "#main-content"
    tab.wait_for_function("document.activeElement.getBoundingClientRect().top >= 0")
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.closest('main') !== null")
    style = "getComputedStyle(document.activeElement)"
    rings = tab.evaluate(f"[{style}.outlineStyle, {style}.boxShadow]")
    assert rings != ["none", "none"], "the focus cannot be seen"


def test_paper_shows_the_text_only(site: Path, toc: list[str], tab) -> None:
    tab.emulate_media(media="print")
    tab.goto((site / f"{toc[0]}.html").as_uri())
    assert tab.is_visible("article")
    for furniture in (".bd-sidebar-primary", ".bd-header-article", ".prev-next-footer"):
        assert not tab.is_visible(furniture), furniture


def test_paper_is_light_even_from_the_dark_theme(site: Path, toc: list[str], tab) -> None:
    tab.emulate_media(color_scheme="dark")
    tab.goto((site / f"{toc[0]}.html").as_uri())
    theme = "document.documentElement.dataset.theme"
    tab.evaluate(f"addEventListener('beforeprint', () => (window.printed = {theme}))")
    assert tab.evaluate(theme) == "dark"
    tab.pdf()
    assert tab.evaluate("window.printed") == "light"
    assert tab.evaluate(theme) == "dark"
