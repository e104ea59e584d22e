// Small additions to the theme, for pages read from disk, on narrow screens and with the keyboard.

// A browser may not fetch() a neighboring file:// page, so search lists titles there, without excerpts.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// A formula wider than its column scrolls in its own box, and the keyboard can reach that box.
const fitFormulas = () => {
  document.querySelectorAll("article mjx-container").forEach((formula) => {
    if (!formula.hasAttribute("display")) {
      const column = formula.closest("p, li, dd, td, figcaption, h1, h2, h3") ?? formula.parentElement;
      formula.classList.toggle("wide", formula.firstElementChild.clientWidth > column.clientWidth);
    }
    if (formula.scrollWidth > formula.clientWidth + 1) formula.tabIndex = 0;
    else formula.removeAttribute("tabindex");
  });
};

document.addEventListener("DOMContentLoaded", () => {
  window.MathJax?.startup?.promise?.then(() => {
    new ResizeObserver(fitFormulas).observe(document.querySelector("article"));
    document.addEventListener("toggle", fitFormulas, true); // an opened solution
  });

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
  dataset.theme = onScreen;
  onScreen = undefined;
});
