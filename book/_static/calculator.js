// First answers, at once: memory of a plan of the catalogue with common options. It holds no formula of its own: MEMCALC is written from
// memcalc's own lines (calculator-data.js, and a file for each model). What stands here is how a budget adds up: see
// memcalc/ledger/budget.py and memcalc/serving/search.py. What these formulas do not know is a RangeError; memcalc itself answers it.
"use strict";

(() => {
  const HERE = document.currentScript.src;
  const MOMENTS = ["load", "prefill", "decode"];
  const COMPONENTS = ["weights", "kv_cache", "state", "activations", "logits", "runtime"];
  const thin = (number) => number.toLocaleString("en-US");
  const gib = (bytes) => memcalcVerdict.gib(bytes);

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
    for (const name of COMPONENTS) {
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

  // The bytes of a cached number: of the format that is named, else of the engine's own beside these weights.
  const familyOf = (asked) => (asked.weights ? MEMCALC.formats[asked.weights] : MEMCALC.models[asked.model].family);
  const cached = (asked, found, kind) => (asked.kv ? MEMCALC.kv[asked.kv] : found.kv[`${kind} ${familyOf(asked)}`]);

  const known = (asked) => {
    const model = MEMCALC.models[asked.model], found = model.plans[asked.engine][asked.count];
    const kind = MEMCALC.devices[asked.device].kinds[Number(model.packed)][asked.engine];
    const weights = found.weights[asked.weights];
    if (!weights) throw new RangeError("no formula, or no such format on this engine");
    if (kind === null) throw new RangeError("no formula, or no such device for this engine");
    if (asked.kv && !model.caches[asked.engine].includes(asked.kv)) throw new RangeError("no such cache on this engine");
    const stages = found.stages[[kind, familyOf(asked), found.by_cache ? asked.kv : ""].filter((one) => one !== "").join(" ")];
    if (!stages) throw new RangeError("no formula on this device");
    return {model, found, kind, weights, stages: stages.map((number) => model.stages[number].map((line) => model.lines[line]))};
  };

  const pools = (asked, batch, context) => {
    const {found, kind, weights, stages} = known(asked), {capacity} = MEMCALC.devices[asked.device];
    const usable = Number(BigInt(capacity) * BigInt(found.shares[kind]) / BigInt(MEMCALC.millions));
    return stages.map((stage, index) => {
      const [loaded, beside] = weights[index];
      return {...pool(loaded + beside, stage, batch, context, cached(asked, found, kind)), loaded, usable, capacity};
    });
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

  const limit = (asked) => MEMCALC.models[asked.model].limit ?? Infinity;
  const verdict = (asked, stages) => {
    if (!stages.every(holds) || asked.context > limit(asked)) return "does_not_fit";
    return stages.every(surely) ? "fits" : "may_not_fit";
  };

  // Why a plan does not fit, or may not, in memcalc's words.
  const shortage = (stages, share, whole, beyond) => {
    const [heaviest] = [...stages].sort((one, other) => other.loaded - one.loaded);
    if (heaviest.loaded > heaviest.usable) return `the weights alone take ${gib(heaviest.loaded)} GiB of a device, and ${gib(heaviest.usable)} GiB may be used`;
    const lacks = Math.max(...stages.map((stage) => Math.max(stage[share] - stage.usable, stage[whole] - stage.capacity)));
    return lacks > 0 ? `a device lacks ${gib(lacks)} GiB${beyond}` : null;
  };
  const cause = (asked, stages) => {
    const beyond = asked.context > limit(asked) ? `the model's own limit is ${thin(limit(asked))} tokens` : null;
    return shortage(stages, "share", "total", "") ?? beyond ?? shortage(stages, "shareMost", "high", ", with every measured range at its upper end");
  };

  // What is asked: model, weights, kv, device, engine by name, "" for a format that is not; context, batch, count as numbers.
  const answer = (asked) => {
    const {batch, context} = asked, stages = pools(asked, batch, context);
    const fullest = stages.reduce((most, stage) => (stage.total > most.total ? stage : most));
    const fits = (sequences, tokens) => pools(asked, sequences, tokens).every(holds);
    return {
      ...fullest, verdict: verdict(asked, stages), cause: cause(asked, stages), weights: known(asked).found.names[asked.weights],
      maxContext: largest((tokens) => fits(batch, tokens)),
      maxBatch: largest((sequences) => fits(sequences, context)),
    };
  };

  // What fits instead, by the rules and in the order of memcalc/serving/remedies.py, as far as these formulas know the next one for
  // sure; `whole` says whether memcalc has no more.
  const MOST = 3, FAR = 2, NODE = 8;
  const remedies = (asked) => {
    const {batch, context} = asked, found = [];
    const fits = (changed) => {
      const plan = {...asked, ...changed};
      return verdict(plan, pools(plan, plan.batch, plan.context)) === "fits";
    };
    const total = (changed) => { const plan = {...asked, ...changed}; return Math.max(...pools(plan, plan.batch, plan.context).map((stage) => stage.total)); };
    const offer = (words, changed) => {
      if (found.length === MOST || !fits(changed)) return false;
      found.push({words, changed, total_bytes: total(changed)});
      return true;
    };
    const all = () => {
      if (context > limit(asked)) return offer(`a context of ${thin(limit(asked))} tokens`, {context: limit(asked)});
      const most = (sequences, tokens) => pools(asked, sequences, tokens).every(surely);
      const tokens = largest((number) => most(batch, number)), sequences = largest((number) => most(number, context));
      const shorter = () => tokens > 0 && tokens < context && offer(`a context of ${thin(tokens)} tokens`, {context: tokens});
      const fewer = () => sequences > 0 && offer(`a batch of ${thin(sequences)}`, {batch: sequences});
      const isNear = (load, largestLoad) => Math.floor(load / Math.max(largestLoad, 1)) < FAR;
      if (isNear(context, tokens)) shorter();
      if (isNear(batch, sequences)) fewer();
      const {found: own, kind} = known(asked), {caches, weights} = MEMCALC.smaller[asked.engine];
      const bytes = cached(asked, own, kind);
      caches.filter((name) => MEMCALC.kv[name] < bytes && MEMCALC.models[asked.model].caches[asked.engine].includes(name))
        .some((name) => offer(`the KV cache in ${name}`, {kv: name}));
      if (weights.some((name) => !own.weights[name])) return false;
      weights.filter((name) => own.stored[name] < own.stored[asked.weights] && own.widths[name] < own.widths[asked.weights])
        .some((name) => offer(`weights in ${name}`, {weights: name}));
      const loads = pools(asked, batch, context), heaviest = Math.max(...loads.map((stage) => stage.loaded));
      for (const count of MEMCALC.tried.filter((number) => number > asked.count && number * loads[0].usable >= asked.count * heaviest)) {
        if (!MEMCALC.counts.includes(count)) return false;
        if (offer(`${count}x ${asked.named}`, {count}) || found.length === MOST) break;
        if (count % NODE === 0) return false; // memcalc goes on with stages of nodes
      }
      if (own.host) return false;
      if (!isNear(context, tokens)) shorter();
      if (!isNear(batch, sequences)) fewer();
      return false; // smaller weights together with a shorter context
    };
    let whole = false;
    try { whole = all(); } catch (error) { if (!(error instanceof RangeError)) throw error; }
    return {found, whole: whole || found.length === MOST};
  };

  // A model's numbers come in a file of its own, by a script element: a page opened from a file may not fetch.
  const loading = {};
  MEMCALC.load = (name) => (loading[name] ??= new Promise((loaded, failed) => {
    const script = document.createElement("script");
    script.src = new URL(MEMCALC.files[name], HERE);
    script.addEventListener("load", loaded);
    script.addEventListener("error", () => failed(new Error(`${name}: ${MEMCALC.files[name]} does not load`)));
    document.head.append(script);
  }));
  Object.assign(MEMCALC, {answer, remedies});
})();
