// A log of an engine on the calculator's page: `memcalc check -`, its answer as a table. What is pasted becomes text, never markup.
"use strict";

(() => {
  const form = document.getElementById("log");
  if (!form) return;
  const part = (name) => form.querySelector(`.${name}`);
  const make = (tag, fields = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), fields);
    element.append(...children);
    return element;
  };
  const whole = (number) => (number === null || number === undefined ? "" : number.toLocaleString("en-US"));
  const row = (cells, tag) => make("tr", {}, ...cells.map((cell) => make(tag, {textContent: cell})));
  const tabled = (head, rows) => make("div", {className: "pst-scrollable-table-container"},
    make("table", {className: "table"}, make("thead", {}, row(head, "th")), make("tbody", {}, ...rows.map((one) => row(one, "td")))));

  const some = (count, one, many) => (count === 1 ? `One ${one}` : `${count ? whole(count) : "No"} ${many}`);
  const worded = (plan) => Object.entries({...plan, ...plan.engine_options}).filter(([name]) => name !== "engine_options")
    .map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`).join(", ");

  // equal figures, of ranks that print the same, are one row that says how many
  const rowsOf = (lines, why) => {
    const rows = new Map();
    for (const one of lines) {
      const cells = [one.quantity, one.scope ?? "", one.printed, whole(one.bytes ?? one.count), whole(one.ledger_bytes), whole(one.difference),
        one.cause === why ? "" : one.cause ?? ""];
      const key = cells.join("\n");
      rows.set(key, {cells, count: (rows.get(key)?.count ?? 0) + 1});
    }
    return [...rows.values()].map(({cells: [quantity, scope, printed, ...rest], count}) => [quantity, scope, count > 1 ? `${printed} × ${count}` : printed, ...rest]);
  };

  const show = ({engine, version, model, plan, lines, ignored, not_compared: why}) => {
    const options = worded(plan);
    const told = () => `${[engine, version].filter(Boolean).join(" ")}; ${model ? `model ${model}` : "the model cannot be told"}${options ? ` (${options})` : ""}. ${
      some(lines.length, "figure of memory", "figures of memory")}.${why ? ` Not compared: ${why}.` : ""}`;
    const head = make("p", {textContent: engine ? told() : `Not compared: ${why}.`});
    const aside = make("details", {}, make("summary", {textContent: `${some(ignored.length, "line that is", "lines that are")} no memory of a device`}),
      make("ul", {}, ...ignored.map(({text, why: reason}) => make("li", {textContent: `${text}: ${reason}`}))));
    part("result").replaceChildren(head, ...(lines.length ? [tabled(["quantity", "of", "printed", "bytes, or count", "memcalc", "difference", "likely cause"], rowsOf(lines, why))] : []),
      ...(ignored.length ? [aside] : []));
    part("result").hidden = false;
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    part("busy").hidden = false;
    part("problem").textContent = "";
    part("result").hidden = true;
    const more = ["model", "on"].flatMap((name) => (form.elements[name].value.trim() ? [`--${name}`, form.elements[name].value.trim()] : []));
    try {
      const {code, out, err} = await window.memcalc.ask(["check", "-", "--json", ...more], {"-": form.elements.log.value});
      if (code === 2) part("problem").textContent = err.trim(); else show(JSON.parse(out));
    } catch (error) {
      part("problem").textContent = error.message;
    } finally {
      part("busy").hidden = true;
    }
  });
  const read = async (file) => {
    if (!file) return;
    const bytes = new Uint8Array(await file.arrayBuffer());
    const encoding = {"255,254": "utf-16le", "254,255": "utf-16be"}[bytes.slice(0, 2).join()] ?? "utf-8"; // as PowerShell writes it
    form.elements.log.value = new TextDecoder(encoding).decode(bytes);
    form.requestSubmit();
    form.scrollIntoView({block: "nearest"});
  };
  form.addEventListener("memcalc:log", ({detail}) => read(detail)); // a log that was dropped elsewhere on the page
  form.elements.file.addEventListener("change", ({target}) => { read(target.files[0]); target.value = ""; });
  form.addEventListener("dragover", (event) => { event.preventDefault(); form.dataset.over = ""; });
  form.addEventListener("dragleave", () => { delete form.dataset.over; });
  form.addEventListener("drop", (event) => { event.preventDefault(); delete form.dataset.over; read(event.dataTransfer.files[0]); });
  form.hidden = false;
})();
