// The filter: all of its words must be in what a row says, in any order and in any case.

/** Returns the words of a filter. */
export function wordsOf(text) {
  return text.toLowerCase().split(/\s+/).filter(Boolean);
}

const texts = new WeakMap();

/** All that a row says, in lower case; made once for each row that arrives. */
function textOf(row) {
  let text = texts.get(row);
  if (text === undefined) {
    text = gather(row, []).join("\n").toLowerCase();
    texts.set(row, text);
  }
  return text;
}

function gather(value, found) {
  if (typeof value === "string") found.push(value);
  else if (Array.isArray(value)) value.forEach((inner) => gather(inner, found));
  else if (value && typeof value === "object") gather(Object.values(value), found);
  return found;
}

/** Returns whether a row has all words. */
export function matches(row, words) {
  return words.length === 0 || words.every((word) => textOf(row).includes(word));
}
