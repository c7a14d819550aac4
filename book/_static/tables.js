// A long table can be searched, sorted and taken away as CSV. Without this script it is a table all the same.
"use strict";
(() => {
  const LONG = 30;
  const AT_ONCE = 200; // rows of one table that are laid out before all are asked for
  const OUTSIDE = ".memcalc, form"; // tables that the calculator writes
  const AMOUNT = /^([-−]?[\d,]*\.?\d+)(?: to [-−]?[\d,]*\.?\d+)?\s*(KiB|MiB|GiB|TiB|kB|MB|GB|TB|B|bytes|%)?(?!\w)/;
  const SIZES = {
    KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12,
  };
  const NOTHING = ["", "–"];
  const words = new Intl.Collator("en", { numeric: true });

  function made(tag, properties, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  const text = (cell) => cell.textContent.trim().replaceAll("\u00a0", " ");

  // An amount in bytes, a plain number, or nothing.
  function number(said) {
    const [, digits, unit] = said.match(AMOUNT) ?? [];
    return digits && Number(digits.replace("−", "-").replaceAll(",", "")) * (SIZES[unit] ?? 1);
  }

  // Rows in the order of a column; what says nothing comes last either way.
  function ordered(rows, column, direction) {
    const said = rows.map((row) => text(row.cells[column]));
    const given = said.filter((one) => !NOTHING.includes(one));
    const isNumber = given.every((one) => number(one) !== undefined);
    const keyed = rows.map((row, place) => ({
      row, nothing: NOTHING.includes(said[place]), key: isNumber ? number(said[place]) : said[place],
    }));
    const compare = isNumber ? (a, b) => a - b : words.compare;
    keyed.sort((a, b) => a.nothing - b.nothing || (a.nothing ? 0 : direction * compare(a.key, b.key)));
    return keyed.map(({ row }) => row);
  }

  // A click on a header sorts upwards, a second one downwards, a third one as it was.
  function sortable(table, rows, arrange) {
    const headers = [...table.tHead.rows[0].cells];
    headers.forEach((header, column) => {
      const button = made("button", { type: "button", className: "sort" }, ...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        const next = { ascending: "descending", descending: "" }[header.ariaSort] ?? "ascending";
        headers.forEach((other) => other.removeAttribute("aria-sort"));
        if (next) header.ariaSort = next;
        arrange(next ? ordered(rows, column, next === "ascending" ? 1 : -1) : rows);
      });
    });
  }

  const quoted = (field) => (/[",\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field);

  // A column with links has a second one with their addresses.
  function asCsv(table, rows) {
    const linked = [...table.tHead.rows[0].cells].map((_, column) =>
      rows.some((row) => row.cells[column].querySelector("a[href^=http]")));
    const fields = (row, address) => [...row.cells].flatMap((cell, column) =>
      linked[column] ? [text(cell), address(cell)] : [text(cell)]);
    const link = (cell) => cell.querySelector("a[href^=http]")?.href ?? "";
    const lines = [fields(table.tHead.rows[0], () => "link"), ...rows.map((row) => fields(row, link))];
    return lines.map((line) => line.map(quoted).join(",")).join("\r\n") + "\r\n";
  }

  function download(csv, name) {
    const address = URL.createObjectURL(new Blob(["\ufeff", csv], { type: "text/csv" }));
    made("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }

  const wordsOf = (row) => [...row.cells].map(text).join(" ").toLowerCase();

  function equip(table) {
    const all = [...table.tBodies[0].rows];
    const fold = table.closest("details");
    const count = made("output", {});
    const field = made("input", { type: "search", autocomplete: "off", spellcheck: false });
    const more = made("button", { type: "button" }, "Show all 全部");
    const save = made("button", { type: "button", title: "Download these rows 下载" }, "CSV");
    let order = all, found = all, limit = AT_ONCE, searched;

    function show() {
      const asked = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      if (asked.length) searched ??= new Map(all.map((row) => [row, wordsOf(row)]));
      found = order.filter((row) => asked.every((word) => searched.get(row).includes(word)));
      const shown = new Set(found.slice(0, limit));
      for (const row of all) row.hidden = !shown.has(row);
      more.hidden = shown.size === found.length;
      count.value = (found.length < all.length ? `${found.length} of ` : "") + `${all.length} rows` +
        (more.hidden ? "" : `, the first ${shown.size} shown`);
      if (fold && asked.length) fold.open = true;
    }

    function showAll() {
      limit = Infinity;
      show();
    }

    field.addEventListener("input", show);
    more.addEventListener("click", showAll);
    addEventListener("beforeprint", showAll);
    sortable(table, all, (arranged) => {
      order = arranged;
      table.tBodies[0].append(...order);
      show();
    });
    const page = location.pathname.split("/").pop().replace(/\.html$/, "");
    const name = `${page}_${table.closest("section").id}.csv`;
    save.addEventListener("click", () => download(asCsv(table, found), name));
    const tools = made("div", { className: "table-tools" }, made("label", {}, "Filter 筛选", field), count, more, save);
    (fold ?? table.closest(".pst-scrollable-table-container") ?? table).before(tools);
    show();
  }

  for (const table of document.querySelectorAll(".bd-article table")) {
    const simple = table.tHead?.rows.length === 1 && table.tBodies[0]?.rows.length >= LONG;
    if (simple && !table.closest(OUTSIDE) && !table.querySelector("[colspan], [rowspan]")) equip(table);
  }
})();
