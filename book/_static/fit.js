// What is wider than the text column: on a desktop a table grows into the margin, on a phone its rows become
// cards, and a formula breaks before + and =. What still scrolls is reached by keyboard: the theme sees to code.
"use strict";
(() => {
  const PHONE = matchMedia("(max-width: 600px)");
  const BESIDE = matchMedia("(min-width: 1200px)"); // the contents of the page stand in the margin
  const BOXED = "details.answer, details.choice, blockquote, .admonition, li";
  const BREAKS = ["2B", "3D", "2212", "2260", "2264", "2265"].map((code) => `mjx-c${code}`); // + = − ≠ ≤ ≥

  const SMALLEST = 0.7; // of the size that a formula has on this screen

  const scrolls = (element) => element.scrollWidth > element.clientWidth + 1;
  const shown = (element) => element.checkVisibility();

  // Each cell of a card says which column it is of; above what is longer than a line.
  function label(table) {
    const names = [...(table.tHead?.rows[0]?.cells ?? [])].map((cell) => cell.textContent.trim());
    for (const row of table.tBodies[0]?.rows ?? [])
      [...row.cells].forEach((cell, column) => {
        cell.dataset.label = names[column] ?? "";
        cell.classList.toggle("prose", cell.textContent.length > 30);
      });
  }

  // Smaller letters first; what is too wide even so becomes cards.
  function fitPhone(tables) {
    tables.forEach((table) => table.classList.add("snug"));
    for (const table of tables.filter(scrolls)) {
      label(table);
      table.classList.replace("snug", "cards");
    }
  }

  function fitMargin(tables) {
    const edge = document.querySelector(".bd-content").getBoundingClientRect().right - 24;
    const sized = tables.map((table) => ({
      table, needs: table.scrollWidth + 1, room: edge - table.getBoundingClientRect().left,
    }));
    for (const { table, needs, room } of sized) {
      table.classList.add("wide", ...(needs > room ? ["tight"] : []));
      table.style.width = `${Math.min(needs, room)}px`;
    }
  }

  function fitTables() {
    const tables = [...document.querySelectorAll(".bd-article table")].filter(shown);
    for (const table of tables) {
      table.classList.remove("wide", "tight", "snug", "cards");
      table.style.width = "";
    }
    const read = tables.filter((table) => !table.closest("form") && scrolls(table)); // the calculator's are its own
    if (PHONE.matches) fitPhone(read.filter((table) => table.tHead));
    else if (BESIDE.matches) fitMargin(read.filter((table) => !table.closest(BOXED)));
    for (const table of tables) {
      if (scrolls(table)) table.tabIndex = 0;
      else table.removeAttribute("tabindex");
    }
  }

  // The contents in the margin step aside while a wide table passes.
  let passing;
  function makeWay() {
    passing?.disconnect();
    const contents = document.querySelector(".bd-sidebar-secondary");
    if (!contents) return;
    contents.classList.remove("aside");
    const below = innerHeight - contents.getBoundingClientRect().height;
    const there = new Set();
    passing = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) there[isIntersecting ? "add" : "delete"](target);
      contents.classList.toggle("aside", there.size > 0);
    }, { rootMargin: `0px 0px ${-Math.max(0, below)}px 0px` });
    document.querySelectorAll(".bd-article table.wide").forEach((table) => passing.observe(table));
  }

  // Parts of a formula that may begin a line: MathJax 3 sets each formula on one.
  function breakRow(row) {
    const items = [...row.children];
    if (items.length === 1 && /^MJX-(MSTYLE|MROW|TEXATOM)$/.test(items[0].tagName)) return breakRow(items[0]);
    if (row.querySelector(":scope > .formula-part")) return;
    let part;
    items.forEach((item, place) => {
      const sign = item.tagName === "MJX-MO" && BREAKS.includes(item.firstElementChild?.classList[0]);
      if (!part || (place > 1 && (sign || item.tagName === "MJX-MSPACE"))) {
        part = document.createElement("span");
        part.className = "formula-part";
        row.insertBefore(part, item);
      }
      part.append(item);
    });
  }

  function breakFormulas() {
    const formulas = [...document.querySelectorAll(".bd-article mjx-math")].filter((math) => {
      const box = math.closest(".math, mjx-container[display]") ?? math.parentElement;
      const fixed = math.closest("table:not(.cards)"); // a table gives a formula its width
      return !fixed && shown(math) && math.getBoundingClientRect().width > box.clientWidth + 1;
    });
    for (const math of formulas) {
      const cells = math.querySelectorAll("mjx-mtd:not(:has(mjx-mtd))"); // the lines of an aligned one
      (cells.length ? cells : [math]).forEach(breakRow);
    }
  }

  // A fraction breaks nowhere: smaller letters, as long as they can be read.
  function shrinkFormulas() {
    const formulas = [...document.querySelectorAll(".bd-article mjx-container[display] > mjx-math")]
      .filter((math) => !math.closest("table"));
    formulas.forEach((math) => { math.style.fontSize = ""; });
    const sized = formulas.map((math) => [math, math.parentElement])
      .filter(([, box]) => shown(box) && scrolls(box))
      .map(([math, box]) => [math, Math.max(SMALLEST, (0.98 * box.clientWidth) / box.scrollWidth)]);
    for (const [math, ratio] of sized) math.style.fontSize = `${ratio}em`;
  }

  function fit() {
    fitTables();
    breakFormulas();
    shrinkFormulas();
    makeWay();
  }

  addEventListener("load", async () => {
    const article = document.querySelector(".bd-article");
    if (!article) return; // the page of the search
    await window.MathJax?.startup?.promise;
    fit();
    document.documentElement.dataset.fitted = "yes";
    let waits = false, width = 0;
    const soon = () => {
      if (!waits) requestAnimationFrame(() => { waits = false; fit(); });
      waits = true;
    };
    new ResizeObserver(([{ contentRect }]) => { // of the window, or of a sidebar that moves in
      if (width && width !== contentRect.width) soon();
      width = contentRect.width;
    }).observe(article);
    const contents = document.querySelector(".bd-sidebar-secondary");
    if (contents) new ResizeObserver(makeWay).observe(contents); // its entries unfold as one scrolls
    document.addEventListener("toggle", soon, true); // what a fold hides has no width
  });
})();
