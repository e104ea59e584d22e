"""One visit to one page: everything that the tests ask about, seen in a single loading of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import resources

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
    solutions_open: int = 0  # solutions that are open once the page has loaded
    solutions_stuck: list[str] = field(default_factory=list)  # do not open on click or key
    violations: list[str] = field(default_factory=list)  # axe's, of level serious or critical
    overflow: dict[int, int] = field(default_factory=dict)  # page width -> pixels too wide


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

    opened = "solution => solution.matches('details[open]')"
    for number, solution in enumerate(page.query_selector_all(".solution")):
        seen.solutions_open += not solution.evaluate("one => one.matches('details:not([open])')")
        title = solution.query_selector(".admonition-title")
        if number % 2:
            title.focus()
            page.keyboard.press("Enter")
        else:
            title.click()
        if not solution.evaluate(opened):
            seen.solutions_stuck.append(title.inner_text())
    page.evaluate("document.querySelectorAll('article details').forEach(one => (one.open = true))")

    page.evaluate(THIN_OUT)
    axe = resources.files("axe_playwright_python").joinpath("axe.min.js")
    page.evaluate(axe.read_text("utf-8"))
    seen.violations += [f"light, {what}" for what in page.evaluate(AXE, {})]
    page.emulate_media(color_scheme="dark")
    page.wait_for_selector("html[data-theme=dark]")
    colors = {"runOnly": ["color-contrast", "link-in-text-block"]}
    seen.violations += [f"dark, {what}" for what in page.evaluate(AXE, colors)]

    for width in (1280, 360):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(500)  # the theme waits 300 ms before it answers to a new size
        seen.overflow[width] = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
    scrolling = {"runOnly": ["scrollable-region-focusable"]}
    seen.violations += [f"360 px, {what}" for what in page.evaluate(AXE, scrolling)]
    context.close()
    return seen
