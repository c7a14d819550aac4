// The quiz: a question is drawn, an answer checked, the way to it folded out, and what was missed comes back.
// Every question with the numbers of one seed is in the page (tools/quiz.py), so that the first one stands there at once. Other
// numbers, grades, hints and derivations are the answers of `memcalc ask` (ask.js): no sum and no grade is made here.
// What was answered stays on the device. What readers type becomes text, never markup.
"use strict";

(() => {
  const form = document.getElementById("quiz-form"), index = document.getElementById("quiz-index");
  if (!form) return;
  const {seed: FIRST, questions} = MEMCALC_QUESTIONS;
  const STORE = "memcalc-quiz", SEEDS = 1e6;
  const AFTER = 3; // other questions that are answered before a missed one comes back
  const SECONDS = 60, SAID = {30: "30 seconds left 还剩 30 秒", 10: "10 seconds left 还剩 10 秒"};
  const UNITS = /^[KMGT]?i?B$/;
  const ADDRESS = /^#([a-z0-9-]+)\/(\d{1,9})(?:\/(en|zh))?$/;
  const part = (name) => form.querySelector(`.${name}`);
  const make = (tag, fields = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), fields);
    element.append(...children);
    return element;
  };
  const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
  const random = (count) => Math.floor(Math.random() * count);

  // What stays on the device: the answers, and what is asked for. Where nothing may be stored, it lasts as long as the page.

  const NEW = {answers: [], topic: "", difficulty: "", language: "en", by_hand: false};
  const load = () => {
    try {
      const found = JSON.parse(localStorage.getItem(STORE));
      return found && Array.isArray(found.answers) ? {...NEW, ...found} : {...NEW};
    } catch { return {...NEW}; } // refused, or not what this page has written
  };
  let kept = load();
  const keep = () => {
    try { localStorage.setItem(STORE, JSON.stringify(kept)); } catch { /* refused, or full */ }
  };
  // The last answer to each question that is still in the bank: whether it was right, and its place among all.
  const last = () => new Map(kept.answers.map(({id, right}, place) => [id, {right, place}]).filter(([id]) => id in questions));
  const isCounted = ({id, seed}) => kept.answers.some((one) => one.id === id && one.seed === seed);

  // What is asked next

  const isShort = ({kind, by_hand}) => by_hand || kind === "choice" || kind === "explain";
  const isWanted = (one) => (!kept.topic || one.topic === kept.topic) && (!kept.difficulty || one.difficulty === kept.difficulty) &&
    (!kept.by_hand || one.by_hand) && (!isCards() || isShort(one));
  const recent = []; // shown in this visit, the newest last
  const pick = () => {
    const wanted = Object.keys(questions).filter((id) => isWanted(questions[id])), answered = last();
    const others = wanted.filter((id) => id !== now?.id), pool = others.length ? others : wanted;
    const isMissed = (id) => answered.has(id) && !answered.get(id).right;
    const waited = (id) => kept.answers.length - 1 - answered.get(id).place;
    const due = pool.filter((id) => isMissed(id) && waited(id) >= AFTER).sort((one, other) => waited(other) - waited(one));
    if (due.length) return due[0];
    const shown = recent.slice(-Math.floor(wanted.length / 2));
    const unseen = pool.filter((id) => !isMissed(id) && !shown.includes(id));
    const fresh = unseen.filter((id) => !answered.has(id)), some = [fresh, unseen, pool].find((one) => one.length);
    return some?.[random(some.length)];
  };

  // memcalc

  let ready = false;
  const memcalc = async (words) => {
    const {code, out, err} = await window.memcalc.ask(words);
    if (code) throw new Error(err.trim());
    return JSON.parse(out);
  };
  const asked = ({id, seed, language}, ...more) => memcalc(["ask", id, "--seed", seed, "--lang", language, "--json", ...more]);
  // All that memcalc says of the question that is shown, once.
  const whole = (one) => {
    one.whole ??= asked(one).catch((error) => { one.whole = null; throw error; });
    return one.whole;
  };

  // A question

  let now = null; // {id, seed, language}, and what is known of it
  const isNow = (one) => one === now;
  const guarded = (act) => async (...given) => {
    part("problem").textContent = "";
    try { await act(...given); } catch (error) { part("problem").textContent = error.message; } finally { part("loading").hidden = true; }
  };

  const typed = (words, field) => make("label", {}, words, field);
  const FIELD = {autocomplete: "off", spellcheck: false, name: "answer"};
  const lettered = (choices) => choices.map((text, place) => [String.fromCharCode(65 + place), text]);
  const boxes = (type, legend) => ({choices}) => make("fieldset", {}, make("legend", {textContent: legend}),
    ...lettered(choices).map(([letter, text]) => make("label", {className: "choice"}, make("input", {type, name: "answer", value: letter}), `${letter}. ${text}`)));
  const number = ({unit}) => typed(UNITS.test(unit) ? "Your answer with its unit, for example 5 GiB 你的答案（带单位）"
    : now.language === "zh" ? `Your answer 你的答案（单位：${unit}）` : `Your answer, in ${unit} 你的答案`, make("input", FIELD));
  const FIELDS = {
    number, estimate: number,
    choice: boxes("radio", "One is right 单选"),
    fits: boxes("checkbox", "All that fit 选出所有放得下的"),
    mistakes: boxes("checkbox", "All that are wrong 选出所有错的"),
    explain: () => typed("Your answer in a line 用一句话回答", make("textarea", {...FIELD, rows: 2})),
    order: ({choices}) => {
      const field = make("input", FIELD);
      const buttons = lettered(choices).map(([letter, text]) => {
        const button = make("button", {type: "button", className: "choice", textContent: `${letter}. ${text}`});
        button.addEventListener("click", () => { field.value = `${field.value.replaceAll(letter, "").trim()} ${letter}`.replace(/\s+/g, " ").trim(); });
        return button;
      });
      return make("div", {}, ...buttons, typed("Letters, the smallest first: click them, or type 从小到大点选或输入字母", field));
    },
  };
  const listed = (choices) => make("ul", {hidden: !choices.length}, ...lettered(choices).map(([letter, text]) => make("li", {textContent: `${letter}. ${text}`})));
  const answered = () => {
    const chosen = [...form.querySelectorAll('.answer input:is([type="radio"], [type="checkbox"])')];
    if (!chosen.length) return form.elements.answer.value.trim();
    const letters = chosen.filter((one) => one.checked).map((one) => one.value);
    return letters.join(" ") || (chosen[0].type === "checkbox" ? "none" : "");
  };

  const paint = ({question, subject, kind, unit, tolerance, choices}) => {
    const {difficulty, by_hand} = questions[now.id];
    part("about").textContent = [subject, difficulty, by_hand && "with a pen 笔算",
      kind === "estimate" && `within a factor of ${1 + tolerance} 估算`].filter(Boolean).join(" · ");
    part("text").textContent = question;
    part("answer").replaceChildren(isCards() ? listed(choices) : FIELDS[kind]({unit, choices}));
    form.elements.check.textContent = isCards() ? "Turn over 翻面" : "Check 检查";
    [form.elements.check.hidden, form.elements.hint.hidden, part("way").hidden] = [false, isCards(), isCards()];
    if (isCards()) startClock();
  };
  const clear = () => {
    stopClock();
    for (const name of ["about", "text", "grade"]) part(name).textContent = "";
    for (const name of ["answer", "hints", "inside"]) part(name).replaceChildren();
    for (const name of ["check", "hint"]) form.elements[name].hidden = true;
    [part("way").open, part("way").hidden, part("judge").hidden] = [false, true, true];
    delete part("grade").dataset.grade;
  };
  const show = guarded(async ({id, seed, language}) => {
    const {title, drawn} = questions[id], one = {id, seed, language, hints: 0};
    now = one;
    recent.push(id);
    clear();
    const address = `#${id}/${seed}/${language}`;
    history.replaceState(null, "", address);
    part("link").href = address;
    part("question").lang = language;
    part("title").textContent = title[language];
    if (seed !== FIRST) part("text").textContent = "…";
    const found = seed === FIRST ? drawn[language] : await whole(one);
    if (isNow(one)) paint(found);
  });
  const next = () => {
    const id = pick();
    if (!id) {
      part("problem").textContent = "No question is left with these filters: choose others. 没有符合条件的题目。";
      return;
    }
    show({id, seed: ready || isCounted({id, seed: FIRST}) ? random(SEEDS) : FIRST, language: kept.language});
  };

  // An answer

  const settle = (one, right) => {
    if (isCounted(one)) return;
    kept.answers.push({id: one.id, seed: one.seed, right});
    keep();
    tell();
  };
  const GRADES = new Map([[true, "right"], [false, "wrong"], [null, "back"]]);
  const check = guarded(async () => {
    const one = now, {kind} = questions[one.id], {grade} = await asked(one, `--answer=${answered()}`);
    if (!isNow(one)) return;
    part("grade").dataset.grade = GRADES.get(grade.right);
    part("grade").textContent = grade.says;
    if (kind === "explain") { part("grade").dataset.grade = "back"; unfold(one); }
    else if (grade.right !== null) settle(one, grade.right);
  });
  const hint = guarded(async () => {
    const one = now, {hints} = await whole(one);
    if (!isNow(one)) return;
    if (one.hints < hints.length) part("hints").append(make("li", {textContent: hints[one.hints++]}));
    form.elements.hint.hidden = one.hints >= hints.length;
  });
  const named = (name, ...said) => make("p", {}, make("b", {textContent: `${name}: `}), ...said);
  const unfolded = guarded(async () => {
    const one = now, {kind, chapter} = questions[one.id], found = await whole(one);
    if (!isNow(one)) return;
    const wrong = found.wrong.map(({answer, why}) => make("li", {textContent: `${answer} ${found.unit}`.trim() + `: ${why}`}));
    part("inside").replaceChildren(
      make("div", {className: "derivation"}, ...found.derivation.map((textContent) => make("p", {textContent}))),
      ...(wrong.length ? [named("Common wrong answers 常见错误"), make("ul", {}, ...wrong)] : []),
      named("What is asked next 追问", found.further), named("Source 出处", found.source),
      named("Chapter 章节", make("a", {href: chapter.address, textContent: chapter.title})));
    if (isCards() || kind === "explain") part("judge").hidden = isCounted(one);
    else settle(one, false); // unless it has been answered
  });
  const unfold = (one) => { if (isNow(one)) [part("way").hidden, part("way").open] = [false, true]; };
  const judge = (right) => {
    settle(now, right);
    if (isCards()) next(); else part("judge").hidden = true;
    part("title").focus();
  };

  // Cards: a minute, then the other side

  let clock = 0, left = 0;
  const isCards = () => form.elements.cards.checked;
  const stopClock = () => { clearInterval(clock); part("timer").hidden = true; };
  const isPaused = () => form.elements.pause.getAttribute("aria-pressed") === "true";
  const say = () => {
    part("seconds").textContent = left;
    part("timer").querySelector("progress").value = left;
    if (left in SAID) part("said").textContent = SAID[left];
  };
  const startClock = () => {
    form.elements.pause.setAttribute("aria-pressed", "false");
    [left, part("timer").hidden] = [SECONDS, false];
    say();
    clock = setInterval(() => {
      if (isPaused()) return;
      left--;
      say();
      if (left === 0) { part("said").textContent = "Time is up 时间到"; turnOver(); }
    }, 1000);
  };
  const turnOver = () => {
    stopClock();
    form.elements.check.hidden = true;
    unfold(now);
  };

  // Score and index

  const MARKS = {right: "✓ right 答对", missed: "✗ missed 答错"};
  const tell = () => {
    const known = last(), missed = [...known.values()].filter(({right}) => !right).length;
    const right = kept.answers.filter((one) => one.right).length;
    part("score").querySelector("output").value = `${right} of ${kept.answers.length} right 答对 · ${missed} to come back 待重答`;
    form.elements.reset.hidden = !kept.answers.length;
    for (const row of index.querySelectorAll("tbody tr")) {
      const mark = known.has(row.dataset.id) ? (known.get(row.dataset.id).right ? "right" : "missed") : "not answered";
      row.dataset.mark = mark;
      row.querySelector(".so-far").textContent = MARKS[mark] ?? "";
    }
    narrow();
  };
  const narrow = () => {
    const rows = [...index.querySelectorAll("tbody tr")];
    for (const row of rows) row.hidden = ["topic", "difficulty", "mark"].some((name) => index.elements[name].value && index.elements[name].value !== row.dataset[name]);
    index.querySelector("output").value = `${rows.filter((row) => !row.hidden).length} of ${rows.length} questions 题`;
  };

  // Begin

  window.addEventListener("memcalc:progress", ({detail: {stage, loaded, total}}) => {
    ready = stage === "ready";
    const meter = part("loading").querySelector("progress");
    part("loading").hidden = ready;
    if (stage === "loading") { meter.max = total; meter.value = loaded; } else meter.removeAttribute("value");
    part("loading").querySelector("span").textContent = stage === "loading" ? `Loading ${megabytes(loaded)} of ${megabytes(total)} MB` : "Starting Python";
  });
  form.addEventListener("submit", (event) => { event.preventDefault(); if (isCards()) turnOver(); else check(); });
  form.addEventListener("click", ({target}) => {
    if (target.name === "next") next();
    else if (target.name === "hint") hint();
    else if (target.name === "judge") judge(target.value === "right");
    else if (target.name === "pause") target.setAttribute("aria-pressed", String(!isPaused()));
    else if (target.name === "reset" && confirm("Forget all answers on this device? 清除本机上的全部成绩？")) {
      kept.answers = [];
      keep();
      tell();
    }
  });
  form.addEventListener("change", ({target}) => {
    if (target.name === "cards") next();
    if (!(target.name in kept)) return;
    kept[target.name] = target.type === "checkbox" ? target.checked : target.value;
    keep();
    if (target.name === "language") show({...now, language: kept.language});
    else if (!isWanted(questions[now.id])) next();
  });
  part("answer").addEventListener("focusin", () => { whole(now).catch(() => {}); }); // while the reader thinks
  part("way").addEventListener("toggle", () => { if (part("way").open) unfolded(); });
  index.addEventListener("input", narrow);
  index.addEventListener("submit", (event) => event.preventDefault());
  const linked = () => {
    const [, id, seed, language] = ADDRESS.exec(location.hash) ?? [];
    if (!id) return false;
    if (!(id in questions)) {
      part("problem").textContent = `There is no question ${id}: the index lists them all. 没有这道题。`;
      return false;
    }
    show({id, seed: Number(seed), language: language ?? kept.language});
    return true;
  };
  window.addEventListener("hashchange", () => {
    if (!linked()) return;
    form.scrollIntoView();
    part("title").focus({preventScroll: true});
  });

  for (const name of ["topic", "difficulty"]) form.elements[name].append(...[...index.elements[name].options].map((one) => one.cloneNode(true)));
  const remember = () => {
    for (const name of ["topic", "difficulty", "language"]) form.elements[name].value = kept[name];
    form.elements.by_hand.checked = kept.by_hand;
    tell();
  };
  // What another tab has answered counts here too, and is not written over from here.
  window.addEventListener("storage", ({key}) => {
    if (key !== null && key !== STORE) return;
    kept = load();
    remember();
  });

  form.elements.cards.checked = false;
  index.querySelector(".fields").hidden = false;
  form.hidden = false;
  remember();
  if (!linked()) next();
  window.memcalc.size().then((bytes) => { part("size").textContent = `${megabytes(bytes)} MB`; }, () => {});
})();
