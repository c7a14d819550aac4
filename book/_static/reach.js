// What scrolls inside a page can be reached by keyboard: the theme sees to code, this to tables.
"use strict";
addEventListener("load", () => {
  const reach = () => {
    for (const table of document.querySelectorAll(".bd-article table")) {
      if (table.scrollWidth > table.clientWidth) table.tabIndex = 0;
      else table.removeAttribute("tabindex");
    }
  };
  reach();
  addEventListener("resize", reach);
});
