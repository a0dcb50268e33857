// What time it is on the server, and how ages and times are written.

let offset = 0;
const steady = () => (performance.timeOrigin + performance.now()) * 1000;

/** Takes the server's clock from an event. */
export function setServerTime(nowUs) {
  offset = nowUs - steady();
}

/** Returns the time on the server in µs. */
export function now() {
  return steady() + offset;
}

/** Calls a function at each new second while the page is seen. */
export function everySecond(call) {
  let timer;
  const next = () => {
    timer = setTimeout(
      () => {
        call();
        next();
      },
      1000 - ((now() / 1000) % 1000),
    );
  };
  const look = () => {
    clearTimeout(timer);
    if (!document.hidden) next();
  };
  document.addEventListener("visibilitychange", look);
  look();
}

const SPACE = "\u202f";
const unit = (number, name) => `${number}${SPACE}${name}`;

/** Writes a length of time in µs in its largest unit: `48 s`, `6 min`, `3 h`, `2 d`. */
export function length(us) {
  const seconds = Math.max(0, Math.floor(us / 1e6));
  if (seconds < 60) return unit(seconds, "s");
  if (seconds < 3600) return unit(Math.floor(seconds / 60), "min");
  if (seconds < 48 * 3600) return unit(Math.floor(seconds / 3600), "h");
  return unit(Math.floor(seconds / 86400), "d");
}

/** Writes a length of time in µs in two units: `6 min 12 s`. */
export function longLength(us) {
  const seconds = Math.max(0, Math.floor(us / 1e6));
  if (seconds < 60) return unit(seconds, "s");
  const [minutes, hours] = [Math.floor(seconds / 60), Math.floor(seconds / 3600)];
  if (hours === 0) return `${unit(minutes, "min")} ${unit(seconds % 60, "s")}`;
  if (hours < 48) return `${unit(hours, "h")} ${unit(minutes % 60, "min")}`;
  return `${unit(Math.floor(hours / 24), "d")} ${unit(hours % 24, "h")}`;
}

/** Writes how long ago a moment is; empty if it is not known. */
export function age(us) {
  return us === undefined ? "" : length(now() - us);
}

const two = (number) => String(number).padStart(2, "0");
const days = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const farDays = new Intl.DateTimeFormat(undefined, {
  year: "numeric",
  month: "short",
  day: "numeric",
});

/** Writes a moment as `14:03:59`, in the time zone of the reader. */
export function clock(us, seconds = true) {
  const date = new Date(us / 1000);
  const minutes = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return seconds ? `${minutes}:${two(date.getSeconds())}` : minutes;
}

/** Writes the day of a moment: `29 Nov`, and of another year: `29 Nov 2025`. */
export function day(us) {
  const [date, today] = [new Date(us / 1000), new Date(now() / 1000)];
  if (Number.isNaN(date.getTime())) return "?";
  return (date.getFullYear() === today.getFullYear() ? days : farDays).format(date);
}

/** Writes a moment with its day, if that is not today. */
export function moment(us) {
  if (us === undefined) return "";
  const [date, today] = [day(us), day(now())];
  return date === today ? clock(us) : `${date} ${clock(us)}`;
}
