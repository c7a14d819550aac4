// A verdict, and what is left, as sentences: of memcalc's JSON (`serve --json`, `train --json`), or of the formulas in its shape.
"use strict";

const memcalcVerdict = (() => {
  const VERDICTS = {fits: "Fits", may_not_fit: "May not fit", does_not_fit: "Does not fit"};
  const thin = (number) => number.toLocaleString("en-US");
  const gib = (bytes) => (bytes / 2 ** 30).toFixed(2).replace(/[0-9](?=(?:[0-9]{3})+[.])/g, "$&,");
  const UNNAMED = "No machine is named: name one to see whether that fits.";

  // The cards by name, in the order of the pools: "A + B" has a pool each.
  const cards = (found) => {
    const parts = (found.plan?.on ?? "").split("+").map((one) => one.trim().replace(/^1x +/, "")).filter((one) => one && !/(?:host|ram|memory)$/i.test(one));
    const pools = (found.pools ?? []).filter((one) => one.name !== "host");
    return parts.length === pools.length ? parts : pools.map(() => "");
  };
  // What of a pool's lines is there at a moment.
  const alive = (lines, moment) => lines.filter((one) => one.moments.includes(moment) || one.component === "runtime");
  // What lies in the engine's share at the fullest moment: the rest comes on top of it.
  const inShare = (pool, lines) => {
    if (pool.share_bytes !== undefined) return pool.share_bytes;
    const mine = lines.filter((one) => one.pool === pool.name && !one.outside);
    return Math.max(...Object.keys(pool.moments).map((moment) => alive(mine, moment).reduce((sum, one) => sum + one.bytes, 0)));
  };

  const capital = (text) => text[0].toUpperCase() + text.slice(1);
  const opening = ({verdict, cause}) => {
    const first = cause?.replace(/^(.*), (with every measured range at its upper end)$/, "$2, $1"); // the condition comes first
    return `${VERDICTS[verdict]}.${first ? ` ${capital(first)}.` : ""}`;
  };

  const ofTraining = (found) => {
    const one = (found.plan?.world ?? 1) > 1 ? "Each device" : "The device";
    if (found.capacity_bytes === null) return `${one} needs ${gib(found.device_bytes)} GiB. ${UNNAMED}`;
    return `${opening(found)} ${one} needs ${gib(found.device_bytes)} GiB, and has ${gib(found.capacity_bytes)} GiB.`;
  };

  const ofHost = (host) => {
    if (!host) return "";
    const has = host.capacity_bytes === null ? "" : `, which is ${gib(host.capacity_bytes)} GiB`;
    return ` It also needs ${gib(host.total_bytes)} GiB of the host's memory${has}.`;
  };

  const ofServing = (found) => {
    const devices = found.pools.filter((one) => one.name !== "host"), host = ofHost(found.pools.find((one) => one.name === "host"));
    const needs = devices.map((pool) => inShare(pool, found.lines));
    const rest = (place) => devices[place].usable_bytes - needs[place];
    // the device that decides: the one that lacks most, or has least left
    const place = devices.reduce((least, _, at) => (rest(at) < rest(least) ? at : least), 0), pool = devices[place];
    const sized = /^[0-9.]+ *(?:[MGT]i?B|G)$/i, name = cards(found)[place], card = sized.test(name) ? `a device of ${name}` : name, tightest = devices.length > 1 ? ", the tightest of the devices" : "";
    const named = pool.devices > 1 ? `the fullest of ${card || `${pool.devices} devices`}` : card || "one device";
    if (pool.capacity_bytes === null) return `It needs ${gib(pool.total_bytes)} GiB on ${named}.${host} ${UNNAMED}`;
    const has = pool.usable_bytes === pool.capacity_bytes ? `which has ${gib(pool.capacity_bytes)} GiB`
      : `where ${found.engine} may use ${gib(pool.usable_bytes)} GiB of ${gib(pool.capacity_bytes)} GiB`;
    const top = pool.total_bytes > needs[place] ? ` With what lies outside that share it takes ${gib(pool.total_bytes)} GiB.` : "";
    return `${opening(found)} It needs ${gib(needs[place])} GiB on ${named}${tightest}, ${has}.${top}${host}`;
  };

  const sentence = (found) => (found.pools ? ofServing(found) : ofTraining(found));

  const largest = (number, none, any, some) => (number === null ? any : number === 0 ? none : some(thin(number)));
  const room = (found) => {
    if (found.max_context === undefined) return "";
    const limit = found.model_max_context ? `The model's own limit is ${thin(found.model_max_context)} tokens.` : "";
    if (found.pools[0].capacity_bytes === null) return limit;
    const context = largest(found.max_context, "no context fits at this batch", "any context fits at this batch",
      (tokens) => `a context of up to ${tokens} tokens fits at this batch`);
    const batch = largest(found.max_batch, "not even one sequence fits at this context", "any batch fits at this context",
      (sequences) => (sequences === "1" ? "one sequence fits at this context" : `a batch of up to ${sequences} fits at this context`));
    const pool = found.pools[0].kv_pool, tokens = (number) => (number === null ? "any number of" : thin(number));
    const span = pool && pool.low_tokens !== pool.high_tokens ? ` (${tokens(pool.low_tokens)} to ${tokens(pool.high_tokens)})` : "";
    const holds = pool ? `The engine's KV cache holds ${tokens(pool.tokens)} tokens${span}.` : "";
    return [`By memory alone, ${context}, and ${batch}.`, limit, holds].filter(Boolean).join(" ");
  };

  return {sentence, room, cards, alive, gib, thin};
})();
