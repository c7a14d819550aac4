// First answers, at once: memory of a plan of the catalogue with common options. It holds no formula of its own: MEMCALC is written from
// memcalc's own lines (calculator-data.js, and a file for each model). What stands here is how a budget adds up: see
// memcalc/ledger/budget.py and memcalc/serving/search.py. What these formulas do not know is a RangeError; memcalc itself answers it.
"use strict";

(() => {
  const HERE = document.currentScript.src;
  const MOMENTS = ["load", "prefill", "decode"];
  const COMPONENTS = ["weights", "kv_cache", "state", "activations", "logits", "runtime"];
  const thin = (number) => number.toLocaleString("en-US");

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

  const pools = (asked, batch, context) => {
    const model = MEMCALC.models[asked.model], found = model.plans[asked.engine][asked.count];
    const weights = found.weights[asked.weights];
    if (weights === null) throw new RangeError("no formula, or no such format on this engine");
    const device = MEMCALC.devices[asked.device];
    const kind = device.kinds[Number(model.packed)][asked.engine];
    if (kind === null) throw new RangeError("no formula, or no such device for this engine");
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

  const limit = (asked) => MEMCALC.models[asked.model].limit ?? Infinity;
  const verdict = (asked, stages) => {
    if (!stages.every(holds) || asked.context > limit(asked)) return "does_not_fit";
    return stages.every(surely) ? "fits" : "may_not_fit";
  };

  // What is asked: model, weights, kv, device, engine by name, and context, batch, count as numbers.
  const answer = (asked) => {
    const {batch, context} = asked, stages = pools(asked, batch, context);
    const fullest = stages.reduce((most, stage) => (stage.total > most.total ? stage : most));
    const fits = (sequences, tokens) => pools(asked, sequences, tokens).every(holds);
    return {
      ...fullest, verdict: verdict(asked, stages),
      maxContext: largest((tokens) => fits(batch, tokens)),
      maxBatch: largest((sequences) => fits(sequences, context)),
    };
  };

  // What fits instead: one thing changed, the gentlest first, three at most.
  const remedies = (asked) => {
    const {batch, context} = asked, model = MEMCALC.models[asked.model], start = {...asked, context: Math.min(context, limit(asked))};
    const fits = (changed) => {
      const plan = {...start, ...changed};
      try { return verdict(plan, pools(plan, plan.batch, plan.context)) === "fits"; }
      catch (error) { if (error instanceof RangeError) return false; throw error; }
    };
    const shortened = start.context < context ? {context: start.context} : {};
    const total = (plan) => Math.max(...pools(plan, plan.batch, plan.context).map((stage) => stage.total));
    const found = [];
    const offer = (text, changed) => { if (found.length < 3 && fits(changed)) found.push({words: text, changed: {...shortened, ...changed}, total_bytes: total({...start, ...changed})}); };
    if (context > limit(asked)) offer(`a context of ${thin(limit(asked))} tokens`, {});
    if (found.length) return found;
    const tokens = largest((number) => number < context && fits({context: number}));
    const sequences = largest((number) => number < batch && fits({batch: number}));
    const shorter = () => tokens && offer(`a context of ${thin(tokens)} tokens`, {context: tokens});
    const fewer = () => sequences && offer(`a batch of ${thin(sequences)}`, {batch: sequences});
    if (2 * tokens > context) shorter();
    if (2 * sequences > batch) fewer();
    if (MEMCALC.kv[asked.kv] > MEMCALC.kv.fp8) offer("the KV cache in fp8", {kv: "fp8"});
    const weights = model.formats.filter((name) => name !== asked.weights).find((name) => fits({weights: name}));
    if (weights) offer(`weights in ${weights}`, {weights});
    const count = MEMCALC.counts.filter((number) => number > asked.count).find((number) => fits({count: number}));
    if (count) offer(`${count} devices`, {count});
    if (2 * tokens <= context) shorter();
    if (2 * sequences <= batch) fewer();
    return found;
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
