// The calculator on Home and on its own page: a form for every option of `serve` and `train`, and what memcalc answers, opened up.
// The form writes a command, and the command line in this page answers it (ask.js); what stands here shows the answer.
// A plan of the catalogue with common options is answered at once by the generated formulas (calculator.js), and what cannot be
// right is refused at once in memcalc's words (names.js).
// What readers type, drop or paste becomes text, never markup.
"use strict";

(() => {
  const form = document.getElementById("planner");
  if (!form) return;
  const {commands, models, lists, colours} = MEMCALC_OPTIONS;
  const part = (name) => form.querySelector(`.${name}`);
  const make = (tag, fields = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), fields);
    element.append(...children);
    return element;
  };
  const {thin, gib, cards, alive} = memcalcVerdict;
  const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
  const spoken = (name) => name.replaceAll("_", " ").replace(/^kv\b/, "KV");
  // short names of what is shown at once; the others go by the option's own
  const SHORT = {
    context: "Context", batch: "Batch", weights: "Weight format", kv: "KV cache format", on: "Machine", engine: "Engine",
    engine_version: "Version of the engine", seq: "Sequence", micro_batch: "Micro batch", world: "Devices", shard: "Sharding (ZeRO stage, FSDP)",
    recompute: "Recomputation", optimizer: "Optimizer", lora_rank: "Rank of LoRA adapters",
  };
  // where what the form cannot ask is asked
  const ELSEWHERE = document.getElementById("command-line") ? "use the command line below" : "use the command line on the calculator's page";
  const OWN = "config.json", PAUSE = 40, TYPING = 700; // milliseconds
  const LOOKED_AT = 65_536; // bytes of a file that say whether it is a log
  const LONGEST_LINK = 20_000, LONGEST_CONFIG = 16e6; // bytes: of a compressed config in a link, of a config

  // The form

  const command = () => form.elements.command.value;
  const known = (name = command()) => Object.values(commands[name]).flat();
  const field = (option, name = command()) => form.elements[`${name}.${option.name}`];
  const doubled = (text) => Number(memcalcNames.wholeNumber(text.trim(), {scaled: true}) ?? 0n);
  const halves = (number) => (number >= 1024 && number % 1024 === 0 ? `${number / 1024}k` : String(number));

  const control = (option, name) => {
    const id = `${name}.${option.name}`;
    if (option.kind === "switch") return make("input", {type: "checkbox", name: id});
    if (option.kind === "choice" || option.kind === "yes or no") {
      const choices = option.kind === "choice" ? option.choices : ["yes", "no"];
      return make("select", {name: id}, new Option(`default: ${option.default}`, ""), ...choices.map((one) => new Option(one, one)));
    }
    const input = make("input", {name: id, autocomplete: "off", spellcheck: false, placeholder: option.required ? "" : option.default.replaceAll("`", "")});
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
    for (const [name, offered] of Object.entries({...lists, models})) // of models for a log's form
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
  const setOwn = (text) => {
    form.elements.own.value = text;
    part("ours").open = Boolean(text);
  };
  const source = () => (own() ? OWN : form.elements.source.value.trim());
  const words = () => [command(), ...(source() ? [source()] : []), ...known().flatMap(given)];
  const files = () => (own() ? {[OWN]: form.elements.own.value} : {});

  const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
  const line = (some) => ["memcalc", ...some].map(quoted).join(" ");

  // Put a command into the form; what the form has no field for is refused.
  const put = ([name, ...rest]) => {
    if (!(name in commands)) throw new RangeError(`command: expected serve or train, given ${name}; ${ELSEWHERE}`);
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
      if (!option && word.startsWith("-")) throw new RangeError(`${word}: the form has no field for it; ${ELSEWHERE}`);
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
    if (named[0] !== OWN) { form.elements.source.value = named[0] ?? ""; setOwn(""); }
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
      piece.style.setProperty("--colour", colours[name]);
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
    const whose = lines.length ? ["range, GiB", "evidence"] : []; // the formulas have neither for a component
    const rows = Object.entries(components).map(([name, bytes]) => {
      const mine = lines.filter((one) => one.component === name);
      const sum = (key) => mine.reduce((all, one) => all + (one[key] ?? one.bytes), 0);
      const from = [mine.length ? range(sum("low"), sum("high"), sum("bytes")) : "", [...new Set(mine.map((one) => one.evidence))].join(", ")];
      const found = row([spoken(name), gib(bytes), thin(bytes), ...from.slice(0, whose.length)]);
      found.className = name;
      found.style.setProperty("--colour", colours[name]);
      found.dataset.bytes = bytes;
      return found;
    });
    const all = ["total", gib(total.bytes), thin(total.bytes), ...[range(total.low, total.high, total.bytes), ""].slice(0, whose.length)];
    rows.push(Object.assign(row(all), {className: "total"}));
    return tabled(["", "GiB", "bytes", ...whose], rows);
  };

  const poolShown = (pool, lines, engine, card) => {
    const moments = Object.entries(pool.moments ?? {});
    const fullest = moments.reduce((most, one) => (most && most[1] >= one[1] ? most : one), null)?.[0];
    const mine = alive(lines.filter((one) => one.pool === pool.name), fullest);
    const marks = pool.capacity_bytes === null ? [] : [["what it has", pool.capacity_bytes]];
    if (pool.usable_bytes && pool.usable_bytes !== pool.capacity_bytes) marks.push([`what ${engine} may use`, pool.usable_bytes]);
    const many = pool.name === "host" ? "the host" : pool.devices > 1 ? `the fullest of ${card || `${pool.devices} devices`}` : card || "the device";
    const title = `On ${many}${fullest && moments.length > 1 ? `, at ${fullest}` : ""}`;
    const said = marks.map(([what, bytes]) => `${what} ${gib(bytes)} GiB`).join(", ");
    const span = mine.length ? "" : range(pool.low_bytes, pool.high_bytes, pool.total_bytes);
    const pieces = mine.length ? Object.keys(pool.components).map((name) => opened(name, mine.filter((one) => one.component === name))) : [];
    const box = make("section", {className: "pool"}, make("h3", {textContent: title}),
      bar(pool.components, pool.total_bytes, marks), make("p", {className: "marks", textContent: [said && `Lines: ${said}.`, span && `Range of the total: ${span} GiB.`].filter(Boolean).join(" ")}),
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

  const NO_REMEDY = "Nothing that memcalc tries makes it fit: smaller formats, less at once, more devices.";
  const remedies = (found) => (found.remedies ?? []).map((one) => {
    const use = make("button", {type: "button", textContent: "Use it"});
    use.setAttribute("aria-label", `Use it: ${one.words}`);
    use.addEventListener("click", () => { take(shellWords.command(one.command)); });
    return make("li", {}, `Fits with ${one.words}: ${gib(one.total_bytes)} GiB a device. `, use, make("code", {textContent: one.command}));
  });

  let last = null; // the words, the files and the text of the answer that is shown
  const show = (found, asked, {instant}) => {
    part("verdict").textContent = memcalcVerdict.sentence(found);
    part("verdict").dataset.verdict = found.verdict ?? "none";
    part("asked").textContent = [found.model, found.plan.engine, found.plan.weights].filter(Boolean).join(", ");
    part("room").textContent = memcalcVerdict.room(found);
    const more = found.remediesWhole === false ? [make("li", {textContent: `Answer lists what ${found.remedies.length ? "else fits" : "fits instead"}.`})] : [];
    const none = !instant && found.verdict && found.verdict !== "fits" && !found.remedies.length ? [make("li", {textContent: NO_REMEDY})] : [];
    part("remedies").replaceChildren(...remedies(found), ...more, ...none);
    const pools = found.pools ? found.pools.map((pool, place) => poolShown(pool, found.lines, found.engine, cards(found)[place])) : momentsShown(found);
    part("pools").replaceChildren(...pools);
    part("chosen").textContent = found.defaults?.length ? `Taken for granted: ${found.defaults.join(", ")}.` : "";
    part("command").textContent = line(asked);
    part("instant").hidden = !instant;
    part("more").hidden = instant;
    for (const name of ["machines", "launch"]) part("more").querySelector(`[value=${name}]`).hidden = asked[0] === "train";
    part("said").hidden = true;
    part("result").hidden = false;
    part("result").dataset.instant = instant;
    delete part("result").dataset.stale;
    part("problem").textContent = "";
    part("meant").replaceChildren();
  };
  // What a text offers: a model with or without a format, a machine in the place of the one that is not known.
  const meaning = (text) => {
    const [name, weights] = text.split(" with --weights ");
    const found = models.find((one) => one === name || one.endsWith(`/${name}`));
    if (found) return {source: found, ...(weights ? {weights} : {})};
    return MEMCALC_OPTIONS.machines.ids.includes(name) ? {on: name} : null;
  };
  const use = (chosen) => {
    const {source: name, ...options} = chosen;
    if (name) form.elements.source.value = name;
    const count = options.on && /^\s*[0-9]+\s*[x×*]\s*/.exec(field({name: "on"}).value);
    if (count) options.on = count[0] + options.on;
    for (const [option, text] of Object.entries(options)) field({name: option}).value = text;
    answer({load: ready});
  };
  const offered = (texts) => texts.map((text) => [text, meaning(text)]).filter(([, chosen]) => chosen).map(([, chosen]) => {
    const button = make("button", {type: "button", textContent: [chosen.source, chosen.weights, chosen.on].filter(Boolean).join(", ")});
    button.addEventListener("click", () => use(chosen));
    return make("li", {}, button);
  });
  const problem = (text, others = []) => {
    // what this page cannot do is said to be for a shell
    part("problem").textContent = text.replace(/(?<=;.*)(?:pip install |--via transformers)/, "at a shell: $&");
    if (text.endsWith("on the calculator's page")) part("problem").append(". ", make("a", {href: "calculator.html", textContent: "Open it"}));
    part("result").hidden = true;
    const questions = [...text.matchAll(/did you mean ([^?]+)\?/g)].flatMap(([, names]) => names.split(/, | or /));
    part("meant").replaceChildren(...offered([...questions, ...others]));
  };

  // Answers

  // The generated formulas, where they know the plan; null where they do not.
  const FORMULAS = new Set(["context", "batch", "weights", "kv", "on", "engine"]);
  const formulaPlan = async (name, model, plan) => {
    const machine = memcalcNames.machine(plan.on ?? ""), context = doubled(plan.context ?? ""), batch = memcalcNames.wholeNumber(plan.batch ?? "1", {});
    if (name !== "serve" || !machine || !(machine.device in MEMCALC.devices) || !MEMCALC.counts.includes(machine.count)) return null;
    if (Object.keys(plan).some((one) => !FORMULAS.has(one)) || !context || !batch) return null;
    await MEMCALC.load(model);
    const {weights = "", kv = "", engine = "transformers"} = plan; // "": the engine's own
    const isKnown = (text, some) => text === "" || text in some;
    if (!MEMCALC.engines.includes(engine) || !isKnown(weights, MEMCALC.formats) || !isKnown(kv, MEMCALC.kv)) return null;
    return {model, weights, kv, context, batch: Number(batch), device: machine.device, named: machine.named, count: machine.count, engine};
  };
  const changedWords = (asked, {count, ...changed}, {named}) => {
    const all = {...changed, ...(count ? {on: `${count}x ${named}`} : {})};
    const flags = Object.fromEntries(Object.entries(all).map(([option, text]) => [`--${option}`, String(text)]));
    return [...without(asked, Object.keys(flags)), ...Object.entries(flags).flat()];
  };
  const instantly = async (asked, options) => {
    const [name] = asked, named = memcalcNames.model(source()), on = memcalcNames.machine(options.on ?? "");
    const plan = named && !own() ? await formulaPlan(name, named.name, options) : null;
    if (!plan) return null;
    try {
      const found = MEMCALC.answer(plan), unbounded = (number) => (number >= MEMCALC.limit ? null : number);
      const pool = {name: "gpu", devices: plan.count, capacity_bytes: found.capacity, usable_bytes: found.usable,
        components: found.components, moments: found.moments, total_bytes: found.total, low_bytes: found.low, high_bytes: found.high,
        share_bytes: found.share, kv_pool: null};
      const instead = found.verdict === "fits" ? {found: [], whole: true} : MEMCALC.remedies(plan);
      return {model: plan.model, engine: plan.engine, plan: {...options, engine: plan.engine, weights: found.weights}, pools: [pool],
        verdict: found.verdict, cause: found.verdict === "fits" ? null : found.cause, lines: [], defaults: [...named.defaults, ...on.defaults],
        remedies: instead.found.map((one) => ({...one, command: line(changedWords(asked, one.changed, plan))})), remediesWhole: instead.whole,
        model_max_context: MEMCALC.models[plan.model].limit, max_context: unbounded(found.maxContext), max_batch: unbounded(found.maxBatch)};
    } catch (error) {
      if (error instanceof RangeError) return null; // memcalc itself says why
      throw error;
    }
  };
  // What memcalc would say of what cannot be right, where the page can know all of it; else null, and "" where nothing is wrong.
  const NUMBERS = {serve: ["context", "batch"], train: ["seq", "micro_batch"]};
  const refusedAtOnce = (options) => {
    const numbers = NUMBERS[command()], rest = Object.keys(options).filter((name) => ![...numbers, "on", "engine", "weights", "kv"].includes(name));
    if (own() || rest.length) return null;
    const given = known().filter((option) => numbers.includes(option.name)).map((option) => [option, options[option.name] ?? ""]);
    const said = memcalcNames.refusal(source(), given, options.on ?? "");
    return said && options.engine && options.on ? null : said; // an engine may not run on that machine, either
  };

  let waiting = 0; // the timer of an answer, while a name is typed
  let wanted = false; // whether somebody has asked for Python: what is typed before it begins to load takes nothing back
  let starting = null; // the question that loads Python: newer ones wait for it, and the newest is asked then
  let turn = 0, ready = false, current = Promise.resolve();
  const answer = (how) => { clearTimeout(waiting); return (current = answered(how)); };
  const answered = async ({load, isFirst = false}) => {
    const mine = ++turn, asked = words(), beside = files(), options = Object.fromEntries(known().map((one) => [one.name, value(one)]).filter(([, text]) => text));
    wanted ||= load;
    part("in-force").hidden = !own();
    part("replaced").hidden = !own() || !form.elements.source.value.trim();
    part("busy").hidden = false;
    try {
      const address = await addressOf(asked);
      if (mine !== turn) return;
      if (!isFirst) history.replaceState(null, "", address); // a page that is opened keeps its address
      const wrong = refusedAtOnce(options), early = wrong ? null : await instantly(asked, options);
      if (mine !== turn) return;
      if (early) show(early, asked, {instant: true});
      if (wrong || (!ready && !wanted)) {
        if (!early) problem(wrong ?? "", wrong || own() || memcalcNames.model(source()) ? [] : memcalcNames.nearest(source()));
        part("asks").hidden = Boolean(early || wrong);
        return;
      }
      part("asks").hidden = true;
      await new Promise((done) => { setTimeout(done, PAUSE); }); // who still types is not answered letter by letter
      if (mine !== turn) return;
      if (starting) {
        if (!early) part("result").dataset.stale = "";
        await starting;
        if (mine !== turn) return;
      }
      const question = window.memcalc.ask([...asked, "--json"], beside), loaded = () => { starting = null; };
      if (!ready) starting = question.then(loaded, () => { loaded(); wanted = false; });
      const {code, out, err} = await question;
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

  // The address of the plan that is asked for: a config of one's own goes with it, compressed, where it is not too long.

  const throughStream = async (bytes, stream, longest) => {
    const reader = new Blob([bytes]).stream().pipeThrough(stream).getReader(), pieces = [];
    for (let size = 0; ;) {
      const {done, value: piece} = await reader.read();
      if (done) return new Blob(pieces);
      pieces.push(piece);
      if ((size += piece.length) > longest) { reader.cancel(); return null; }
    }
  };
  const packed = async (text) => {
    const found = await throughStream(text, new CompressionStream("deflate-raw"), LONGEST_LINK);
    if (!found) return null;
    const letters = Array.from(new Uint8Array(await found.arrayBuffer()), (one) => String.fromCharCode(one)).join("");
    return btoa(letters).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  };
  const unpacked = async (text) => {
    try {
      const bytes = Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (one) => one.charCodeAt(0));
      const found = await throughStream(bytes, new DecompressionStream("deflate-raw"), LONGEST_CONFIG);
      if (found) return await found.text();
    } catch (error) {
      if (!(error instanceof DOMException || error instanceof TypeError)) throw error;
    }
    throw new RangeError("link: expected a plan with its config.json, given an address that is broken; copy it again");
  };
  const addressOf = async (asked) => {
    const config = own() ? await packed(form.elements.own.value) : "";
    const limit = `${LONGEST_LINK / 1000} kB`;
    part("no-link").hidden = config !== null;
    part("no-link").textContent = `Your config.json is too long for a link: compressed it has more than ${limit}.`;
    form.querySelector("[value=link]").hidden = config === null;
    if (config === null) return location.pathname + location.search;
    return `#${encodeURIComponent(line(asked))}${config ? `&config=${config}` : ""}`;
  };

  // What cannot be put into the form is said, and no older answer stands below it.
  const refused = (error) => {
    if (!(error instanceof RangeError || error instanceof URIError)) throw error;
    [turn, part("busy").hidden] = [turn + 1, true];
    problem(error instanceof URIError ? "link: expected a plan, given an address that is broken; copy it again" : error.message);
  };
  const take = (some, how = {}) => {
    try { put(some); } catch (error) { refused(error); return; }
    answer({load: ready, ...how});
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
    link: async () => new URL(await addressOf(words()), location.href).href,
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

  const isObject = (text) => {
    try { const found = JSON.parse(text); return typeof found === "object" && found !== null && !Array.isArray(found); }
    catch (error) { if (error instanceof SyntaxError || error instanceof RangeError) return false; throw error; }
  };
  // A log by its name, or by the words that engines begin their lines with; as PowerShell writes it there is a zero behind each letter.
  const isLog = (name, begin) => {
    const text = begin.replaceAll("\0", "");
    return !/^\s*\{|^GGUF|^.?PNG/.test(text) && (/\.log$/i.test(name) || /\b(?:INFO|WARNING|ERROR)\b|\bllama_|\bload_tensors\b/.test(text));
  };
  const readFile = async (file) => {
    if (!file) return;
    const refuse = (given) => refused(new RangeError(`${file.name}: expected a config.json, given ${given}; only its text is needed`));
    const begin = await file.slice(0, LOOKED_AT).text().catch(() => null); // a folder has none
    if (!begin?.trim()) { refuse(begin === null ? "what cannot be read" : "an empty file"); return; }
    const logs = document.getElementById("log");
    if (logs && isLog(file.name, begin)) { logs.dispatchEvent(new CustomEvent("memcalc:log", {detail: file})); return; }
    if (file.size > LONGEST_CONFIG) { refuse(`a file of ${megabytes(file.size)} MB`); return; }
    const text = await file.text();
    if (!isObject(text)) { refuse("what is no JSON object"); return; }
    setOwn(text);
    answer({load: true});
  };

  // Names that contain the words that are typed: below the field, for mouse and keyboard.

  const box = form.elements.source, list = part("model ul");
  const mark = (place) => {
    const items = [...list.children];
    for (const one of items) one.setAttribute("aria-selected", String(one === items[place]));
    if (items[place]) { box.setAttribute("aria-activedescendant", items[place].id); items[place].scrollIntoView({block: "nearest"}); }
    else box.removeAttribute("aria-activedescendant");
  };
  const marked = () => [...list.children].findIndex((one) => one.getAttribute("aria-selected") === "true");
  const fold = (names) => {
    list.replaceChildren(...names.map((name, place) => {
      const item = make("li", {id: `model-name-${place}`, textContent: name});
      item.setAttribute("role", "option");
      return item;
    }));
    list.hidden = !names.length;
    box.setAttribute("aria-expanded", String(names.length > 0));
    mark(-1);
  };
  const choose = (name) => { fold([]); use({source: name}); };
  const NAMES_SHOWN = 50;
  const unfold = () => {
    const found = memcalcNames.containing(box.value).slice(0, NAMES_SHOWN);
    fold(found.length === 1 && found[0] === box.value ? [] : found);
  };
  const keys = {
    ArrowDown: () => { if (list.hidden) unfold(); mark(Math.min(marked() + 1, list.children.length - 1)); },
    ArrowUp: () => mark(Math.max(marked() - 1, -1)),
    Escape: () => fold([]),
    Enter: () => choose(list.children[marked()].textContent),
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
    if (event.target === box) unfold();
    const mayGoOn = event.target === box && !list.hidden && !memcalcNames.model(source());
    if (!mayGoOn) { answer({load: false}); return; }
    [turn, part("busy").hidden] = [turn + 1, true];
    part("result").dataset.stale = ""; // a name that is being typed is not refused letter by letter
    clearTimeout(waiting);
    waiting = setTimeout(() => answer({load: false}), TYPING);
  });
  box.addEventListener("keydown", (event) => {
    if (event.isComposing || !(event.key in keys) || (event.key === "Enter" && marked() < 0)) return;
    event.preventDefault();
    keys[event.key]();
  });
  box.addEventListener("blur", () => fold([]));
  list.addEventListener("mousedown", (event) => event.preventDefault()); // the field keeps the focus
  list.addEventListener("click", ({target}) => { if (target.textContent && target !== list) choose(target.textContent); });
  form.addEventListener("submit", (event) => { event.preventDefault(); fold([]); answer({load: true}); });
  form.addEventListener("click", ({target}) => {
    if (target.name === "ask") inquire(target.value);
    else if (target.name === "copy") copy(target);
    else if (target.name === "remove") { setOwn(""); answer({load: ready}); }
  });
  form.elements.file.addEventListener("change", ({target}) => { readFile(target.files[0]); target.value = ""; });
  // A file that is dropped beside the other forms is a config: the browser does not open it in the page's place.
  const hasFiles = (event) => !event.defaultPrevented && event.dataTransfer?.types.includes("Files");
  window.addEventListener("dragover", (event) => { if (hasFiles(event)) { event.preventDefault(); form.dataset.over = ""; } });
  window.addEventListener("dragleave", () => { delete form.dataset.over; });
  window.addEventListener("drop", (event) => {
    delete form.dataset.over;
    if (!hasFiles(event)) return;
    event.preventDefault();
    form.scrollIntoView({block: "nearest"});
    readFile(event.dataTransfer.files[0]);
  });
  const isPlan = () => location.hash.startsWith("#memcalc");
  const linked = async () => {
    const mine = ++turn;
    try {
      const [text, config] = location.hash.slice(1).split("&config="), packedText = isPlan() && config ? await unpacked(config) : "";
      if (mine !== turn) return; // another plan was asked for meanwhile
      if (packedText) setOwn(packedText);
      take(shellWords.command(isPlan() ? decodeURIComponent(text) : part("begin").textContent), {isFirst: !isPlan()});
    } catch (error) { refused(error); }
    if (isPlan()) form.scrollIntoView();
  };
  window.addEventListener("hashchange", () => { if (isPlan()) linked(); });
  form.hidden = false;
  linked();
  window.memcalc.size().then((bytes) => { for (const one of form.querySelectorAll(".size")) one.textContent = `${megabytes(bytes)} MB`; }, () => {});
})();
