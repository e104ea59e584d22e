// Small repairs to the theme, for pages read from disk, on narrow screens and with the keyboard.

// A browser may not fetch() a neighboring file:// page, so search lists titles there, without excerpts.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

document.addEventListener("DOMContentLoaded", () => {
  // "Download this page" should save the notebook, not show its JSON.
  document.querySelectorAll(".btn-download-source-button").forEach((link) => {
    link.removeAttribute("target");
    link.setAttribute("download", "");
  });

  // An equation too wide for its column scrolls in its own box; the keyboard has to reach that box.
  const boxes = document.querySelectorAll("div.math");
  const observer = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const box = target.closest("div.math");
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  });
  boxes.forEach((box) => observer.observe(box));
  MathJax.startup?.promise?.then(() =>
    boxes.forEach((box) => box.querySelectorAll("mjx-container").forEach((child) => observer.observe(child)))
  );
});
