/* The words of a question, by the rules by which search_words.py parts the pages. */
splitQuery = (query) => {
  const han = /^[\u3400-\u9fff]/;
  const figure = /^(\d[\d_]{6,}|\d+(,\d{3})+(\.\d+)?|\d+\.\d\d+|\d\d+\.\d+)$/;
  const word = /[\u3400-\u9fff]+|\d{1,3}(?:,\d{3})+(?:\.\d+)?|(?:(?![\u3400-\u9fff])[\p{L}\p{N}_])+(?:\.\d+)*/gu;
  return (query.match(word) || []).flatMap((found) => {
    if (han.test(found)) return Array.from({ length: Math.max(1, found.length - 1) }, (_, at) => found.slice(at, at + 2));
    return figure.test(found) ? [] : [found];
  });
};

/* Among equals, the page whose title has more of the words comes first. */
let askedWords = [];
Scorer.score = ([, title, , , score]) => score + askedWords.filter((word) => title.toLowerCase().includes(word)).length;

/* As Sphinx's own, but for numbers, which it leaves out, and RTX4090, which pages write in two words. */
Search._parseQuery = (query) => {
  const stemmer = new Stemmer();
  const stem = (word) => stemmer.stemWord(word);
  const known = (word) => [Search._index.terms, Search._index.titleterms].some((terms) => Object.hasOwn(terms, stem(word)));
  const asked = splitQuery(query.toLowerCase()).flatMap((word) => {
    const parts = /^(\p{L}+)(\d.*)$/u.exec(word)?.slice(1) ?? [];
    return !known(word) && parts.length && parts.every(known) ? parts : [word];
  });
  const words = asked.filter((word) => !stopwords.includes(word));
  if (SPHINX_HIGHLIGHT_ENABLED) localStorage.setItem("sphinx_highlight_terms", words.join(" "));
  askedWords = words;
  return [query, new Set(words.map(stem)), new Set(), new Set(words), new Set(words)];
};
