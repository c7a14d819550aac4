// The command line on the calculator's page: a command, the files that it is to find, and what it answers (ask.js).
// What readers type, drop or paste becomes text, never markup.
"use strict";

(() => {
  const form = document.getElementById("command-line");
  if (!form) return;
  const part = (name) => form.querySelector(`.${name}`);
  const files = new Map();
  const megabytes = (bytes) => (bytes / 1e6).toFixed(1);

  const list = () => {
    part("files").replaceChildren(...[...files].map(([name, file]) => {
      const item = document.createElement("li"), away = document.createElement("button");
      away.type = "button";
      away.textContent = "Remove";
      away.setAttribute("aria-label", `Remove ${name}`);
      away.addEventListener("click", () => { files.delete(name); list(); });
      item.append(`${name}, ${file.size.toLocaleString("en-US")} bytes `, away);
      return item;
    }));
  };
  const take = (given) => {
    for (const file of given) files.set(file.name, file);
    list();
  };

  const show = ({code, out, err}) => {
    part("status").textContent = `Exit status ${code}`;
    part("out").textContent = out;
    part("err").textContent = err;
    part("out").hidden = !out;
    part("err").hidden = !err;
    part("copy").hidden = !out;
    part("answer").hidden = false;
  };
  const run = async () => {
    part("problem").textContent = "";
    part("run").disabled = true;
    part("stop").hidden = false;
    part("answer").hidden = true; // an older answer must not look like this one's
    try {
      const words = shellWords.command(form.elements.command.value), given = new Map(files);
      if (form.elements.input.value) given.set("-", form.elements.input.value);
      show(await window.memcalc.ask(words, given));
    } catch (error) {
      part("problem").textContent = error.message;
    } finally {
      part("run").disabled = false;
      part("stop").hidden = true;
      part("loading").hidden = true;
    }
  };

  window.addEventListener("memcalc:progress", ({detail: {stage, loaded, total}}) => {
    const bar = part("loading").querySelector("progress"), words = part("loading").querySelector("span");
    part("loading").hidden = stage === "ready";
    if (stage === "loading") { bar.max = total; bar.value = loaded; } else bar.removeAttribute("value");
    words.textContent = stage === "loading" ? `Loading ${megabytes(loaded)} of ${megabytes(total)} MB` : "Starting Python";
  });

  const copy = async () => {
    const text = part("out").textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch { // an older browser, or a page that may not: the selection is copied
      getSelection().selectAllChildren(part("out"));
      document.execCommand("copy");
    }
    part("copy").textContent = "Copied";
    setTimeout(() => { part("copy").textContent = "Copy"; }, 2000);
  };

  form.addEventListener("submit", (event) => { event.preventDefault(); run(); });
  form.elements.command.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!part("run").disabled) form.requestSubmit();
  });
  form.elements.file.addEventListener("change", ({target}) => { take(target.files); target.value = ""; });
  form.addEventListener("dragover", (event) => { event.preventDefault(); form.dataset.over = ""; });
  form.addEventListener("dragleave", () => { delete form.dataset.over; });
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    delete form.dataset.over;
    take(event.dataTransfer.files);
  });
  part("stop").addEventListener("click", () => window.memcalc.stop());
  part("copy").addEventListener("click", copy);
  form.hidden = false;
  window.memcalc.size().then((bytes) => { part("size").textContent = `${megabytes(bytes)} MB`; }, () => {});
})();
