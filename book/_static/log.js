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

  const show = ({engine, version, model, lines, ignored, not_compared: why}) => {
    const of = [engine, version].filter(Boolean).join(" ");
    const head = make("p", {textContent: `${of || "No line of an engine was recognised"}; ${model ? `model ${model}` : "the model cannot be told"}. ${lines.length === 1 ? "One figure" : `${lines.length} figures`}.`});
    const rows = lines.map((one) => [one.quantity, one.scope ?? "", one.printed, whole(one.bytes ?? one.count), whole(one.ledger_bytes ?? one.ledger_count),
      whole(one.difference), one.cause === why ? "" : one.cause ?? ""]);
    const aside = make("details", {}, make("summary", {textContent: `${ignored.length} lines that are no memory of a device`}),
      make("ul", {}, ...ignored.map((one) => make("li", {textContent: typeof one === "string" ? one : Object.values(one).join(": ")}))));
    if (why) head.textContent += ` Not compared: ${why}.`;
    part("result").replaceChildren(head, ...(rows.length ? [tabled(["quantity", "of", "printed", "bytes, or count", "memcalc", "difference", "likely cause"], rows)] : []),
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
    form.elements.log.value = await file.text();
    form.requestSubmit();
  };
  form.elements.file.addEventListener("change", ({target}) => { read(target.files[0]); target.value = ""; });
  form.addEventListener("dragover", (event) => { event.preventDefault(); form.dataset.over = ""; });
  form.addEventListener("dragleave", () => { delete form.dataset.over; });
  form.addEventListener("drop", (event) => { event.preventDefault(); delete form.dataset.over; read(event.dataTransfer.files[0]); });
  form.hidden = false;
})();
