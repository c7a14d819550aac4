// The calculator on the Home page, and the first answers of the calculator's page. It holds no formula of its own: MEMCALC is written from memcalc's own lines
// (calculator-data.js, and a file for each model). What stands here is how a budget adds up: see memcalc/ledger/budget.py and memcalc/serving/search.py.
"use strict";

(() => {
  const HERE = document.currentScript.src;
  const MOMENTS = ["load", "prefill", "decode"];
  const LABELS = {
    weights: ["Weights", "../notebooks/handbook_parameters.html"],
    kv_cache: ["KV cache", "../notebooks/handbook_kv_cache.html"],
    state: ["State", "../notebooks/handbook_kv_cache.html"],
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
    MEMCALC.exact.counts(batch, context, bytes);
    const call = (size) => (typeof size === "function" ? size(batch, context, bytes) : size);
    const lines = stage.map((line) => {
      const own = call(line.bytes), low = call(line.low ?? own), high = call(line.high ?? own);
      return {component: line.component, moments: line.moments, low, bytes: own, high, outside: line.outside};
    });
    lines.unshift({component: "weights", moments: MOMENTS, low: weights, bytes: weights, high: weights, outside: false});
    const sum = (some, key) => exact(some.reduce((total, line) => total + line[key], 0));
    const living = (moment) => lines.filter((line) => line.component === "runtime" || line.moments.includes(moment));
    const moments = Object.fromEntries(MOMENTS.map((moment) =>
      [moment, sum(lines.filter((line) => line.moments.includes(moment)), "bytes")]));
    const fullest = MOMENTS.reduce((most, moment) => (moments[moment] > moments[most] ? moment : most));
    const components = {};
    for (const name of Object.keys(LABELS)) {
      const own = living(fullest).filter((line) => line.component === name);
      if (own.length) components[name] = sum(own, "bytes");
    }
    const most = (key, some = () => true) => Math.max(...MOMENTS.map((moment) => sum(living(moment).filter(some), key)));
    const inside = (line) => !line.outside;
    return {
      moments, components, fullest, share: most("bytes", inside), shareMost: most("high", inside),
      total: most("bytes"), low: most("low"), high: most("high"),
    };
  };

  const pools = (asked, batch, context) => {
    const model = MEMCALC.models[asked.model], found = model.plans[asked.engine][asked.count];
    const weights = found.weights[asked.weights];
    if (weights.at_a_shell)
      throw new RangeError(`This plan: the page has no ${asked.engine} for ${asked.model}; ` +
        `choose another, or ask at a shell: ${line(asked)}`);
    if (weights.expected)
      throw new RangeError(`This plan: expected ${weights.expected}, given ${weights.given}; ` +
        "choose another number, format or engine");
    const device = MEMCALC.devices[asked.device];
    const kind = device.kinds[Number(model.packed)][asked.engine];
    if (kind === null && asked.engine !== "sglang")
      throw new RangeError(`This plan: ${asked.engine} does not run on ${device.name}; choose another device or engine`);
    if (kind === null)
      throw new RangeError(`This plan: the page has no ${asked.engine} on ${device.name}; ` +
        `choose another, or ask at a shell: ${line(asked)}`);
    const key = `${kind} ${MEMCALC.formats[asked.weights]}`;
    const stages = found.stages[found.by_cache ? `${key} ${asked.kv}` : key]
      .map((number) => model.stages[number].map((line) => model.lines[line]));
    const usable = Number(BigInt(device.capacity) * BigInt(found.shares[kind]) / BigInt(MEMCALC.millions));
    return stages.map((stage, index) =>
      ({...pool(weights[index], stage, batch, context, MEMCALC.kv[asked.kv]), usable, capacity: device.capacity}));
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
  const holds = (stage) => stage.share <= stage.usable && stage.total <= stage.capacity;
  const surely = (stage) => stage.shareMost <= stage.usable && stage.high <= stage.capacity;
  const VERDICTS = {fits: "Fits", may_not_fit: "May not fit", does_not_fit: "Does not fit"};

  const limit = (asked) => MEMCALC.models[asked.model].limit ?? Infinity;
  const verdict = (asked, stages) => {
    if (!stages.every(holds) || Number(asked.context) > limit(asked)) return "does_not_fit";
    return stages.every(surely) ? "fits" : "may_not_fit";
  };

  const answer = (asked) => {
    const batch = whole(asked.batch, "Batch"), context = whole(asked.context, "Context");
    const stages = pools(asked, batch, context);
    const fullest = stages.reduce((most, stage) => (stage.total > most.total ? stage : most));
    const fits = (sequences, tokens) => pools(asked, sequences, tokens).every(holds);
    return {
      ...fullest, device: MEMCALC.devices[asked.device], fits: stages.every(holds), verdict: verdict(asked, stages),
      maxContext: largest((tokens) => fits(batch, tokens)),
      maxBatch: largest((sequences) => fits(sequences, context)),
    };
  };

  // What fits instead: one thing changed, the gentlest first, three at most.
  const remedies = (asked) => {
    const batch = Number(asked.batch), context = Number(asked.context), model = MEMCALC.models[asked.model];
    const start = {...asked, context: String(Math.min(context, limit(asked)))};
    const fits = (changed) => {
      const plan = {...start, ...changed};
      try { return verdict(plan, pools(plan, Number(plan.batch), Number(plan.context))) === "fits"; }
      catch (error) { if (error instanceof RangeError) return false; throw error; }
    };
    const found = [];
    const offer = (text, changed) => { if (found.length < 3 && fits(changed)) found.push([text, {...start, ...changed}]); };
    if (context > limit(asked)) offer(`a context of ${thin(limit(asked))} tokens`, {});
    if (found.length) return found;
    const tokens = largest((number) => number < context && fits({context: String(number)}));
    const sequences = largest((number) => number < batch && fits({batch: String(number)}));
    const shorter = () => tokens && offer(`a context of ${thin(tokens)} tokens`, {context: String(tokens)});
    const fewer = () => sequences && offer(`a batch of ${thin(sequences)}`, {batch: String(sequences)});
    if (2 * tokens > context) shorter();
    if (2 * sequences > batch) fewer();
    if (MEMCALC.kv[asked.kv] > MEMCALC.kv.fp8) offer("the KV cache in fp8", {kv: "fp8"});
    const weights = model.formats.filter((name) => name !== asked.weights).find((name) => fits({weights: name}));
    if (weights) offer(`weights in ${weights}`, {weights});
    const count = MEMCALC.counts.filter((number) => number > Number(asked.count)).find((number) => fits({count: number}));
    if (count) offer(`${count} devices`, {count: String(count)});
    if (2 * tokens <= context) shorter();
    if (2 * sequences <= batch) fewer();
    return found;
  };

  const line = (asked) =>
    `memcalc serve ${asked.model} --context ${asked.context} --batch ${asked.batch} --weights ${asked.weights} ` +
    `--kv ${asked.kv} --engine ${asked.engine} --on "${asked.count}x ${asked.device}"`;

  // A model's numbers come in a file of its own, by a script element: a page opened from a file may not fetch.
  const loading = {};
  MEMCALC.load = (name) => (loading[name] ??= new Promise((loaded, failed) => {
    const script = document.createElement("script");
    script.src = new URL(MEMCALC.files[name], HERE);
    script.addEventListener("load", loaded);
    script.addEventListener("error", () => failed(new Error(`${name}: ${MEMCALC.files[name]} does not load`)));
    document.head.append(script);
  }));
  MEMCALC.answer = answer; // the calculator's page has a form of its own

  const form = document.getElementById("calculator");
  if (!form) return;

  const show = (asked, found) => {
    const head = form.querySelector(".verdict"), bar = form.querySelector(".bar");
    const count = Number(asked.count), many = count > 1 ? `, on the fullest of ${count} devices` : "";
    const beside = found.total > found.share ? `; with what comes on top of this share, ${gib(found.total)} GiB of ${gib(found.capacity)} GiB` : "";
    const beyond = Number(asked.context) > limit(asked) ? `; the model's own limit is ${thin(limit(asked))} tokens` : "";
    const unsure = found.verdict === "may_not_fit" ? `; at the highest of the range, ${gib(found.high)} GiB, it does not` : "";
    head.textContent = `${VERDICTS[found.verdict]}: ${gib(found.share)} GiB of ${gib(found.usable)} GiB` +
      beside + many + unsure + beyond;
    head.dataset.fits = found.fits;
    head.dataset.verdict = found.verdict;
    const instead = found.verdict === "fits" ? [] : remedies(asked);
    form.querySelector(".remedies").replaceChildren(...instead.map(([text, plan]) => {
      const item = document.createElement("li"), code = document.createElement("code");
      code.textContent = line(plan);
      item.append(`Fits with ${text}: `, code);
      return item;
    }));
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
    const own = limit(asked) === Infinity ? "the model states no limit of its own"
      : `the model's own limit is ${thin(limit(asked))} tokens`;
    form.querySelector(".room").textContent =
      `Largest context at this batch: ${found.maxContext === MEMCALC.limit ? "any number of" : thin(found.maxContext)} tokens. ` +
      `Largest batch at this context: ${thin(found.maxBatch)}. (Memory alone; ${own}.)`;
    form.querySelector(".room").dataset.maxContext = found.maxContext;
    form.querySelector(".room").dataset.maxBatch = found.maxBatch;
    form.querySelector(".command").textContent = line(asked);
    form.querySelector(".full").href = `calculator.html#${encodeURIComponent(line(asked))}`;
  };

  let chosen = "Qwen/Qwen3-32B", shown = null; // what the form asks for, and whose formats it offers
  const update = () => {
    const asked = Object.fromEntries(new FormData(form));
    if (asked.model !== shown) return; // its numbers are on their way
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
  const words = (text) => text.toLowerCase().split(/[\s,/_-]+/).filter(Boolean);
  const offer = () => {
    const {find, model} = form.elements, names = Object.keys(MEMCALC.files);
    const found = names.filter((name) => words(find.value).every((word) => name.toLowerCase().includes(word)));
    const listed = found.length ? found : names;
    fill("model", listed.map((name) => [name, name]));
    find.setCustomValidity(found.length ? "" : "No model of the catalogue has all these words in its name");
    if (listed.includes(chosen)) model.value = chosen; else choose();
  };
  const choose = () => {
    const name = chosen = form.elements.model.value;
    const own = () => {
      if (chosen !== name) return; // another one was chosen meanwhile
      const model = MEMCALC.models[name];
      fill("weights", model.formats.map((format) => [format, format]));
      form.elements.weights.value = model.weights;
      form.elements.kv.value = model.kv;
      shown = name;
      update();
    };
    MEMCALC.load(name).then(own, (error) => { form.querySelector(".problem").textContent = error.message; });
  };
  offer();
  fill("device", Object.entries(MEMCALC.devices).map(([id, device]) => [id, device.name]));
  fill("kv", Object.keys(MEMCALC.kv).map((name) => [name, name]));
  fill("engine", MEMCALC.engines.map((name) => [name, name]));
  fill("count", MEMCALC.counts.map((count) => [count, count]));
  form.elements.device.value = "rtx-pro-6000-blackwell";
  form.elements.find.addEventListener("input", offer);
  form.elements.model.addEventListener("change", choose);
  form.addEventListener("input", update);
  form.addEventListener("change", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  choose();
})();
