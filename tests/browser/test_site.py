"""The built site as a reader meets it: from disk, with the network off, in a real browser."""

from __future__ import annotations

import ast
import json
import re
from functools import partial
from html import unescape
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import pytest

pytest.importorskip("yaml", reason="the settings of the site are YAML")

import yaml
from visiting import TYPESET, Visit

from tools.chapters import pages as pages_of
from tools.chapters import read_yaml

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


def test_code_fits_a_line_of_88_characters(site: Path, toc: list[str]) -> None:
    """Whatever a page shows as code or as its output: also on pages that are no notebooks.

    But for the docstrings' equations, which stand as they do in the code, of 100 columns.
    """
    long = []
    for name in set(toc) - {"book/api"}:
        html = (site / f"{name}.html").read_text(encoding="utf-8")
        for block in re.findall(r"<pre.*?>(.*?)</pre>", html, re.S):
            lines = unescape(re.sub(r"<[^>]+>", "", block)).splitlines()
            long += [f"{name}: {line}" for line in lines if len(line) > 88]
    assert long == []


def test_what_the_look_adds_weighs_no_more_than_200_kb(site: Path) -> None:
    static = site / "_static"
    added = [*(static / "fonts").rglob("*"), static / "book.css", static / "book.js"]
    before = 6_512  # bytes of book.css and book.js without it
    assert sum(path.stat().st_size for path in added if path.is_file()) - before < 200_000
    for font in (static / "fonts").iterdir():
        assert (font / "LICENSE").is_file()


def test_the_fonts_are_the_books_own(site: Path, toc: list[str], tab) -> None:
    tab.goto((site / f"{toc[1]}.html").as_uri())
    tab.evaluate("document.fonts.ready")
    faces = "[...document.fonts].filter(f => f.status === 'loaded').map(f => f.family)"
    loaded = {family.strip('"') for family in tab.evaluate(faces)}
    icons = {family for family in loaded if family.startswith("Font Awesome")}
    assert loaded - icons == {"Source Serif 4", "Source Sans 3", "IBM Plex Mono"}
    for selector, family in {
        "section > p:not(.facts)": "Serif",
        "article h2": "Sans",
        "pre": "Plex",
    }.items():
        style = f"getComputedStyle(document.querySelector('{selector}')).fontFamily"
        assert family in tab.evaluate(style).split(",")[0]


def weight(tab, selector: str) -> tuple[float, int]:
    """Size in pixels and weight of what ``selector`` finds first."""
    style = f"getComputedStyle(document.querySelector('{selector}'))"
    size, bold = tab.evaluate(f"[{style}.fontSize, {style}.fontWeight]")
    return float(size.removesuffix("px")), int(bold)


def test_headings_weigh_in_order(site: Path, tab) -> None:
    tab.goto((site / "notebooks/lstm.html").as_uri())
    sizes = [weight(tab, f"article {one}") for one in ("h1", "h2", "h3", "p")]
    assert sizes == sorted(sizes, reverse=True)
    assert weight(tab, "figcaption .caption-text")[1] == 400


TOC = pages_of(read_yaml("_toc.yml"))
CHAPTERS = [page for page in TOC if page.startswith("notebooks/")]


def test_first_page_has_one_title_a_hero_and_three_doors(site: Path, tab) -> None:
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    tab.goto((site / "book/index.html").as_uri())
    assert tab.inner_text("article h1").removesuffix("#").strip() == config["title"]
    assert tab.text_content(".logo__title") == config["title"]
    assert tab.locator(".hero .drawing").count() == 2
    assert tab.locator(".door > p:first-child a").all_inner_texts() == ["Read", "Run", "Teach"]
    assert not tab.is_visible(".bd-sidebar-primary")
    tab.click(".primary-toggle")
    tab.wait_for_selector(".bd-sidebar-primary", state="visible")


def test_first_page_has_a_card_for_each_chapter(site: Path, tab) -> None:
    tab.goto((site / "book/index.html").as_uri())
    links = tab.locator(".chapters > li .question a")
    hrefs = [links.nth(i).get_attribute("href") for i in range(links.count())]
    assert hrefs == [f"../{name}.html" for name in CHAPTERS]
    for number, name in enumerate(CHAPTERS):
        notebook = json.loads((ROOT / f"{name}.ipynb").read_text(encoding="utf-8"))["metadata"]
        card = tab.locator(".chapters > li").nth(number)
        assert card.locator(".question").inner_text() == notebook["card"]["question"]
        assert f"runs in {notebook['rnnbook']['seconds']} s" in card.locator(".facts").inner_text()
        source = card.locator("img.for-light").get_attribute("src")
        assert (site / "book" / source).stat().st_size < 60_000
    tab.locator(".chapters > li").nth(2).click(position={"x": 20, "y": 20})  # the whole card
    assert CHAPTERS[2] in tab.url


