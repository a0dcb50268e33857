// The filter: all of its words must be in what a row says, in any order and in any case.

/** Returns the words of a filter. */
export function wordsOf(text) {
  return text.toLowerCase().split(/\s+/).filter(Boolean);
}

const texts = new WeakMap();

/** What a row says, in lower case; made once for each row that arrives. */
export function textOf(row) {
  let text = texts.get(row);
  if (text === undefined) {
    const { name, subject, agent, liveness, standing, kind, evidence, status, task, purpose } = row;
    const { branch, worktree, tool, node, waits, waiters, topic, from, to, finding, about } = row;
    const said = [name, subject, agent, liveness, standing, kind, evidence, status, task, purpose];
    said.push(
      branch,
      worktree,
      tool,
      node,
      waits?.question,
      topic,
      from,
      to,
      finding,
      about,
      row.text,
      row.message,
    );
    waiters?.forEach((waiter) => said.push(waiter.agent));
    text = said.join("\n").toLowerCase();
    texts.set(row, text);
  }
  return text;
}

/** Returns whether a row has all words. */
export function matches(row, words) {
  return words.length === 0 || words.every((word) => textOf(row).includes(word));
}
