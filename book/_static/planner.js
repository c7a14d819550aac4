// The calculator's page: a form for every option of `serve` and `train`, and what memcalc answers, opened up.
// The form writes a command, and the command line in this page answers it (ask.js); what stands here shows the answer.
// A plan of the catalogue with common options is answered at once by the generated formulas (calculator.js), too.
// What readers type, drop or paste becomes text, never markup.
"use strict";

(() => {
  const form = document.getElementById("planner");
  if (!form) return;
  const {commands, models, lists} = MEMCALC_OPTIONS;
  const part = (name) => form.querySelector(`.${name}`);
  const make = (tag, fields = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), fields);
    element.append(...children);
    return element;
  };
  const thin = (number) => number.toLocaleString("en-US");
  const gib = (bytes) => (bytes / 2 ** 30).toFixed(2);
  const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
  const spoken = (name) => name.replaceAll("_", " ").replace(/^kv\b/, "KV");
  // short names of what is shown at once; the others go by the option's own
  const SHORT = {
    context: "Context", batch: "Batch", weights: "Weight format", kv: "KV cache format", on: "Machine", engine: "Engine",
    engine_version: "Version of the engine", seq: "Sequence", micro_batch: "Micro batch", world: "Devices", shard: "Sharding (ZeRO stage, FSDP)",
    recompute: "Recomputation", optimizer: "Optimizer", lora_rank: "Rank of LoRA adapters",
  };
  const VERDICTS = {fits: "Fits", may_not_fit: "May not fit", does_not_fit: "Does not fit"};
  const OWN = "config.json", PAUSE = 40; // milliseconds

  // The form

  const command = () => form.elements.command.value;
  const known = (name = command()) => Object.values(commands[name]).flat();
  const field = (option, name = command()) => form.elements[`${name}.${option.name}`];
  const doubled = (text) => {
    const found = /^([0-9][0-9_]*)([km]?)$/i.exec(text.trim());
    if (!found) return null;
    return Number(found[1].replaceAll("_", "")) * {"": 1, k: 2 ** 10, m: 2 ** 20}[found[2].toLowerCase()];
  };
  const halves = (number) => (number >= 1024 && number % 1024 === 0 ? `${number / 1024}k` : String(number));

  const control = (option, name) => {
    const id = `${name}.${option.name}`;
    if (option.kind === "switch") return make("input", {type: "checkbox", name: id});
    if (option.kind === "choice" || option.kind === "yes or no") {
      const choices = option.kind === "choice" ? option.choices : ["yes", "no"];
      return make("select", {name: id}, new Option(`default: ${option.default}`, ""), ...choices.map((one) => new Option(one, one)));
    }
    const input = make("input", {name: id, autocomplete: "off", spellcheck: false, placeholder: option.required ? "" : option.default});
    if (option.offers) input.setAttribute("list", `offered-${option.offers}`);
    return input;
  };
  const labelled = (option, name) => {
    const input = control(option, name), unit = option.unit ? `, ${option.unit}` : "";
    const label = make("label", {title: `${option.flag}: ${option.meaning}`}, make("span", {textContent: `${SHORT[option.name] ?? spoken(option.flag.slice(2).replaceAll("-", "_"))}${unit}`}), input);
    if (!option.slides) return label;
    const slider = make("input", {type: "range", min: 0, max: option.unit === "tokens" ? 20 : 10, step: 1, value: 0, className: "slider"});
    slider.setAttribute("aria-label", `${spoken(option.name)}, doubled and halved`);
    slider.addEventListener("input", (event) => {
      event.stopPropagation();
      input.value = halves(2 ** slider.value);
      input.dispatchEvent(new Event("input", {bubbles: true}));
    });
    input.addEventListener("input", () => { slider.value = Math.round(Math.log2(doubled(input.value) || 1)); });
    return make("div", {className: "slid"}, label, slider);
  };
  const build = () => {
    for (const [name, found] of Object.entries(commands)) {
      const {common, ...others} = found, place = part(`of-${name}`);
      place.append(make("div", {className: "fields"}, ...common.map((one) => labelled(one, name))));
      const more = make("details", {}, make("summary", {textContent: "All options"}));
      for (const [group, options] of Object.entries(others))
        more.append(make("fieldset", {}, make("legend", {textContent: group}),
          make("div", {className: "fields"}, ...options.map((one) => labelled(one, name)))));
      place.append(more);
    }
    for (const [name, offered] of Object.entries({...lists, models}))
      form.append(make("datalist", {id: `offered-${name}`}, ...offered.map((one) => new Option(one, one))));
  };

  // From the form to words, and back

  const value = (option) => {
    const input = field(option);
    return input.type === "checkbox" ? input.checked : input.value.trim();
  };
  const given = (option) => {
    const found = value(option);
    if (!found) return [];
    if (option.kind === "switch") return [option.flag];
    if (option.kind === "pairs") return found.split(/\s+/).flatMap((one) => [option.flag, one]);
    return [option.flag, found];
  };
  const own = () => form.elements.own.value.trim();
  const source = () => (own() ? OWN : form.elements.source.value.trim());
  const words = () => [command(), ...(source() ? [source()] : []), ...known().flatMap(given)];
  const files = () => (own() ? {[OWN]: form.elements.own.value} : {});

  const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
  const line = (some) => ["memcalc", ...some].map(quoted).join(" ");

  // Put a command into the form; what the form has no field for is refused.
  const put = ([name, ...rest]) => {
    if (!(name in commands)) throw new RangeError(`command: expected serve or train, given ${name}; use the command line below`);
    form.elements.command.value = name;
    for (const option of known()) {
      const input = field(option);
      if (input.type === "checkbox") input.checked = false; else input.value = "";
    }
    const flags = Object.fromEntries(known().map((option) => [option.flag, option]));
    const named = [];
    while (rest.length) {
      const word = rest.shift(), [flag, inside] = word.startsWith("--") && word.includes("=") ? [word.split("=")[0], word.slice(word.indexOf("=") + 1)] : [word];
      const option = flags[flag];
      if (!option && word.startsWith("-")) throw new RangeError(`${word}: the form has no field for it; use the command line below`);
      if (!option && named.length) throw new RangeError(`${word}: expected one model, given a second word; quote names that have spaces`);
      if (!option) named.push(word);
      else if (option.kind === "switch") field(option).checked = true;
      else {
        const text = inside ?? rest.shift() ?? "", input = field(option);
        if (input.tagName === "SELECT" && ![...input.options].some((one) => one.value === text))
          throw new RangeError(`${flag}: expected one of ${option.choices.join(", ")}, given ${text}`);
        input.value = option.kind === "pairs" && input.value ? `${input.value} ${text}` : text;
        input.dispatchEvent(new Event("input"));
      }
    }
    if (named[0] !== OWN) { form.elements.source.value = named[0] ?? ""; form.elements.own.value = ""; }
    shown();
    if (named[0] === OWN && !own()) throw new RangeError(`${OWN}: this plan is about a file of one's own; drop it here, or paste its text`);
  };
  const shown = () => {
    for (const name of Object.keys(commands)) part(`of-${name}`).hidden = name !== command();
  };

  // What is shown of an answer

  const row = (cells, tag = "td") => make("tr", {}, ...cells.map((cell, place) =>
    (cell instanceof Node ? make(place ? "td" : "th", {scope: place ? "" : "row"}, cell) : make(place ? tag : "th", {textContent: cell}))));
  const tabled = (head, rows) => make("div", {className: "pst-scrollable-table-container"},
    make("table", {className: "table"}, make("thead", {}, row(head, "th")), make("tbody", {}, ...rows)));
  const range = (low, high, bytes) => (low === bytes && high === bytes ? "" : `${gib(low)} to ${gib(high)}`);

  const bar = (components, total, marks) => {
    const scale = Math.max(total, ...marks.map(([, bytes]) => bytes)) || 1;
    const inside = make("div", {className: "bar"}, ...Object.entries(components).map(([name, bytes]) => {
      const piece = make("span", {className: name, title: `${spoken(name)}: ${gib(bytes)} GiB`});
      piece.style.width = `${(100 * bytes) / scale}%`;
      return piece;
    }));
    const words = Object.entries(components).map(([name, bytes]) => `${spoken(name)} ${gib(bytes)} GiB`).join(", ");
    inside.setAttribute("role", "img");
    inside.setAttribute("aria-label", words);
    const lines = marks.map(([title, bytes]) => {
      const mark = make("div", {className: "line", title: `${title}: ${gib(bytes)} GiB`});
      mark.style.left = `${(100 * bytes) / scale}%`;
      return mark;
    });
    return make("div", {className: "scale"}, inside, ...lines);
  };

  // Lines of a component, tensor by tensor: the formula with the numbers put in, and where it comes from.
  const opened = (name, lines) => {
    const said = lines.map((one) => make("li", {},
      make("b", {textContent: one.name}),
      make("span", {className: "formula", textContent: `${one.formula ? `${one.formula} = ` : ""}${thin(one.bytes)} bytes`}),
      make("span", {className: "evidence", textContent: `${one.evidence}${one.low === null ? "" : `, ${thin(one.low)} to ${thin(one.high)}`}; ${one.source}`})));
    return make("details", {}, make("summary", {textContent: `${spoken(name)}: ${lines.length === 1 ? "one line" : `${lines.length} lines`}`}),
      make("ul", {className: "lines"}, ...said));
  };

  const componentTable = (components, lines, total) => {
    const rows = Object.entries(components).map(([name, bytes]) => {
      const mine = lines.filter((one) => one.component === name);
      const sum = (key) => mine.reduce((all, one) => all + (one[key] ?? one.bytes), 0);
      const found = row([spoken(name), gib(bytes), thin(bytes), mine.length ? range(sum("low"), sum("high"), sum("bytes")) : "",
        [...new Set(mine.map((one) => one.evidence))].join(", ")]);
      found.className = name;
      found.dataset.bytes = bytes;
      return found;
    });
    rows.push(Object.assign(row(["total", gib(total.bytes), thin(total.bytes), range(total.low, total.high, total.bytes), ""]), {className: "total"}));
    return tabled(["", "GiB", "bytes", "range, GiB", "evidence"], rows);
  };

  const alive = (lines, moment) => lines.filter((one) => one.moments.includes(moment) || one.component === "runtime");

  const poolShown = (pool, lines, engine, card) => {
    const moments = Object.entries(pool.moments ?? {});
    const fullest = moments.reduce((most, one) => (most && most[1] >= one[1] ? most : one), null)?.[0];
    const mine = alive(lines.filter((one) => one.pool === pool.name), fullest);
    const marks = pool.capacity_bytes === null ? [] : [["what it has", pool.capacity_bytes]];
    if (pool.usable_bytes && pool.usable_bytes !== pool.capacity_bytes) marks.push([`what ${engine} may use`, pool.usable_bytes]);
    const many = pool.name === "host" ? "the host" : pool.devices > 1 ? `the fullest of ${card || `${pool.devices} devices`}` : card || "the device";
    const title = `On ${many}${fullest && moments.length > 1 ? `, at ${fullest}` : ""}`;
    const said = marks.map(([what, bytes]) => `${what} ${gib(bytes)} GiB`).join(", ");
    const pieces = mine.length ? Object.keys(pool.components).map((name) => opened(name, mine.filter((one) => one.component === name))) : [];
    const box = make("section", {className: "pool"}, make("h3", {textContent: title}),
      bar(pool.components, pool.total_bytes, marks), make("p", {className: "marks", textContent: said ? `Lines: ${said}.` : ""}),
      componentTable(pool.components, mine, {bytes: pool.total_bytes, low: pool.low_bytes, high: pool.high_bytes}), ...pieces);
    box.dataset.pool = pool.name;
    return box;
  };

  const momentsShown = (found) => {
    const marks = found.capacity_bytes === null ? [] : [["what the device has", found.capacity_bytes]];
    const peak = found.moments.find((one) => one.at === found.peak_at), mine = found.lines.filter((one) => one.moments.includes(found.peak_at));
    const most = Math.max(...found.moments.map((one) => one.total_bytes));
    const bars = found.moments.map((one) => make("div", {className: "moment"},
      make("span", {textContent: `${spoken(one.at)}, ${gib(one.total_bytes)} GiB`}),
      bar(one.components, most, marks.length ? marks : [["the fullest moment", most]])));
    const has = marks.length ? `The line is what a device has, ${gib(found.capacity_bytes)} GiB.` : "";
    return [make("section", {className: "pool"}, make("h3", {textContent: "Over a step"}), ...bars, make("p", {className: "marks", textContent: has})),
      make("section", {className: "pool"}, make("h3", {textContent: `What is there at the fullest moment: ${spoken(found.peak_at)}`}),
        componentTable(peak.components, mine, {bytes: found.allocated_bytes, low: found.allocated_bytes, high: found.allocated_bytes}),
        make("p", {textContent: `With the driver's context and the allocator's reserve: ${gib(found.device_bytes)} GiB, ` +
          `in the range ${gib(found.low_bytes)} to ${gib(found.high_bytes)} GiB.`}),
        ...Object.keys(peak.components).map((name) => opened(name, mine.filter((one) => one.component === name))))];
  };

  // The cards by name, in the order of the pools: "A + B" has a pool each.
  const cards = (found) => {
    const parts = (found.plan?.on ?? "").split("+").map((one) => one.trim()).filter((one) => one && !/host|ram|memory/i.test(one));
    const pools = (found.pools ?? []).filter((one) => one.name !== "host");
    return parts.length === pools.length ? parts : pools.map(() => "");
  };
  // What lies in the engine's share at the fullest moment: the rest comes on top of it.
  const inShare = (pool, lines) => {
    if (pool.share_bytes !== undefined) return pool.share_bytes;
    const mine = lines.filter((one) => one.pool === pool.name && !one.outside);
    return Math.max(...Object.keys(pool.moments).map((moment) => alive(mine, moment).reduce((sum, one) => sum + one.bytes, 0)));
  };
  const sentence = (found) => {
    const verdict = VERDICTS[found.verdict], cause = found.cause ? `: ${found.cause}` : "";
    if (!found.pools) {
      if (found.capacity_bytes === null) return `Needs ${gib(found.device_bytes)} GiB. No machine is named: name one under Machine for a verdict.`;
      return `${verdict}. A device needs ${gib(found.device_bytes)} GiB of ${gib(found.capacity_bytes)} GiB${cause}.`;
    }
    const devices = found.pools.filter((one) => one.name !== "host"), host = found.pools.find((one) => one.name === "host");
    const beside = host ? `, and ${gib(host.total_bytes)} GiB of the host's memory${host.capacity_bytes === null ? "" : ` of ${gib(host.capacity_bytes)} GiB`}` : "";
    const needs = devices.map((pool) => inShare(pool, found.lines));
    const rest = (place) => devices[place].usable_bytes - needs[place];
    // the device that decides: the one that lacks most, or has least left
    const place = devices.reduce((least, _, at) => (rest(at) < rest(least) ? at : least), 0), pool = devices[place];
    const each = `${pool.devices > 1 ? "each of " : ""}${cards(found)[place] || (pool.devices > 1 ? `${pool.devices} devices` : "the device")}`;
    if (pool.capacity_bytes === null) return `Needs ${gib(pool.total_bytes)} GiB on ${each}${beside}. No machine is named: name one under Machine for a verdict.`;
    const top = pool.total_bytes > needs[place] ? ` In all it takes ${gib(pool.total_bytes)} GiB.` : "";
    return `${verdict}. On ${each}, which has ${gib(pool.capacity_bytes)} GiB, it needs ${gib(needs[place])} GiB of the ${gib(pool.usable_bytes)} GiB ` +
      `that ${found.engine} may use${beside}${cause}.${top}`;
  };

  const room = (found) => {
    if (found.max_context === undefined) return "";
    const said = (number) => (number === null ? "any number of" : thin(number));
    const limit = found.model_max_context ? `; the model's own limit is ${thin(found.model_max_context)} tokens` : "";
    const pool = found.pools[0].kv_pool;
    const holds = pool ? ` The engine's pool holds ${thin(pool.tokens)} tokens (${thin(pool.low_tokens)} to ${thin(pool.high_tokens)}).` : "";
    return `Largest context at this batch: ${said(found.max_context)} tokens. Largest batch at this context: ${said(found.max_batch)}. (Memory alone${limit}.)${holds}`;
  };

  const remedies = (found) => (found.remedies ?? []).map((one) => {
    const use = make("button", {type: "button", textContent: "Use it"});
    use.setAttribute("aria-label", `Use it: ${one.words}`);
    use.addEventListener("click", () => { take(shellWords.command(one.command)); });
    return make("li", {}, `Fits with ${one.words}: ${gib(one.total_bytes)} GiB a device. `, use, make("code", {textContent: one.command}));
  });

  let last = null; // the words, the files and the text of the answer that is shown
  const show = (found, asked, {instant}) => {
    part("verdict").textContent = sentence(found);
    part("verdict").dataset.verdict = found.verdict ?? "none";
    part("room").textContent = room(found);
    part("remedies").replaceChildren(...remedies(found));
    const pools = found.pools ? found.pools.map((pool, place) => poolShown(pool, found.lines, found.engine, cards(found)[place])) : momentsShown(found);
    part("pools").replaceChildren(...pools);
    part("chosen").textContent = found.defaults?.length ? `Taken for granted: ${found.defaults.join(", ")}.` : "";
    part("command").textContent = line(asked);
    part("instant").hidden = !instant;
    part("more").hidden = instant;
    for (const name of ["machines", "launch"]) part("more").querySelector(`[value=${name}]`).hidden = asked[0] === "train";
    form.querySelector("[value=link]").hidden = asked[1] === OWN; // a link carries no file
    part("said").hidden = true;
    part("result").hidden = false;
    part("result").dataset.instant = instant;
    part("problem").textContent = "";
    part("meant").replaceChildren();
  };
  const problem = (text) => {
    part("problem").textContent = text;
    part("result").hidden = true;
    const meant = /did you mean ([^?]+)\?/.exec(text)?.[1].split(/, | or /)
      .flatMap((one) => models.filter((name) => name === one || name.endsWith(`/${one}`))) ?? [];
    part("meant").replaceChildren(...meant.map((name) => {
      const use = make("button", {type: "button", textContent: name});
      use.addEventListener("click", () => { form.elements.source.value = name; answer({load: ready}); });
      return make("li", {}, use);
    }));
  };

  // Answers

  // The generated formulas, where they know the plan; null where they do not.
  const instantly = async (asked) => {
    const [name, model, ...rest] = asked, plan = {batch: "1", engine: "transformers"};
    if (name !== "serve" || !(model in MEMCALC.files)) return null;
    for (let place = 0; place < rest.length; place += 2) plan[rest[place].slice(2)] = rest[place + 1];
    const machine = /^([0-9]+)x ([\w-]+)$/.exec(plan.on ?? "");
    const fields = new Set(["context", "batch", "weights", "kv", "on", "engine"]);
    if (!machine || !(machine[2] in MEMCALC.devices) || !MEMCALC.counts.includes(Number(machine[1]))) return null;
    if (Object.keys(plan).some((one) => !fields.has(one)) || !MEMCALC.engines.includes(plan.engine)) return null;
    const context = doubled(plan.context ?? ""), batch = doubled(plan.batch);
    if (!context || !batch || /[km]/i.test(plan.batch)) return null;
    await MEMCALC.load(model);
    const own = MEMCALC.models[model], weights = plan.weights ?? own.weights, kv = plan.kv ?? own.kv;
    if (!own.formats.includes(weights) || !(kv in MEMCALC.kv)) return null;
    try {
      const found = MEMCALC.answer({model, weights, kv, context: String(context), batch: String(batch), device: machine[2],
        count: machine[1], engine: plan.engine});
      const unbounded = (number) => (number >= MEMCALC.limit ? null : number);
      const pool = {name: "gpu", devices: Number(machine[1]), capacity_bytes: found.capacity, usable_bytes: found.usable,
        components: found.components, moments: found.moments, total_bytes: found.total, low_bytes: found.low, high_bytes: found.high,
        share_bytes: found.share, kv_pool: null};
      const lacks = Math.max(found.share - found.usable, found.total - found.capacity);
      const why = lacks > 0 ? `a device lacks ${gib(lacks)} GiB` : `the model's own limit is ${thin(own.limit ?? 0)} tokens`;
      return {engine: plan.engine, plan, pools: [pool], verdict: found.verdict, cause: found.verdict === "does_not_fit" ? why : null, lines: [], model_max_context: own.limit,
        max_context: unbounded(found.maxContext), max_batch: unbounded(found.maxBatch)};
    } catch (error) {
      if (error instanceof RangeError) return null; // memcalc itself says why
      throw error;
    }
  };

  let turn = 0, ready = false, current = Promise.resolve();
  const answer = (how) => (current = answered(how));
  const answered = async ({load}) => {
    const mine = ++turn, asked = words(), beside = files();
    history.replaceState(null, "", own() ? location.pathname + location.search : `#${encodeURIComponent(line(asked))}`);
    part("busy").hidden = false;
    try {
      const early = await instantly(asked);
      if (mine !== turn) return;
      if (early) show(early, asked, {instant: true});
      if (!ready && !load) {
        if (!early) problem("");
        part("asks").hidden = Boolean(early);
        return;
      }
      part("asks").hidden = true;
      await new Promise((done) => { setTimeout(done, PAUSE); }); // who still types is not answered letter by letter
      if (mine !== turn) return;
      const {code, out, err} = await window.memcalc.ask([...asked, "--json"], beside);
      if (mine !== turn) return;
      if (code === 2 || !out) { problem(err.trim()); return; }
      last = {asked, beside, out};
      show(JSON.parse(out), asked, {instant: false});
    } catch (error) {
      if (mine === turn) problem(error.message);
    } finally {
      if (mine === turn) part("busy").hidden = true;
    }
  };

  // What cannot be put into the form is said, and no older answer stands below it.
  const refused = (error) => {
    if (!(error instanceof RangeError || error instanceof URIError)) throw error;
    turn += 1;
    problem(error instanceof URIError ? "link: expected a plan, given an address that is broken; copy it again" : error.message);
  };
  const take = (some) => {
    try { put(some); } catch (error) { refused(error); return; }
    answer({load: ready});
  };

  // What may be asked of the plan that is shown, in the command line's own words.
  const QUESTIONS = {
    explain: ({asked}) => ["explain", ...asked],
    machines: ({asked}) => ["which", ...without(asked.slice(1), ["--on", "--tp", "--pp", "--ep", "--dp"])],
    launch: ({asked}) => [...asked, "--engine-command"],
    text: ({asked}) => asked,
  };
  const without = (some, flags) => some.filter((word, place) => !flags.includes(word) && !flags.includes(some[place - 1]));
  const inquire = async (name) => {
    await current;
    const said = part("said");
    said.hidden = false;
    said.textContent = "...";
    const {out, err} = await window.memcalc.ask(QUESTIONS[name](last), last.beside);
    said.textContent = (out || err).trim();
  };

  const csv = () => {
    const {lines} = JSON.parse(last.out), columns = ["pool", "component", "name", "count", "bytes", "low", "high", "evidence", "formula", "source"];
    const cell = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    return [columns, ...lines.map((one) => columns.map((name) => cell(String(one[name] ?? ""))))].map((one) => one.join(",")).join("\n") + "\n";
  };
  const COPIED = {
    link: async () => location.href,
    json: async () => last.out,
    csv: async () => csv(),
    markdown: async () => (await window.memcalc.ask(["explain", ...last.asked, "--markdown"], last.beside)).out,
    command: async () => line(words()),
  };
  const copy = async (button) => {
    await current;
    const text = await COPIED[button.value]();
    try {
      await navigator.clipboard.writeText(text);
    } catch { // an older browser, or a page that may not: the text is shown, and selected
      part("said").hidden = false;
      part("said").textContent = text;
      getSelection().selectAllChildren(part("said"));
      document.execCommand("copy");
    }
    const before = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = before; }, 1500);
  };

  // Files that are dropped, or chosen

  const readFile = async (file) => {
    if (!file) return;
    if (file.size > 16e6) { problem(`${file.name}: expected a config.json, given a file of ${megabytes(file.size)} MB; only its text is needed`); return; }
    form.elements.own.value = await file.text();
    part("ours").open = true;
    answer({load: true});
  };

  // Begin

  build();
  window.addEventListener("memcalc:progress", ({detail: {stage, loaded, total}}) => {
    ready = stage === "ready";
    const box = part("loading"), meter = box.querySelector("progress");
    box.hidden = ready;
    if (stage === "loading") { meter.max = total; meter.value = loaded; } else meter.removeAttribute("value");
    box.querySelector("span").textContent = stage === "loading" ? `Loading ${megabytes(loaded)} of ${megabytes(total)} MB` : "Starting Python";
  });
  form.addEventListener("input", (event) => {
    if (event.target.name === "command") shown();
    answer({load: false});
  });
  form.addEventListener("submit", (event) => { event.preventDefault(); answer({load: true}); });
  form.addEventListener("click", ({target}) => {
    if (target.name === "ask") inquire(target.value);
    else if (target.name === "copy") copy(target);
  });
  form.elements.file.addEventListener("change", ({target}) => { readFile(target.files[0]); target.value = ""; });
  form.addEventListener("dragover", (event) => { event.preventDefault(); form.dataset.over = ""; });
  form.addEventListener("dragleave", () => { delete form.dataset.over; });
  form.addEventListener("drop", (event) => { event.preventDefault(); delete form.dataset.over; readFile(event.dataTransfer.files[0]); });
  const linked = () => {
    try {
      const text = decodeURIComponent(location.hash.slice(1));
      take(shellWords.command(text.startsWith("memcalc ") ? text : part("begin").textContent));
    } catch (error) { refused(error); }
  };
  window.addEventListener("hashchange", () => { if (location.hash.startsWith("#memcalc")) linked(); });
  form.hidden = false;
  linked();
  window.memcalc.size().then((bytes) => { for (const one of form.querySelectorAll(".size")) one.textContent = `${megabytes(bytes)} MB`; }, () => {});
})();