def test_chapters_open_with_their_facts(site: Path, tab) -> None:
    for name in CHAPTERS:
        run = json.loads((ROOT / f"{name}.ipynb").read_text("utf-8"))["metadata"]["rnnbook"]
        tab.goto((site / f"{name}.html").as_uri())
        facts = tab.inner_text("article h1 + p.facts")
        assert f"runs in {run['seconds']} s with {run['peak_mb'] / 1000:.1f} GB" in facts
        assert "min to read" in facts


# A link to each kind of thing, and what its preview shows.
PREVIEWS = {
    "equation": ("a[href^='#equation-']", "mjx-container svg"),
    "figure": ("a[href^='#fig-']", "figure img"),
    "table": ("a[href^='#tab-']", "table td"),
    "exercise": ("a[href^='#ex-']", ".exercise"),
    "equation of another page": ("a[href*='.html#equation-']", "mjx-container svg"),
    "source": ("a[href*='references.html#']", "li"),
    "term": ("a[href*='glossary.html#term-']", "dd"),
}


@pytest.mark.parametrize("kind", PREVIEWS)
def test_links_preview_what_they_point_to(site: Path, tab, kind: str) -> None:
    selector, shown = PREVIEWS[kind]
    for name in TOC:
        tab.goto((site / f"{name}.html").as_uri())
        tab.evaluate(TYPESET)
        links = tab.locator(f"article {selector}.internal:visible")
        for link in links.all():
            link.evaluate("one => scrollBy(0, one.getBoundingClientRect().top - 150)")
            if selector.startswith("a[href^='#") and link.evaluate(IN_VIEW):
                continue
            return preview_of(tab, link, shown)
    pytest.fail(f"no link to an {kind} on any page")


IN_VIEW = """link => {
  const { top, bottom } = document.getElementById(link.hash.slice(1)).getBoundingClientRect();
  return top < innerHeight && bottom > 0;
}"""


def preview_of(tab, link, shown: str) -> None:
    """Hover over ``link``, look at the preview, send it away."""
    link.hover()
    tab.wait_for_selector(f"#preview:not([hidden]) {shown}")
    assert link.get_attribute("aria-describedby") == "preview"
    names = "#preview [id]:not(mjx-container [id])"  # MathJax numbers its letters anew
    assert tab.locator(f"#preview a[href], #preview details, {names}").count() == 0
    box = tab.locator("#preview").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 1280
    tab.keyboard.press("Escape")
    assert not tab.is_visible("#preview")
    assert link.get_attribute("aria-describedby") is None


def test_previews_come_with_the_keyboard_and_not_for_what_is_in_view(site: Path, tab) -> None:
    tab.goto((site / "notebooks/lstm.html").as_uri())
    tab.evaluate(TYPESET)
    far = tab.locator("article a[href*='references.html#']").first
    far.evaluate("one => one.previousElementSibling?.focus()")
    far.focus()
    tab.keyboard.press("Shift+Tab")
    tab.keyboard.press("Tab")
    tab.wait_for_selector("#preview:not([hidden])")
    tab.keyboard.press("Tab")
    assert far.get_attribute("aria-describedby") is None
    tab.evaluate("document.activeElement.blur()")  # the next link may have a preview, too
    assert not tab.is_visible("#preview")
    equation = "article a.internal[href^='#equation-']"
    near = f'const e = document.querySelector("{equation}"); e.id = "near";'
    tab.set_viewport_size({"width": 1280, "height": 6000})
    tab.evaluate(f"() => {{ {near} e.scrollIntoView({{block: 'center'}}) }}")
    seen = "document.getElementById(document.querySelector('#near').hash.slice(1))"
    assert 0 <= tab.evaluate(f"{seen}.getBoundingClientRect().top") < 5900
    tab.hover("#near")
    tab.wait_for_timeout(500)
    assert not tab.is_visible("#preview")


LINKS = """() => {
  window.links = [...document.querySelectorAll("article a.internal[href*='references.html#']")];
  window.wait = (time) => new Promise((done) => setTimeout(done, time));
  window.point = (link, kind) =>
    link.dispatchEvent(new PointerEvent(kind, { pointerType: "mouse" }));
  window.preview = document.getElementById("preview");
}"""


