// All of memcalc in the page: `await window.memcalc.ask(words, files)` is the command line.
//
//   words    what stands behind `memcalc` at a shell: ["serve", "config.json", "--context", "32k"]
//   files    {"config.json": text}: what lies in the folder of the command; "-" is standard input. A text, bytes, or a
//            File, of which only what the command looks at is read: weights of many gigabytes are no trouble
//   answers  {code, out, err}: exit status, standard output and standard error, to the byte
//
// The first question loads Python and memcalc (ask/, written by tools/worker.py) and starts them in a worker; while that
// goes on, the window hears `memcalc:progress` with {stage: "loading" | "starting" | "ready", loaded, total} in bytes.
// Questions are answered one after the other. What breaks the worker rejects its question; the next one starts it anew.
"use strict";

(() => {
  const FOLDER = new URL("ask/", document.currentScript.src);
  let contents = null, running = null, stop = () => {}, last = Promise.resolve();

  const tell = (stage, loaded, total) =>
    window.dispatchEvent(new CustomEvent("memcalc:progress", {detail: {stage, loaded, total}}));

  // A page that was opened from a file may load scripts and nothing else, so what is loaded calls a function here.
  const waiting = {};
  globalThis.MEMCALC_PACKED = {
    contents: (said) => waiting.contents(said),
    piece: (number, text) => waiting.piece(number, text),
  };
  const script = (name) => new Promise((loaded, failed) => {
    const element = document.createElement("script");
    element.src = new URL(name, FOLDER);
    element.addEventListener("load", () => { element.remove(); loaded(); });
    element.addEventListener("error", () => {
      element.remove();
      failed(new Error(`memcalc does not load: ${name} is missing; load the page again`));
    });
    document.head.append(element);
  });

  // What there is to load, once.
  const listed = async () => {
    if (!contents) {
      waiting.contents = (said) => { contents = said; };
      await script("contents.js");
    }
    return contents;
  };
  const size = async () => Object.values((await listed()).pieces).reduce((sum, one) => sum + one, 0);

  const load = async () => {
    const {pieces} = await listed(), total = await size(), texts = [];
    let loaded = 0;
    tell("loading", loaded, total);
    waiting.piece = (number, text) => { texts[number] = text; };
    await Promise.all(Object.entries(pieces).map(async ([name, own]) => {
      await script(name);
      tell("loading", loaded += own, total);
    }));
    tell("starting", total, total);
    return texts;
  };

  const stopped = (why) => new Error(`memcalc in this page has stopped (${why}); the next question starts it anew`);

  // A worker as a function: a message becomes the promise of what it answers.
  const start = async () => {
    let told = false;
    stop = () => { told = true; };
    const {files, worker: source} = await listed(), pieces = await load();
    if (told) throw stopped("it was told to");
    const address = URL.createObjectURL(new Blob([source], {type: "text/javascript"}));
    const worker = new Worker(address);
    let settle = null;
    const end = (why) => {
      worker.terminate();
      URL.revokeObjectURL(address);
      running = null;
      settle?.failed(stopped(why));
    };
    worker.onmessage = ({data}) => (data.failed ? end(data.failed) : settle?.answered(data.answer));
    worker.onerror = (event) => { event.preventDefault(); end(event.message || "no reason was given"); };
    worker.onmessageerror = () => end("an answer could not be read");
    stop = () => end("it was told to");
    const send = (message) => new Promise((answered, failed) => {
      settle = {answered, failed};
      worker.postMessage(message);
    });
    await send({pieces, sizes: files});
    const total = await size();
    tell("ready", total, total);
    return send;
  };

  const answer = async (words, files) => {
    running ??= start();
    try {
      const send = await running;
      return await send({words, files});
    } catch (error) {
      stop();
      running = null;
      throw error;
    }
  };

  const ask = async (words, files = {}) => {
    if (!Array.isArray(words)) throw new TypeError('words: expected a list, as in ["model", "Qwen/Qwen3-32B"]');
    const asked = words.map(String), given = files instanceof Map ? files : Object.entries(files);
    const mine = last.then(answer.bind(null, asked, new Map(given)));
    last = mine.catch(() => {});
    return mine;
  };

  window.memcalc = {ask, size, stop: () => stop()};
})();
