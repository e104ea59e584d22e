// Small additions to the theme: for pages read from disk, on narrow screens, with the keyboard, on paper.
// Without this file every page still reads whole.

// What is wider than its column scrolls in its own box, and the keyboard can reach that box.
const WIDE = "article :is(pre, .drawing, mjx-container:is([display], .wide), .pst-scrollable-table-container)";
const fitColumn = () => {
  document.querySelectorAll("article mjx-container:not([display])").forEach((formula) => {
    const column = formula.closest("p, li, dd, td, figcaption, h1, h2, h3") ?? formula.parentElement;
    formula.classList.toggle("wide", formula.firstElementChild?.clientWidth > column.clientWidth);
  });
  document.querySelectorAll(WIDE).forEach((box) => {
    if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  });
};

// The element that a link within the page names, also in percent-encoding; null where there is none.
const named = (hash) => {
  try {
    return document.getElementById(decodeURIComponent(hash.slice(1)));
  } catch {
    return null; // a lone % is no encoding
  }
};

// A link to a solution, or to what stands in one, opens it.
const unfold = () => {
  const target = named(location.hash);
  const folds = [];
  for (let fold = target?.closest("details"); fold; fold = fold.parentElement.closest("details")) folds.push(fold);
  const closed = folds.filter((fold) => !fold.open);
  closed.forEach((fold) => (fold.open = true));
  if (closed.length) target.scrollIntoView();
};

// A preview of the equation, figure, table, exercise, term or source that a link points to. What is on
// another page was carried along at build (rnnbook_site/previews.py has the same list).
const SHOWN = "div.math, figure, table, div.exercise, dt, ul.references > li";
const preview = Object.assign(document.createElement("div"), { id: "preview", className: "bd-article", hidden: true });
preview.setAttribute("role", "tooltip");
let shownFor, waiting;

const targetOf = (link) => {
  const href = link.getAttribute("href");
  if (!href.startsWith("#")) {
    const carried = document.getElementById("previews")?.content.querySelector(`[data-for="${CSS.escape(href)}"]`);
    return carried?.firstElementChild;
  }
  const target = named(href);
  if (!target?.matches(SHOWN)) return null;
  const { top, bottom } = target.getBoundingClientRect();
  const folded = !target.getClientRects().length;
  if (top >= 0 && bottom <= innerHeight && !folded) return null; // in view already
  let shown = target;
  while (shown?.matches("dt")) shown = shown.nextElementSibling; // several terms may share a text
  return shown;
};

const hidePreview = () => {
  clearTimeout(waiting);
  preview.hidden = true;
  shownFor?.removeAttribute("aria-describedby");
  shownFor = undefined;
};

const showPreview = (link) => {
  if (shownFor === link) return;
  hidePreview(); // of another link, also where this one has none
  const target = targetOf(link);
  if (!target) return;
  const copy = target.cloneNode(true);
  for (const one of [copy, ...copy.querySelectorAll("[id], [tabindex]")]) {
    one.removeAttribute("id");
    one.removeAttribute("tabindex");
  }
  copy.querySelectorAll(".headerlink, details").forEach((one) => one.remove());
  copy.querySelectorAll("a[href]").forEach((one) => one.removeAttribute("href"));
  preview.replaceChildren(copy);
  preview.hidden = false;
  shownFor = link;
  link.setAttribute("aria-describedby", "preview");
  const place = () => {
    if (shownFor !== link) return; // another was shown while the picture or the formulas came
    const { top, bottom, left } = link.getBoundingClientRect();
    const [above, below] = [top - 16, innerHeight - bottom - 16];
    preview.style.maxHeight = "none";
    const under = preview.offsetHeight <= below || below >= above;
    preview.style.maxHeight = `${under ? below : above}px`; // more than that scrolls
    preview.style.top = `${scrollY + (under ? bottom + 8 : top - 8 - preview.offsetHeight)}px`;
    preview.style.left = `${Math.max(16, Math.min(left, document.documentElement.clientWidth - preview.offsetWidth - 16))}px`;
  };
  place();
  copy.querySelectorAll("img").forEach((image) => image.decode().then(place, () => {}));
  if (!copy.querySelector("mjx-container")) window.MathJax?.typesetPromise?.([preview]).then(place);
};

