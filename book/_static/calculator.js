// The calculator on the Home page. It holds no formula of its own: MEMCALC is written from memcalc's own lines
// (calculator-data.js). What stands here is how a budget adds up: see memcalc/ledger/budget.py and memcalc/serving/search.py.
"use strict";

(() => {
  const form = document.getElementById("calculator");
  if (!form) return;
  const MOMENTS = ["load", "prefill", "decode"];
  const LABELS = {
    weights: ["Weights", "../notebooks/handbook_parameters.html"],
    kv_cache: ["KV cache", "../notebooks/handbook_kv_cache.html"],
    activations: ["Activations", "../notebooks/qwen3_32b_on_96_gb.html"],
    logits: ["Logits", "../notebooks/transformer_in_shapes.html"],
    runtime: ["Runtime", "../notebooks/qwen3_32b_on_96_gb.html"],
  };
  const KNOWN = {
    framework: "Device, as a framework sees it",
    driver: "Device, as its driver prints it: a framework sees a little less",
    box: "Device, as its box says: assumed",
  };
  const thin = (number) => number.toLocaleString("en-US");
  const gib = (number) => (Math.round((number * 100) / 2 ** 30) / 100).toFixed(2);

  const whole = (text, name) => {
    if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(Number(text)) || Number(text) < 1)
      throw new RangeError(`${name}: expected a whole number of 1 or more, given "${text}"; write digits only`);
    return Number(text);
  };

  const exact = (number) => {
    if (!Number.isSafeInteger(number)) throw new RangeError("more than 2^53 bytes: not exact here");
    return number;
  };

  // One device of a stage: its lines, and their sums at the fullest moment.
  const pool = (weights, stage, batch, context, bytes) => {
    const call = (number) => MEMCALC.functions[number](batch, context, bytes);
    const lines = MEMCALC.stages[stage].map((number) => MEMCALC.lines[number]).map((line) => ({
      component: line.component, moments: line.moments,
      low: call(line.low), bytes: call(line.bytes), high: call(line.high), outside: line.outside,
    }));
    lines.unshift({component: "weights", moments: MOMENTS, low: weights, bytes: weights, high: weights, outside: false});
    const sum = (some, key) => exact(some.reduce((total, line) => total + line[key], 0));
    const at = (moment) => lines.filter((line) => line.moments.includes(moment));
    const moments = Object.fromEntries(MOMENTS.map((moment) => [moment, sum(at(moment), "bytes")]));
    const fullest = MOMENTS.reduce((most, moment) => (moments[moment] > moments[most] ? moment : most));
    const living = lines.filter((line) => line.component === "runtime" || line.moments.includes(fullest));
    const components = {};
    for (const name of Object.keys(LABELS)) {
      const own = living.filter((line) => line.component === name);
      if (own.length) components[name] = sum(own, "bytes");
    }
    const inside = living.filter((line) => !line.outside);
    return {
      moments, components, fullest, share: sum(inside, "bytes"), most: sum(inside, "high"),
      total: sum(living, "bytes"), low: sum(living, "low"), high: sum(living, "high"),
    };
  };

  const pools = (asked, batch, context) => {
    const found = MEMCALC.models[asked.model].plans[asked.engine][asked.count];
    const weights = found.weights[asked.weights];
    if (weights.expected)
      throw new RangeError(`This plan: expected ${weights.expected}, given ${weights.given}; ` +
        "choose another number, format or engine");
    const cache = found.by_cache ? ` ${asked.kv}` : "";
    const kind = `${MEMCALC.devices[asked.device].kind} ${MEMCALC.formats[asked.weights]}${cache}`;
    if (!found.stages[kind])
      throw new RangeError(`This plan: ${asked.engine} does not run on ${MEMCALC.devices[asked.device].name}; ` +
        "choose another device or engine");
    return found.stages[kind].map((stage, index) =>
      pool(weights[index], stage, batch, context, MEMCALC.kv[asked.kv]));
  };

  const largest = (fits) => {
    const enough = (number) => {
      try { return fits(number); } catch (error) { if (error instanceof RangeError) return false; throw error; }
    };
    if (!enough(1)) return 0;
    let low = 1, high = 2;
    while (high <= MEMCALC.limit && enough(high)) [low, high] = [high, 2 * high];
    high = Math.min(high, MEMCALC.limit + 1);
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (enough(middle)) low = middle; else high = middle;
    }
    return low;
  };

  // The engine's share must hold what is in it, and the device everything.
  const within = (share, total, device) => share <= device.usable && total <= device.capacity;
  const holds = (stage, device) => within(stage.share, stage.total, device);

  const answer = (asked) => {
    const batch = whole(asked.batch, "Batch"), context = whole(asked.context, "Context");
    const stages = pools(asked, batch, context);
    const fullest = stages.reduce((most, stage) => (stage.total > most.total ? stage : most));
    const shares = MEMCALC.usable[MEMCALC.models[asked.model].plans[asked.engine][asked.count].usable];
    const usable = shares[Object.keys(MEMCALC.devices).indexOf(asked.device)];
    const device = {...MEMCALC.devices[asked.device], usable};
    const fits = (sequences, tokens) =>
      pools(asked, sequences, tokens).every((stage) => holds(stage, device));
    return {
      ...fullest, device, fits: stages.every((stage) => holds(stage, device)),
      maxContext: largest((tokens) => fits(batch, tokens)),
      maxBatch: largest((sequences) => fits(sequences, context)),
    };
  };

  const show = (asked, found) => {
    const verdict = form.querySelector(".verdict"), bar = form.querySelector(".bar");
    const count = Number(asked.count), many = count > 1 ? `, on the fullest of ${count} devices` : "";
    const device = found.device;
    const unsure = found.fits && !within(found.most, found.high, device) ? "; at the highest of the range it does not" : "";
    const beside = found.total > found.share ? `; with what comes on top of this share, ${gib(found.total)} GiB of ${gib(device.capacity)} GiB` : "";
    verdict.textContent = (found.fits
      ? `Fits: ${gib(found.share)} GiB of ${gib(device.usable)} GiB`
      : `Does not fit: ${gib(found.share)} GiB, and ${gib(device.usable)} GiB may be used`) + beside + many + unsure;
    verdict.dataset.fits = found.fits;
    const scale = Math.max(found.total, found.device.capacity);
    bar.replaceChildren(...Object.entries(found.components).map(([name, bytes]) => {
      const piece = document.createElement("span");
      piece.className = name;
      piece.style.width = `${(100 * bytes) / scale}%`;
      piece.title = `${LABELS[name][0]}: ${gib(bytes)} GiB`;
      return piece;
    }));
    form.querySelector(".line").style.left = `${(100 * found.device.capacity) / scale}%`;
    const row = (name, bytes, kind, link) => {
      const line = document.createElement("tr"), head = document.createElement("th");
      line.className = kind;
      line.dataset.bytes = bytes;
      const text = document.createElement(link ? "a" : "span");
      if (link) text.href = link;
      text.textContent = name;
      head.append(text);
      line.append(head, ...[gib(bytes), thin(bytes)].map((content) => {
        const field = document.createElement("td");
        field.textContent = content;
        return field;
      }));
      return line;
    };
    form.querySelector("tbody").replaceChildren(
      ...Object.entries(found.components).map(([name, bytes]) => row(LABELS[name][0], bytes, name, LABELS[name][1])),
      row(`Total, at ${found.fullest}`, found.total, "total"),
      row("Lowest of the range", found.low, "low"),
      row("Highest of the range", found.high, "high"),
      row(KNOWN[found.device.known], found.device.capacity, "capacity"),
    );
    form.querySelector(".room").textContent =
      `Largest context at this batch: ${found.maxContext === MEMCALC.limit ? "any number of" : thin(found.maxContext)} tokens. ` +
      `Largest batch at this context: ${thin(found.maxBatch)}. (Memory alone; ` +
      `the model's own limit is ${thin(MEMCALC.models[asked.model].limit)} tokens.)`;
    form.querySelector(".room").dataset.maxContext = found.maxContext;
    form.querySelector(".room").dataset.maxBatch = found.maxBatch;
    form.querySelector(".command").textContent =
      `memcalc serve ${asked.model} --context ${asked.context} --batch ${asked.batch} --weights ${asked.weights} ` +
      `--kv ${asked.kv} --engine ${asked.engine} --on "${asked.count}x ${asked.device}"`;
  };

  const update = () => {
    const asked = Object.fromEntries(new FormData(form));
    for (const name of ["context", "batch"]) asked[name] = asked[name].replace(/[,\s]/g, "");
    const problem = form.querySelector(".problem"), result = form.querySelector(".result");
    try {
      show(asked, answer(asked));
      problem.textContent = "";
      result.hidden = false;
    } catch (error) {
      result.hidden = true;
      if (!(error instanceof RangeError)) throw error;
      problem.textContent = error.message;
    }
  };

  const fill = (name, choices) => {
    form.elements[name].replaceChildren(...choices.map(([value, text]) => new Option(text, value)));
  };
  fill("model", Object.keys(MEMCALC.models).map((name) => [name, name]));
  fill("device", Object.entries(MEMCALC.devices).map(([id, device]) => [id, device.name]));
  fill("kv", Object.keys(MEMCALC.kv).map((name) => [name, name]));
  fill("engine", MEMCALC.engines.map((name) => [name, name]));
  fill("count", MEMCALC.counts.map((count) => [count, count]));
  const own = () => {
    const model = MEMCALC.models[form.elements.model.value];
    fill("weights", model.formats.map((name) => [name, name]));
    form.elements.weights.value = model.weights;
    form.elements.kv.value = model.kv;
  };
  form.elements.model.value = "Qwen/Qwen3-32B";
  form.elements.device.value = "rtx-pro-6000-blackwell";
  own();
  form.elements.model.addEventListener("change", own);
  form.addEventListener("input", update);
  form.addEventListener("change", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  update();
})();
