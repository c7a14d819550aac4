// A table of shapes says B, T, h a hundred times, and MathJax would set each of them anew: here each formula is
// set once, and where it stands again it is copied.
"use strict";
{
  const startup = ((window.MathJax ??= {}).startup ??= {});
  startup.pageReady = async () => {
    const first = new Map(), again = [];
    for (const span of document.querySelectorAll("span.math")) {
      const text = span.textContent;
      if (!first.has(text)) first.set(text, span);
      else {
        again.push([span, text]);
        span.textContent = "";
      }
    }
    try {
      await MathJax.startup.defaultPageReady();
    } finally { // what was not set is shown as it was written
      for (const [span, text] of again)
        span.replaceChildren(...[...first.get(text).childNodes].map((node) => node.cloneNode(true)));
    }
  };
}
