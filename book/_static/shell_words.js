// A line as a POSIX shell splits it into words: quotes, backslashes, comments. What a shell would do beyond that, such as
// pipes and variables, is refused by name. `shellWords.command(line)` is what stands behind `memcalc` in it.
"use strict";

const shellWords = (() => {
  const refuse = (given, remedy) => {
    throw new RangeError(`command: expected one command, given ${given}; ${remedy}`);
  };
  const QUOTED = /[$`"\\\n]/; // what a backslash escapes between double quotes

  const split = (line) => {
    const words = [], letters = [...line];
    let word = null, quote = "", at = 0;
    const add = (letter) => { word = (word ?? "") + letter; };
    const variable = () => letters[at] === "`" || (letters[at] === "$" && /[\w{(?!@*#$-]/.test(letters[at + 1] ?? ""));
    for (; at < letters.length; at++) {
      const letter = letters[at];
      if (quote !== "'" && variable())
        refuse(`"${letter}", which only a shell can fill in`, "write its value in its place");
      if (quote) {
        if (letter === quote) quote = "";
        else if (quote === '"' && letter === "\\" && QUOTED.test(letters[at + 1] ?? "")) {
          if (letters[++at] !== "\n") add(letters[at]);
        } else add(letter);
      } else if (letter === "'" || letter === '"') {
        quote = letter;
        add("");
      } else if (letter === "\\") {
        if (letters[++at] === undefined) refuse("a backslash at its end", "remove it, or go on behind it");
        else if (letters[at] !== "\n") add(letters[at]);
      } else if (/\s/.test(letter)) {
        if (word !== null) words.push(word);
        word = null;
      } else if (letter === "#" && word === null) {
        while (at + 1 < letters.length && letters[at + 1] !== "\n") at++;
      } else if (/[|&;<>()]/.test(letter)) {
        refuse(`a shell's "${letter}"`, "write the command alone, and quote this sign if it is part of a name");
      } else add(letter);
    }
    if (quote) refuse(`a quote ${quote} without its end`, "close it");
    if (word !== null) words.push(word);
    return words;
  };

  // Without the prompt, and without what a shell calls memcalc by.
  const command = (line) => {
    const words = split(line.replace(/^\s*[$%]\s+/, ""));
    const called = [["memcalc"], ["python", "-m", "memcalc"], ["python3", "-m", "memcalc"]];
    const found = called.find((name) => name.every((word, place) => words[place] === word));
    return words.slice(found?.length ?? 0);
  };

  return {split, command};
})();