def test_a_preview_goes_where_the_next_link_has_none(site: Path, tab) -> None:
    tab.goto((site / "notebooks/lstm.html").as_uri())
    tab.evaluate(LINKS)
    over_the_next = """async () => {
      const [one, other] = links;
      other.setAttribute("href", "#main-content");
      point(one, "pointerenter");
      await wait(300);
      const first = preview.hidden;
      point(one, "pointerleave");
      point(other, "pointerenter");
      await wait(300);
      return [first, preview.hidden];
    }"""
    assert tab.evaluate(over_the_next) == [False, True]


def test_a_preview_goes_with_a_click_and_with_the_page(site: Path, tab) -> None:
    tab.goto((site / "notebooks/lstm.html").as_uri())
    tab.evaluate(LINKS)
    for leave in ("links[0].click()", "dispatchEvent(new Event('pagehide'))"):
        shown = f"""async () => {{
          links[0].addEventListener("click", (event) => event.preventDefault());
          point(links[0], "pointerenter");
          await wait(300);
          const before = preview.hidden;
          {leave};
          return [before, preview.hidden];
        }}"""
        assert tab.evaluate(shown) == [False, True], leave


@pytest.mark.parametrize(("width", "place"), [(1440, 0.5), (390, 0.5), (390, 0.1), (390, 0.85)])
def test_a_tall_preview_stays_in_the_window_beside_its_link(
    site: Path, tab, width: int, place
) -> None:
    tab.set_viewport_size({"width": width, "height": 700})
    tab.goto((site / "notebooks/lstm.html").as_uri())
    tab.evaluate(TYPESET)
    tab.evaluate(LINKS)
    boxes = f"""async () => {{
      const link = document.querySelector("p a.internal[href='#fig-lstm-stages']");
      scrollBy(0, link.getBoundingClientRect().top - {place} * innerHeight);
      await wait(50);
      point(link, "pointerenter");
      await wait(400);
      const round = ({{ left, top, right, bottom }}) => [left, top, right, bottom].map(Math.round);
      return [round(preview.getBoundingClientRect()), round(link.getBoundingClientRect())];
    }}"""
    (left, top, right, bottom), (_, over, _, under) = tab.evaluate(boxes)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= 700
    assert bottom <= over or top >= under, "it covers its link"
    assert bottom - top > 200
    caption = "getComputedStyle(document.querySelector('{} figcaption .caption-text')).color"
    assert tab.evaluate(caption.format("#preview")) == tab.evaluate(caption.format("article"))
    scrolls = "getComputedStyle(document.querySelector('#preview .drawing')).overflowX"
    assert tab.evaluate(scrolls) == "auto"  # the picture, not its caption with it


def test_a_link_to_a_solution_opens_it(site: Path, tab) -> None:
    page = (site / "notebooks/lstm.html").as_uri()
    tab.goto(page)
    first, second = tab.locator("details.solution[id]").all()[:2]
    for fold in (first, second):  # on arrival, and within the page
        name = fold.get_attribute("id")
        assert not fold.evaluate("one => one.open")
        tab.goto(f"{page}#{name}")
        tab.wait_for_function(f"document.getElementById('{name}').open")
    tab.goto(f"{page}#100%")  # no encoding, no error
    tab.reload()
    tab.wait_for_selector("#preview", state="attached")


def test_a_preview_waits_while_one_reads_it_and_does_not_come_by_touch(site: Path, tab) -> None:
    tab.goto((site / "notebooks/lstm.html").as_uri())
    tab.evaluate(LINKS)
    touched = """async () => {
      links[0].dispatchEvent(new PointerEvent("pointerenter", { pointerType: "touch" }));
      await wait(300);
      return preview.hidden;
    }"""
    assert tab.evaluate(touched)
    read = """async () => {
      point(links[0], "pointerenter");
      await wait(300);
      point(links[0], "pointerleave");
      point(preview, "pointerenter");
      await wait(300);
      const reading = preview.hidden;
      point(preview, "pointerleave");
      await wait(300);
      return [reading, preview.hidden];
    }"""
    assert tab.evaluate(read) == [False, True]
    left = """async () => {
      point(links[0], "pointerenter");
      await wait(300);
      point(links[0], "pointerleave");
      await wait(300);
      return preview.hidden;
    }"""
    assert tab.evaluate(left)


