"""One visit to one page: everything that the tests ask about, seen in a single loading of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

AXE_CORE = Path(__file__).with_name("axe") / "axe.min.js"  # tools/vendor.py renews it

TYPESET = """() => Promise.race([
  window.MathJax?.startup?.promise,
  new Promise((late) => setTimeout(late, 20000)),
])"""

BAD_MATH = r"""() => {
  const bad = [];
  for (const formula of document.querySelectorAll(".math.notranslate"))
    if (!formula.querySelector("mjx-container svg")) bad.push(`left: ${formula.textContent}`);
  for (const error of document.querySelectorAll("[data-mml-node=merror]"))
    bad.push(`error: ${error.dataset.mjxError}`);
  const text = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (text.nextNode()) {
    const { data, parentElement } = text.currentNode;
    if (/\\[(\[]|\$\$/.test(data) && !parentElement.closest("pre, code, script"))
      bad.push(`raw: ${data}`);
  }
  return bad;
}"""

# How many characters the lines of running text have, over all paragraphs of three lines and more.
MEASURE = """() => {
  let letters = 0, lines = 0;
  for (const p of document.querySelectorAll(".bd-article section > p")) {
    const count = Math.round(p.clientHeight / parseFloat(getComputedStyle(p).lineHeight));
    if (count < 3 || p.querySelector("mjx-container, code")) continue;
    letters += p.innerText.length;
    lines += count - 0.5; // the last is half full, more or less
  }
  return lines < 10 ? null : letters / lines;
}"""

# What a reader on a narrow screen would miss: text or figures cut off where nothing scrolls, boxes
# that scroll without a shadow or without the keyboard, words of figures below nine pixels, and
# punctuation that begins a line.
NARROW = r"""() => {
  const missed = [];
  const name = (one) => `${one.tagName} ${one.className} ${one.textContent.trim().slice(0, 40)}`;
  const width = document.documentElement.clientWidth;
  const article = document.querySelector("article") ?? document.querySelector("main");
  const visible = (one) => one.checkVisibility() && one.getClientRects().length;
  const boxes =
    "pre, .drawing, mjx-container:is([display], .wide), .pst-scrollable-table-container";
  for (const box of article.querySelectorAll(boxes)) {
    if (!visible(box) || box.scrollWidth <= box.clientWidth + 1) continue;
    const { overflowX, backgroundImage } = getComputedStyle(box);
    if (overflowX !== "auto" || box.tabIndex !== 0) missed.push(`cannot be scrolled: ${name(box)}`);
    const gradients = backgroundImage.match(/linear-gradient/g) ?? []; // two shadows, two covers
    if (gradients.length !== 4) missed.push(`no shadow: ${name(box)}`);
  }
  const scrolls = `${boxes}, .visually-hidden, mjx-assistive-mml`;
  for (const one of article.querySelectorAll("*")) {
    if (!visible(one) || one.closest(scrolls)) continue;
    if (one.getBoundingClientRect().right > width + 1) missed.push(`cut off: ${name(one)}`);
  }
  for (const image of article.querySelectorAll("figure .drawing img")) {
    const least = parseFloat(getComputedStyle(image.parentElement).getPropertyValue("--least"));
    const drawn = image.getBoundingClientRect().width;
    if (visible(image) && drawn < least - 1) missed.push(`small words: ${image.alt}`);
  }
  for (const formula of article.querySelectorAll("mjx-container:not([display])")) {
    const text = formula.parentElement.nextSibling;
    const marked = text?.nodeType === Node.TEXT_NODE && /^[,.;:)]/.test(text.data);
    if (!marked || !visible(formula)) continue;
    const range = document.createRange();
    range.setStart(text, 0);
    range.setEnd(text, 1);
    const mark = range.getBoundingClientRect();
    if (mark.top > formula.getBoundingClientRect().bottom)
      missed.push(`begins a line: ${text.data.slice(0, 20)}`);
  }
  return [...new Set(missed)];
}"""

# Figures of the theme that is on, seen by the reader: each has arrived, its counterpart is hidden.
FIGURES = """async (theme) => {
  const wrong = [];
  for (const box of document.querySelectorAll("article .drawing")) {
    const shown = [...box.children].filter((image) => getComputedStyle(image).display !== "none");
    const right = shown.length === 1 && shown[0].classList.contains(`for-${theme}`);
    if (!right) wrong.push(shown[0]?.alt ?? "none");
    shown[0].loading = "eager";
    await shown[0].decode().catch(() => wrong.push(`not drawn: ${shown[0].alt}`));
  }
  return wrong;
}"""

# Measuring each word of each program and signature takes half a minute a page; one of a kind is
# enough. Words within sentences stay: what lies behind them differs from place to place.
THIN_OUT = """() => {
  const kinds = new Set();
  for (const token of document.querySelectorAll("article :is(pre, dt.sig) span")) {
    const place = token.closest(".highlight, dl");
    const kind = token.className + place.className + place.parentElement.className;
    if (kinds.has(kind)) token.replaceWith(...token.childNodes);
    else kinds.add(kind);
  }
}"""

AXE = """async (options) => {
  const spoken = { exclude: ["mjx-assistive-mml"] }; // MathML for screen readers, without color
  const { violations } = await axe.run(spoken, { ...options, preload: false });
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) => nodes.map((one) => `${id}: ${one.target} ${one.failureSummary}`));
}"""


@dataclass
class Visit:
    """What was seen on one page."""

    requests: list[str] = field(default_factory=list)  # everything that the page asked for
    errors: list[str] = field(default_factory=list)  # console errors and uncaught exceptions
    bad_math: list[str] = field(default_factory=list)  # formulas that are not typeset
    folds_open: int = 0  # solutions, hints and proofs that are open once the page has loaded
    folds_stuck: list[str] = field(default_factory=list)  # do not open on click or key
    measure: float | None = None  # characters in a line of running text
    figures: list[str] = field(default_factory=list)  # not drawn, or in the other theme's colors
    violations: list[str] = field(default_factory=list)  # axe's, of level serious or critical
    overflow: dict[int, int] = field(default_factory=dict)  # page width -> pixels too wide
    missed: dict[int, list[str]] = field(default_factory=dict)  # page width -> what is cut off


def look_at(browser, url: str) -> Visit:
    """Open one page with the network off, in light, then dark, wide, then narrow."""
    seen = Visit()
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, color_scheme="light", reduced_motion="reduce"
    )
    context.set_offline(True)
    page = context.new_page()
    page.on("request", lambda request: seen.requests.append(request.url))
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on("console", lambda line: line.type == "error" and seen.errors.append(line.text))
    page.goto(url)
    page.evaluate(TYPESET)
    seen.bad_math = page.evaluate(BAD_MATH)
    seen.measure = page.evaluate(MEASURE)

    opened = "one => one.matches('details[open]')"
    for number, fold in enumerate(page.query_selector_all("details:is(.admonition, .proof)")):
        seen.folds_open += not fold.evaluate("one => one.matches('details:not([open])')")
        title = fold.query_selector("summary")
        if number % 2:
            title.focus()
            page.keyboard.press("Enter")
        else:
            title.click()
        if not fold.evaluate(opened):
            seen.folds_stuck.append(title.inner_text())
    page.evaluate("document.querySelectorAll('article details').forEach(one => (one.open = true))")

    seen.figures += page.evaluate(FIGURES, "light")
    page.emulate_media(color_scheme="dark")
    page.wait_for_selector("html[data-theme=dark]")
    seen.figures += page.evaluate(FIGURES, "dark")
    for width in (1280, 390, 360):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(500)  # the theme waits 300 ms before it answers to a new size
        seen.overflow[width] = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        if width < 1280:
            seen.missed[width] = page.evaluate(NARROW)

    page.evaluate(THIN_OUT)
    page.evaluate(AXE_CORE.read_text("utf-8"))
    scrolling = {"runOnly": ["scrollable-region-focusable"]}
    seen.violations += [f"360 px, {what}" for what in page.evaluate(AXE, scrolling)]
    page.set_viewport_size({"width": 1280, "height": 900})
    colors = {"runOnly": ["color-contrast", "link-in-text-block"]}
    seen.violations += [f"dark, {what}" for what in page.evaluate(AXE, colors)]
    page.emulate_media(color_scheme="light")
    page.wait_for_selector("html[data-theme=light]")
    seen.violations += [f"light, {what}" for what in page.evaluate(AXE, {})]
    context.close()
    return seen
