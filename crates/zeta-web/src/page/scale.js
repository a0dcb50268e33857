// The time axis of the timeline: which moment stands where, and what is written below it.

import { clock, day } from "./clock.js";

const SECOND = 1e6;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [1, 2, 5, 10, 15, 30]
  .map((n) => n * SECOND)
  .concat([1, 2, 5, 10, 15, 30].map((n) => n * MINUTE))
  .concat([1, 2, 3, 6, 12].map((n) => n * HOUR))
  .concat([1, 2, 7, 14, 28].map((n) => n * DAY));

const LEAST = 5 * SECOND;

export class Scale {
  constructor() {
    Object.assign(this, { from: 0, to: 1, left: 0, width: 1, first: 0, last: 1, follow: true });
  }

  /** Takes the whole history: from its first moment until now. */
  bound(first, last) {
    const was = this.last - this.first > 1;
    Object.assign(this, { first: Math.min(first, last - 30 * SECOND), last });
    if (!was) this.showAll();
    else if (this.follow) this.moveTo(this.end());
  }

  /** Where the window ends when it follows: a little room stays behind now. */
  end(width = this.to - this.from) {
    return this.last + width * 0.04;
  }

  showAll() {
    const whole = this.last - this.first;
    Object.assign(this, { from: this.first - whole * 0.02, follow: true });
    this.to = this.last + whole * 0.04;
  }

  showLast(width) {
    const whole = Math.min(width, (this.last - this.first) * 1.06);
    Object.assign(this, { to: this.end(whole), follow: true });
    this.from = this.to - whole;
  }

  moveTo(to) {
    const width = this.to - this.from;
    Object.assign(this, { from: to - width, to });
  }

  x(us) {
    return this.left + ((us - this.from) / (this.to - this.from)) * this.width;
  }

  us(x) {
    return this.from + ((x - this.left) / this.width) * (this.to - this.from);
  }

  /** Zooms so that what stands at `x` stays there; while it follows, now stays there. */
  zoom(factor, x) {
    const most = (this.last - this.first) * 1.2;
    const old = this.to - this.from;
    const width = Math.min(Math.max(old * factor, LEAST), most);
    if (this.follow && x === undefined) return this.showLast(width);
    const fixed = x === undefined ? (this.from + this.to) / 2 : this.us(x);
    const part = (fixed - this.from) / old;
    this.from = fixed - part * width;
    this.to = this.from + width;
    return this.settle();
  }

  pan(us) {
    this.from += us;
    this.to += us;
    this.settle();
  }

  /** Keeps the window on the history, and follows if it shows now. */
  settle() {
    const width = this.to - this.from;
    if (this.to > this.end(width)) this.moveTo(this.end(width));
    const least = this.first - width * 0.1;
    if (this.from < least && width < (this.last - this.first) * 1.06) this.moveTo(least + width);
    this.follow = this.to >= this.last + width * 0.02;
  }

  show(from, to) {
    Object.assign(this, { from, to: Math.max(to, from + LEAST) });
    this.settle();
  }

  /** Moves the window so that a moment is seen. */
  reveal(us) {
    const width = this.to - this.from;
    if (us < this.from || us > this.to) this.show(us - width / 2, us + width / 2);
  }

  /** Returns the moments that get a line, with their text. */
  ticks(pixels = 84) {
    const wanted = ((this.to - this.from) / this.width) * pixels;
    const longest = STEPS.at(-1);
    const step = STEPS.find((each) => each >= wanted) ?? Math.ceil(wanted / longest) * longest;
    const zone = new Date(this.from / 1000).getTimezoneOffset() * MINUTE;
    const found = [];
    for (let at = Math.ceil((this.from - zone) / step) * step + zone; at < this.to; at += step) {
      const midnight = (at - zone) % DAY === 0;
      found.push({ at, midnight, text: midnight ? day(at) : clock(at, step < MINUTE) });
    }
    return found;
  }
}