const followLinks = (article) => {
  document.body.append(preview);
  const later = (action, delay) => {
    clearTimeout(waiting);
    waiting = setTimeout(action, delay);
  };
  article.querySelectorAll("a.internal[href*='#']").forEach((link) => {
    link.addEventListener("pointerenter", ({ pointerType }) => {
      if (pointerType === "mouse") later(() => showPreview(link), 200);
    });
    link.addEventListener("pointerleave", () => later(hidePreview, 200));
    link.addEventListener("focus", () => link.matches(":focus-visible") && showPreview(link));
    link.addEventListener("blur", hidePreview);
    link.addEventListener("click", hidePreview);
  });
  preview.addEventListener("pointerenter", () => clearTimeout(waiting)); // one may read it, and scroll in it
  preview.addEventListener("pointerleave", () => later(hidePreview, 200));
  document.addEventListener("keydown", ({ key }) => key === "Escape" && hidePreview());
  window.addEventListener("pagehide", hidePreview); // the page may come back as it was left
};

// Search: an excerpt shows the passage of the page that has most of the words looked for. A browser may
// not fetch() a neighboring file:// page, so from disk there are titles without excerpts.
const showHits = () => {
  Search.makeSearchSummary = (html, words, anchor) => {
    const page = new DOMParser().parseFromString(html, "text/html");
    page.querySelectorAll(".headerlink, .toctree-wrapper").forEach((one) => one.remove());
    const place = (anchor && page.getElementById(anchor.slice(1))) || page.querySelector("article");
    const passages = [...place.querySelectorAll("p, li, dd, td, figcaption, h1, h2, h3, pre")].map((one) =>
      one.textContent.replace(/\s+/g, " ").trim(),
    );
    const hits = (text) => [...words].filter((word) => text.toLowerCase().includes(word.toLowerCase()));
    const best = passages.reduce((one, other) => (hits(other).length > hits(one).length ? other : one), "");
    if (!best) return null;
    const start = Math.max(0, best.toLowerCase().indexOf(hits(best)[0].toLowerCase()) - 120);
    const summary = Object.assign(document.createElement("p"), { className: "context" });
    summary.textContent = `${start ? "…" : ""}${best.slice(start, start + 240)}${start + 240 < best.length ? "…" : ""}`;
    return summary;
  };
};

if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

document.addEventListener("DOMContentLoaded", () => {
  const article = document.querySelector("article");
  if (article) {
    new ResizeObserver(fitColumn).observe(article);
    document.addEventListener("toggle", fitColumn, true); // an opened solution
    window.MathJax?.startup?.promise?.then(fitColumn);
    followLinks(article);
    unfold();
    window.addEventListener("hashchange", unfold);
  }
  if (typeof Search !== "undefined") showHits();

  // What a screen reader calls a button is what one sees on it, not the theme's other words for it.
  const renamed = ".search-button-field, .theme-switch-button, details.hide > summary";
  document.querySelectorAll(renamed).forEach((button) => button.removeAttribute("aria-label"));

  // "Download this page" saves the notebook instead of showing its JSON.
  document.querySelectorAll(".btn-download-source-button").forEach((link) => {
    link.removeAttribute("target");
    link.setAttribute("download", "");
  });
});

// Paper is white: the dark theme's pale text would not be read on it.
const { dataset } = document.documentElement;
let onScreen; // kept at the first of several beforeprint events
window.addEventListener("beforeprint", () => {
  onScreen ??= dataset.theme;
  dataset.theme = "light";
});
window.addEventListener("afterprint", () => {
  dataset.theme = onScreen ?? dataset.theme;
  onScreen = undefined;
});
