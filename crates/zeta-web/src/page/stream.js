// The stream of events: it is open while the page is seen, and what became of it is always shown.

import { clock, moment, now } from "./clock.js";
import { put } from "./dom.js";

/** How long the page waits before it tries again by itself, in ms. */
const AGAIN_MS = 5000;

/** After so long without an event the connection counts as lost; the server says each 15 s that it
 * is there. */
const SILENT_MS = 40000;

/** Opens the stream and keeps it open; `handlers` get the data of each event by its name. */
export function connect(handlers) {
  const [text, lost] = ["link-text", "lost"].map((id) => document.getElementById(id));
  let source;
  let timer;
  let silence;
  let lostAt;
  let lastAt;

  const say = (state, words) => {
    document.body.dataset.link = state;
    put(text, words);
    lost.hidden = state !== "lost" && state !== "refused";
  };
  const close = () => {
    clearTimeout(timer);
    clearTimeout(silence);
    source?.close();
    source = undefined;
  };
  const listen = () => {
    clearTimeout(silence);
    silence = setTimeout(() => {
      fail();
      open();
    }, SILENT_MS);
  };
  const receive = (event, handle) => {
    listen();
    lastAt = undefined;
    handle(JSON.parse(event.data));
    lastAt = now();
    lostAt = undefined;
    if (document.body.dataset.link !== "live") say("live", "live");
  };
  const fail = () => {
    // A closed stream was answered with an error: the address holds no more, or it is no zeta.
    const refused = source?.readyState === EventSource.CLOSED;
    lostAt ??= now();
    const last = lastAt === undefined ? "no data yet" : `the data is of ${moment(lastAt)}`;
    const why = refused ? "The address of this page is no longer valid: " : "";
    const next = refused ? "open the one that zeta web printed." : "It tries again.";
    say(refused ? "refused" : "lost", "not connected");
    put(lost, `Not connected since ${clock(lostAt)}; ${last}. ${why}${next}`);
    if (refused) {
      close();
      timer = setTimeout(open, AGAIN_MS);
    }
  };
  const open = () => {
    close();
    source = new EventSource(new URL("events", import.meta.url));
    listen();
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => receive(event, handle));
    }
    source.addEventListener("error", fail);
  };

  // A browser has six connections for one host: a page that nobody sees gives its own back.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      close();
      say("paused", "paused");
    } else {
      open();
    }
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => event.persisted && open());
  if (!document.hidden) open();
}