def test_a_preview_stays_when_the_formulas_of_the_last_one_are_done(site: Path, tab) -> None:
    tab.goto((site / "notebooks/lstm.html").as_uri())
    tab.evaluate(TYPESET)
    tab.evaluate(LINKS)
    places = """async () => {
      let first;
      MathJax.typesetPromise = () => new Promise((done) => (first ??= done)); // slow formulas
      for (const link of [links[0], links.at(-1)]) {
        point(link, "pointerenter");
        await wait(300);
      }
      const before = preview.style.top;
      first();
      await wait(50);
      return [before, preview.style.top];
    }"""
    before, after = tab.evaluate(places)
    assert before == after


def test_without_javascript_the_page_reads_whole(site: Path, browser) -> None:
    context = browser.new_context(java_script_enabled=False, color_scheme="dark")
    context.set_offline(True)
    page = context.new_page()
    page.goto((site / "notebooks/lstm.html").as_uri())
    assert page.locator("article h2").count() > 5
    assert page.locator("article figure img.for-light").first.is_visible()
    assert not page.locator("article figure img.for-dark").first.is_visible()
    solution = page.locator("details.solution").first
    solution.locator("summary").click()
    assert solution.locator("p").first.is_visible()
    page.goto((site / "book/index.html").as_uri())
    assert page.locator(".chapters > li").count() == len(CHAPTERS)
    context.close()


def test_without_fonts_the_page_reads_whole(site: Path, tab) -> None:
    tab.route("**/*.woff2", lambda route: route.abort())
    tab.goto((site / "notebooks/gru.html").as_uri())
    assert tab.evaluate(TYPESET) is None
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.locator("article p").first.is_visible()


def test_hints_are_folded(site: Path) -> None:
    for name in CHAPTERS:
        cells = json.loads((ROOT / f"{name}.ipynb").read_text("utf-8"))["cells"]
        text = "\n".join(
            "".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"
        )
        hints = len(re.findall(r"\{hint\}\s*\n:class: dropdown", text))
        assert (site / f"{name}.html").read_text("utf-8").count(
            '<details class="admonition hint"'
        ) == hints


def test_cells_that_only_assert_are_folded(site: Path, toc: list[str]) -> None:
    count = 0
    for name in CHAPTERS:
        for cell in json.loads((ROOT / f"{name}.ipynb").read_text("utf-8"))["cells"]:
            hidden = "hide-input" in cell["metadata"].get("tags", [])
            if cell["cell_type"] == "code" and not cell["outputs"] and not hidden:
                body = ast.parse("".join(cell["source"])).body
                count += bool(body) and all(isinstance(one, ast.Assert) for one in body)
    shown = sum((site / f"{n}.html").read_text("utf-8").count("Show the proof") for n in CHAPTERS)
    assert shown == count > 0


@pytest.fixture(scope="session")
def served(site: Path):
    """The site as a server gives it: only there may a page read others for its excerpts."""
    handler = partial(SimpleHTTPRequestHandler, directory=site)
    handler.log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_search_excerpts_show_the_hit(served: str, browser) -> None:
    page = browser.new_page()
    page.goto(f"{served}/search.html?q=carousel")
    page.wait_for_selector("#search-results li p.context")
    page.wait_for_function("document.querySelector('.search-summary').innerText.includes('found')")
    excerpts = page.locator("#search-results li p.context").all_inner_texts()
    assert all("carousel" in text.lower() for text in excerpts)
    assert all(len(text) <= 242 for text in excerpts)
    page.close()


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


def test_the_theme_comes_back_when_a_browser_says_twice_that_it_has_printed(
    site: Path, tab
) -> None:
    tab.emulate_media(color_scheme="dark")
    tab.goto((site / "book/notation.html").as_uri())
    events = "for (const kind of ['beforeprint', 'beforeprint', 'afterprint', 'afterprint'])"
    tab.evaluate(f"() => {{ {events} dispatchEvent(new Event(kind)) }}")
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"


def test_code_wraps_on_paper(site: Path, tab) -> None:
    tab.emulate_media(media="print")
    tab.goto((site / "notebooks/lstm.html").as_uri())
    blocks = "[...document.querySelectorAll('article pre')]"
    wraps = f"{blocks}.map((one) => getComputedStyle(one).whiteSpace)"
    assert set(tab.evaluate(wraps)) == {"pre-wrap"}


def test_paper_has_the_light_figures_also_from_the_dark_theme(site: Path, tab) -> None:
    tab.emulate_media(color_scheme="dark")
    tab.goto((site / "notebooks/gru.html").as_uri())
    light = "[...document.querySelectorAll('figure img.for-light')]"
    assert tab.evaluate(f"{light}.length") > 3
    assert tab.evaluate(f"{light}.every((one) => one.complete && one.naturalWidth > 0)")
