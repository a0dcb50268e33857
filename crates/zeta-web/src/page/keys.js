// Keys of the whole page, the theme, the help, and which list is shown on a small screen.

import { put } from "./dom.js";

/** In the order of their keys, which are those of `zeta watch`. */
const PANES = ["agents", "leases", "messages", "timeline", "findings"];
const THEMES = ["auto", "light", "dark"];

function startTheme() {
  const button = document.getElementById("theme");
  const root = document.documentElement;
  let stored = "auto";
  try {
    stored = localStorage.getItem("zeta-theme") ?? "auto";
  } catch {
    /* A browser may forbid it: the theme is forgotten then. */
  }
  const set = (theme) => {
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
    put(button, `Theme: ${theme}`);
    try {
      localStorage.setItem("zeta-theme", theme);
    } catch {
      /* As above. */
    }
    stored = theme;
    dispatchEvent(new Event("theme"));
  };
  const next = () => set(THEMES[(THEMES.indexOf(stored) + 1) % THEMES.length]);
  button.addEventListener("click", next);
  set(THEMES.includes(stored) ? stored : "auto");
  return next;
}

/** Starts the keys; what they act on is given. */
export function startKeys({ filter, details, lists, cluster }) {
  const help = document.getElementById("help");
  const nextTheme = startTheme();
  const showPane = (pane) => {
    document.body.dataset.pane = pane;
    for (const button of document.querySelectorAll("[data-to]")) {
      button.setAttribute("aria-current", String(button.dataset.to === pane));
    }
  };
  showPane("agents");
  for (const button of document.querySelectorAll("[data-to]")) {
    button.addEventListener("click", () => showPane(button.dataset.to));
  }
  const openHelp = () => help.showModal();
  document.getElementById("help-open").addEventListener("click", openHelp);
  help.querySelector(".close").addEventListener("click", () => help.close());
  help.addEventListener("click", (event) => event.target === help && help.close());

  const go = (pane) => {
    showPane(pane);
    if (pane === "timeline") return document.getElementById("lanes").focus();
    const { grid } = lists[PANES.filter((name) => name !== "timeline").indexOf(pane)];
    return grid.focus(grid.place.get(grid.current) ?? 0);
  };
  const clear = () => {
    filter.value = "";
    filter.dispatchEvent(new Event("input"));
    filter.blur();
  };
  const back = () => {
    if (details.isOpen) details.close();
    else if (filter.value || document.activeElement === filter) clear();
    else document.activeElement?.blur();
  };

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog:modal")) return;
    if (event.key === "Escape") {
      back();
      event.preventDefault();
      return;
    }
    if (event.target === filter) {
      if (event.key === "Enter" || event.key === "ArrowDown") go(document.body.dataset.pane);
      return;
    }
    const pane = PANES[Number(event.key) - 1];
    if (pane) go(pane);
    else if (event.key === "0") document.querySelector(".need-row")?.focus();
    else if (event.key === "/") filter.focus();
    else if (event.key === "?") openHelp();
    else if (event.key === "c" && !cluster.button.hidden) cluster.open();
    else if (event.key === "t") nextTheme();
    else return;
    event.preventDefault();
  });
}
