// Names of models and machines as people type them, by the rules of memcalc/files/catalogue.py and machines.py, with the patterns
// and records that tools/plan_options.py writes from there; and what memcalc says of input that cannot be right, in its own words.
// Whatever is not understood here is null: memcalc itself answers it.
"use strict";

const memcalcNames = (() => {
  const {models, names, machines} = MEMCALC_OPTIONS;
  const pattern = (text, flags = "") => {
    const [, own, rest] = /^(?:\(\?([a-z]+)\))?(.*)$/s.exec(text);
    return new RegExp(rest, flags + (own ?? ""));
  };
  const whole = (text) => {
    const found = pattern(text);
    return new RegExp(`^(?:${found.source})$`, found.flags);
  };
  const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&");
  const thin = (number) => number.toLocaleString("en-US");
  const short = (name) => name.slice(name.lastIndexOf("/") + 1);
  const plain = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");

  // What is alike, as Python's difflib measures it

  const matched = (first, second) => { // letters in common, the longest run first
    let most = 0, left = 0, right = 0;
    for (let one = 0; one < first.length; one++)
      for (let other = 0; other < second.length; other++) {
        let run = 0;
        while (one + run < first.length && other + run < second.length && first[one + run] === second[other + run]) run++;
        if (run > most) [most, left, right] = [run, one, other];
      }
    if (!most) return 0;
    return most + matched(first.slice(0, left), second.slice(0, right)) + matched(first.slice(left + most), second.slice(right + most));
  };
  const close = (text, known) => known.map((one) => [(2 * matched(one, text)) / (one.length + text.length), one])
    .filter(([ratio]) => ratio >= 0.7).sort((one, other) => other[0] - one[0] || (one[1] < other[1] ? 1 : -1))
    .slice(0, 3).map(([, one]) => one);
  const nearest = (text, known) => { // memcalc/data/words.py
    const wanted = plain(text), spelled = new Map(known.map((one) => [plain(one), one]));
    if (spelled.has(wanted)) return [spelled.get(wanted)];
    const parts = [...spelled.keys()].filter((one) => wanted.length >= 3 && one.includes(wanted));
    const found = new Set([...parts.filter((one) => one.startsWith(wanted)), ...parts, ...close(wanted, [...spelled.keys()])]);
    return [...found].slice(0, 3).map((one) => spelled.get(one));
  };

  // Models

  const BETWEEN = pattern(`(?<=[0-9])${names.separators}(?=[0-9])`, "g"), SEPARATORS = pattern(names.separators, "g");
  const key = (text) => text.trim().toLowerCase().replace(BETWEEN, "!").replace(SEPARATORS, "").replaceAll("!", "-");
  const keys = new Map();
  for (const [name, meant] of [...Object.entries(names.aliases), ...models.map((one) => [one, one])])
    for (const part of [name, short(name), name.replace("/", " ")])
      keys.set(key(part), new Set([...(keys.get(key(part)) ?? []), meant]));
  const familyWords = (text) => short(text.toLowerCase()).split(/[\s_:-]+/).filter((word) => word && !names.variants.includes(word));
  const family = (text) => familyWords(text).join("-");
  const families = new Map();
  for (const name of models) families.set(name, family(name));
  const relatives = (text) => {
    const owner = text.includes("/") ? text.slice(0, text.lastIndexOf("/")).toLowerCase() : "", wanted = key(family(text));
    return models.filter((name) => key(families.get(name)) === wanted && ["", name.toLowerCase().split("/")[0]].includes(owner));
  };

  // The owner/name that an address of the Hub means (memcalc/files/sources.py); any other text as it is.
  const repository = (text) => {
    const found = /^(?:https?:\/\/)?(?:huggingface\.co|hf\.co)\/([^/]*(?:\/[^/]*)?)/.exec(text);
    return found ? found[1] : text;
  };
  // The model of the catalogue that a text names, and what is taken for granted; null if it names none, or several.
  const model = (address) => {
    const text = repository(address), found = [...(keys.get(key(text)) ?? relatives(text))];
    if (found.length !== 1) return null;
    const [name] = found, isItsOwn = [name, short(name), name.replace("/", " ")].some((one) => key(one) === key(text));
    return {name, defaults: isItsOwn ? [] : [names.taken.replace("{}", text).replace("{}", name)]};
  };

  // The names that contain all words of a text, the shortest that begin so first.
  const containing = (text) => {
    const words = text.toLowerCase().split(pattern(names.words)).filter(Boolean);
    const patterns = words.map((word) => new RegExp(
      (/^[0-9]/.test(word) ? "(?<![0-9.])" : "") + escaped(word).replace(/(?<=[a-z])(?=[0-9])/g, "-?"), "u"));
    for (const part of words.length ? [short, (name) => name] : []) {
      const found = models.filter((name) => patterns.every((one) => one.test(part(name).toLowerCase())));
      const begins = (name) => short(name).toLowerCase().startsWith(words[0]);
      if (found.length) return found.sort((one, other) => begins(other) - begins(one) || one.length - other.length);
    }
    return [];
  };

  const inFormat = (text) => {
    const words = short(text.replaceAll(":", " ").trim().split(/\s+/).join("-")).split("-");
    for (let number = words.length - 1; number > 0; number--) {
      const name = words.slice(0, number).join("-"), end = words.slice(number).join("-");
      const [found] = [...(keys.get(key(name)) ?? []), ...relatives(name)];
      const form = names.formats.includes(end.toLowerCase()) ? end.toLowerCase() : names.formatWords[plain(end)];
      if (found && form) return `${found} with --weights ${form}`;
    }
    return "";
  };
  const alike = (wanted, some) => {
    const known = new Map();
    for (const name of some) if (!known.has(families.get(name))) known.set(families.get(name), name);
    return nearest(wanted, [...known.keys()]).map((one) => known.get(one));
  };
  const ofItsSize = (wanted) => {
    const sizes = wanted.split("-").filter((word) => /^[0-9].*b$/.test(word));
    return sizes.length ? alike(wanted, models.filter((name) => sizes.every((one) => families.get(name).split("-").includes(one)))) : [];
  };
  const firstOf = (...tries) => tries.reduce((found, one) => (found.length ? found : one()), []);
  const nearestNames = (text) => {
    const found = inFormat(text), wanted = family(text) || "/";
    if (found) return [found];
    const begun = () => models.filter((name) => families.get(name).startsWith(wanted)).sort((one, other) => one.length - other.length);
    const every = firstOf(() => containing(text), begun, () => ofItsSize(wanted), () => alike(wanted, models));
    const offered = every.slice(0, names.most).map((name) => (text.includes("/") ? name : short(name)));
    while (offered.length > 1 && offered.join(" or ").length > names.longest) offered.pop();
    return offered;
  };

  // Machines

  const PATTERNS = machines.patterns, COUNTED = whole(PATTERNS.counted), BEHIND = whole(PATTERNS.behind), SIZE = whole(PATTERNS.size);
  const VENDORS = pattern(`^${PATTERNS.vendors}`), SERIES = pattern(PATTERNS.series), VARIANT = pattern(PATTERNS.variant);
  const MOBILE = pattern(PATTERNS.onTheMove, "g");
  const deviceKey = (name) => name.toLowerCase().replace(/\((?:r|tm)\)/g, " ").replace(MOBILE, "laptop").replace(/([0-9])\s*gi?b?(?![a-z0-9])/g, "$1g")
    .split(/[^a-z0-9]+/).filter((word) => !machines.formFactors.includes(word)).join("").replace(VENDORS, "");
  const rest = (name) => `?${name.replace(SERIES, "")}`;
  const spelled = Object.assign(Object.fromEntries(Object.keys(machines.keys).map((one) => [rest(one), one])),
    Object.fromEntries(Object.keys(machines.keys).map((one) => [one, one])));
  // The id that a name means, and by which key; an empty id of a size; null if there is none.
  const found = (name) => {
    const text = name.trim().toLowerCase(), wanted = deviceKey(text);
    if (machines.ids.includes(text)) return {id: text, key: wanted};
    if (SIZE.test(text)) return {id: "", key: "", size: SIZE.exec(text)};
    const tries = [wanted, wanted.replace(/s$/, "")].flatMap((one) => [one, rest(one)]);
    const known = tries.find((one) => Object.hasOwn(spelled, one));
    return known === undefined ? null : {id: machines.keys[spelled[known]], key: spelled[known]};
  };

  // A device of a whole number of GiB, of which the size alone is known; what vendors print in GB are GiB.
  const ofSize = (count, [, number, part, unit]) => {
    if (part || !/^g/i.test(unit)) return null;
    const isBinary = /^gib$/i.test(unit), size = Number(number), named = `${number}${isBinary ? "GiB" : "GB"}`;
    const note = `${named}: ${number} GB as printed on the box is assumed to be ${thin(size)}.00 GiB`;
    return {count, device: `${size}GiB`, named, defaults: isBinary ? [] : [note]};
  };

  // How many of which device a text names: {count, device, named, defaults}, or {unknown} with the name that no device has; null of what
  // is more than that: unequal devices, parts of a GiB, the memory of a host.
  const machine = (text) => {
    if (/[+]|(?:host|ram|memory)$/i.test(text) || !/^[\x20-\x7e]+$/.test(text)) return null;
    const words = text.trim(), behind = BEHIND.exec(words);
    let split = COUNTED.exec(words), count = 1, name = words, one = found(words);
    if (behind && !one && found(behind[1])) split = COUNTED.exec(`${behind[2]}x ${behind[1]}`);
    if (split && !one) {
      const digits = split[1].replace(/^0+/, "");
      if (digits.length < 1 || digits.length > 9) return null;
      [count, one] = [Number(digits), found(split[3])];
      name = split[2] || one ? split[3] : words;
    }
    if (!one) return pattern(PATTERNS.otherwise).test(words) ? null : {unknown: name};
    if (!one.id) return ofSize(count, one.size);
    const server = machines.servers[one.id], taken = machines.taken[one.key]?.replace("{}", name);
    if (server) return {count: count * server[0], device: server[1], named: server[1], defaults: []};
    return {count, device: one.id, named: one.id, defaults: [...(taken ? [taken] : []), ...(machines.notes[one.id] ?? [])]};
  };
  const marks = (name) => [...new Set(name.toLowerCase().replace(MOBILE, "laptop")
    .match(pattern(PATTERNS.marks, "g")))].sort().join();
  const nearestIds = (name) => {
    const marked = marks(name), asked = rest(deviceKey(name)), ids = machines.ids.filter((one) => marks(one) === marked);
    if (asked.length < 3) return [];
    const own = Object.fromEntries(ids.map((one) => [one, rest(deviceKey(one))]));
    const kin = Object.fromEntries(ids.map((one) => [one, rest(deviceKey(one.replace(VARIANT, "")))]));
    const longest = Object.values(kin).filter((one) => asked.startsWith(one)).reduce((most, one) => (one.length > most.length ? one : most), "");
    const some = close(asked, Object.values(own)), numbers = (key) => key.match(/[0-9]+/g)?.join();
    return firstOf(() => ids.filter((one) => kin[one] === asked), () => ids.filter((one) => own[one].startsWith(asked)),
      () => ids.filter((one) => kin[one] === longest && longest.length > 3), 
      () => ids.filter((one) => some.includes(own[one]) && numbers(kin[one]) === numbers(asked)))
      .slice(0, machines.near);
  };

  // Numbers: digits, underscores between groups of them; of tokens commas between groups of three, or k or m behind them.

  const wholeNumber = (text, {scaled}) => {
    const digits = scaled && /^[1-9][0-9]{0,2}(?:,[0-9]{3})+$/.test(text) ? text.replaceAll(",", "") : text;
    const found = /^(-?[0-9]+(?:_[0-9]+)*)([km]?)$/i.exec(digits);
    if (!found || (found[2] && !scaled) || text.length > 100) return null;
    return BigInt(found[1].replaceAll("_", "")) * {"": 1n, k: 2n ** 10n, m: 2n ** 20n}[found[2].toLowerCase()];
  };

  // What memcalc says of input that cannot be right

  const LARGEST = 2n ** 53n;
  const line = ({field, expected, given, remedy}) => `${field}: expected ${expected}, given ${given}; ${remedy}`;
  const typed = (text) => (text.includes("'") && !text.includes('"') ? `"${text}"` : `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`);
  const ofNumber = (option, text) => {
    const {flag: field, expected, meaning} = option;
    if (!text) return option.required ? [{field, expected, given: "nothing", remedy: `add it: ${meaning.split(";")[0]}`}] : [];
    const number = wholeNumber(text, {scaled: option.tokens});
    if (number === null || number < 1n) return [{field, expected, given: number === null ? typed(text) : String(number), remedy: meaning}];
    return number > LARGEST ? [{field, expected: `at most ${LARGEST} (2^53)`, given: String(number), remedy: meaning}] : [];
  };
  const ofModel = (text) => {
    if (!text) return [{field: "SOURCE", ...names.missing, given: "nothing"}];
    if (model(text)) return [];
    const near = nearestNames(text), named = containing(text), {expected, remedy} = names.unknown;
    if (named.length === 1 && named[0].endsWith(near.join(" or ") || "?"))
      return [{field: "SOURCE", expected: named[0], given: typed(text), remedy: `did you mean ${near[0]}?`}];
    return [{field: "SOURCE", expected, given: typed(text), remedy: near.length ? `did you mean ${near.join(" or ")}? If not: ${remedy}` : remedy}];
  };
  const ofMachine = (text) => {
    const found = text ? machine(text) : null;
    if (!found || !("unknown" in found)) return [];
    const near = nearestIds(found.unknown), {expected, remedy} = machines.unknown;
    return [{field: "--on", expected: near.length === 1 ? near[0] : near.length ? `one of ${near.join(", ")}` : expected,
      given: typed(text), remedy: near.length ? `did you mean ${near.join(" or ")}?` : remedy}];
  };
  // The line that memcalc prints for a model, the numbers of options, and a machine, "" if nothing of these is wrong; null where a
  // text may be a path or a repository, or where the line would be cut.
  const refusal = (source, numbers, on) => {
    const given = [source, on, ...numbers.map(([, text]) => text)];
    if (/[/\\]|\.(?:json|gguf|safetensors|bin|pt|pth|ckpt)$|^\.+$/.test(source) && !model(source)) return null;
    if (given.some((text) => text.length > 60 || !/^[\x20-\x7e]*$/.test(text))) return null;
    const faults = [...numbers.flatMap(([option, text]) => ofNumber(option, text)), ...ofModel(source), ...ofMachine(on)];
    const where = on && machine(on);
    if (faults.length && on && (!where || (where.count > 1 && machines.macs.includes(where.device)))) return null; // what is wrong with it, too, memcalc knows
    const lines = faults.map(line), said = lines.join("; ");
    const isCut = lines.some((one, place) => one.length > 300 && faults[place].field === "SOURCE") || said.length > 980;
    return isCut ? null : said && `memcalc: error: ${said}`;
  };

  return {model, containing, nearest: nearestNames, machine, wholeNumber, refusal};
})();
