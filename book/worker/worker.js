// Runs memcalc's command line in Python, apart from the page. ask.js starts it and hands it everything: it asks no network.
//
// It is a classic worker, because a page that was opened from a file may not start a module worker. Pyodide refuses
// classic workers: it calls importScripts and takes an error for the sign of a module worker, which may import as we do.
"use strict";

const FILES = "/lib/memcalc"; // where memcalc lies in Python's own file system
const MOUNTED = "/given"; // and what a page gave as a File, which is read where it lies
const TYPES = {mjs: "text/javascript", wasm: "application/wasm", zip: "application/zip"};
let ask = null, collect = null;

globalThis.importScripts = () => {
  throw new TypeError("Module scripts don't support importScripts()");
};

const bytesOf = (text) => Uint8Array.fromBase64?.(text) ?? Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

// The packed files by name. A piece is a multiple of four letters: each is decoded by itself.
const unpack = async (pieces, sizes) => {
  const packed = new Blob(pieces.map(bytesOf)).stream().pipeThrough(new DecompressionStream("gzip"));
  const all = new Uint8Array(await new Response(packed).arrayBuffer());
  let start = 0;
  return Object.fromEntries(Object.entries(sizes).map(([name, size]) => [name, all.subarray(start, (start += size))]));
};

const start = async ({pieces, sizes}) => {
  const files = await unpack(pieces, sizes);
  const nameOf = (address) => String(address.url ?? address).split("/").pop();
  const module = (name) => import(URL.createObjectURL(new Blob([files[name]], {type: TYPES.mjs})));
  globalThis.fetch = async (address) => {
    const name = nameOf(address);
    return new Response(files[name], {headers: {"content-type": TYPES[name.split(".").pop()]}});
  };
  const [{loadPyodide}, {default: createPyodideModule}] = await Promise.all(["pyodide.mjs", "pyodide.asm.mjs"].map(module));
  const python = await loadPyodide({
    createPyodideModule,
    env: {COLUMNS: "80", HOME: "/home/memcalc", LANG: "C.UTF-8", PYTHONDONTWRITEBYTECODE: "1"},
    indexURL: "https://packed.invalid/", // asked for by `fetch` above alone
    lockFileContents: new TextDecoder().decode(files["pyodide-lock.json"]),
  });
  for (const name of Object.keys(files).filter((one) => one.endsWith(".py") || one.startsWith("memcalc/"))) {
    const path = `${FILES}/${name}`;
    python.FS.mkdirTree(path.slice(0, path.lastIndexOf("/")));
    python.FS.writeFile(path, files[name]);
  }
  python.runPython(`import sys; sys.path.insert(0, "${FILES}")`);
  const command = python.pyimport("command"), {FS} = python;
  FS.mkdir(MOUNTED);
  ask = (words, files) => {
    const blobs = [...files].filter(([name, content]) => content instanceof Blob && name !== "-");
    const links = new Map(blobs.map(([name], place) => [name, `${MOUNTED}/${place}`]));
    const texts = new Map([...files].filter(([name]) => !links.has(name)));
    if (texts.get("-") instanceof Blob)
      texts.set("-", new Uint8Array(new FileReaderSync().readAsArrayBuffer(texts.get("-"))));
    FS.mount(FS.filesystems.WORKERFS, {blobs: blobs.map(([, data], place) => ({name: String(place), data}))}, MOUNTED);
    try {
      const answer = command.ask(...[words, texts, links].map((one) => python.toPy(one))), [code, out, err] = answer.toJs();
      answer.destroy();
      return {code, out, err};
    } finally {
      FS.unmount(MOUNTED);
    }
  };
  collect = () => command.collect();
};

onmessage = async ({data}) => {
  try {
    if (data.pieces) {
      await start(data);
      postMessage({ready: true});
    } else {
      postMessage({answer: ask(data.words, data.files)});
      collect();
    }
  } catch (error) {
    postMessage({failed: String(error)});
  }
};
