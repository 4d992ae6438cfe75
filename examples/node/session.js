// The session of a detector: batches as the core has room for them, each with the cursor
// that stands after it. What must survive is in the cursor.
'use strict';

const { createHash } = require('node:crypto');

class Session {
  constructor(call, request, instance, log) {
    Object.assign(this, { call, instance, log, name: request.instance, start: request.start });
    Object.assign(this, { credit: 0, number: 0, waiting: [], stop: new AbortController() });
    this.done = new Promise((resolve) => (this.finished = resolve));
  }

  /** told is what the core says during a session. */
  told(request) {
    if (request.credit) this.credit += request.credit.batches;
    if (request.stop) this.stop.abort();
    this.wake();
  }

  wake() {
    for (const resolve of this.waiting.splice(0)) resolve();
  }

  async until(condition) {
    while (!condition() && !this.stop.signal.aborted) await new Promise((resolve) => this.waiting.push(resolve));
  }

  /** run asks the instance for page after page, until the core says stop. */
  async run() {
    try {
      await this.pages();
    } finally {
      this.call.end();
      this.finished();
    }
  }

  async pages() {
    let cursor = this.start.cursor;
    let failures = 0;
    while (!this.stop.signal.aborted) {
      let page;
      try {
        page = await this.instance.fetch(cursor, { signal: this.stop.signal });
      } catch (err) {
        if (this.stop.signal.aborted) return;
        failures += 1;
        this.status('DETECTOR_STATE_TROUBLED', err.message);
        await this.sleep(err.after ? err.after * 1000 : Math.min(1000 * 2 ** Math.min(failures, 8), 300_000));
        continue;
      }
      failures = 0;
      this.status('DETECTOR_STATE_RUNNING', '');
      await this.send(page.events, page.cursor || cursor);
      cursor = page.cursor || cursor;
      if (page.more) continue;
      if (this.start.once) {
        this.status('DETECTOR_STATE_ENDED', '');
        await this.until(() => false);
        return;
      }
      await this.sleep((this.instance.interval || 60) * 1000);
    }
  }

  /** send splits a page where a batch would be too large; the cursor goes with the last. */
  async send(events, cursor) {
    const parts = batches(events.map(whole), this.start.max_events || 512, this.start.max_bytes || 1 << 20);
    for (const [i, part] of parts.entries()) {
      await this.until(() => this.credit > 0);
      if (this.stop.signal.aborted) return;
      this.credit -= 1;
      this.number += 1;
      const last = i === parts.length - 1;
      this.call.write({ batch: { number: this.number, events: part, cursor: last ? cursor : Buffer.alloc(0) }, instance: this.name });
    }
  }

  status(state, message) {
    if (this.reported === state + message) return;
    this.reported = state + message;
    this.call.write({ status: { state, message }, instance: this.name });
  }

  sleep(ms) {
    if (this.stop.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.stop.signal.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true });
    });
  }

  async end() {
    this.stop.abort();
    this.wake();
    await this.done;
  }
}

const MAX_EVENT = 1 << 20;
const OVERSIZE_HEAD = 64 << 10;

/** whole is an event, or of one that is too large its beginning and where the rest can be found. */
function whole(e) {
  if (e.raw.length <= MAX_EVENT) return e;
  const sha256 = createHash('sha256').update(e.raw).digest();
  return { ...e, raw: e.raw.subarray(0, OVERSIZE_HEAD), oversize: { place: `event ${e.id}`, length: e.raw.length, sha256 } };
}

function batches(events, most, bytes) {
  const parts = [];
  let size = 0;
  for (const e of events) {
    const length = e.raw.length + 512;
    if (parts.length === 0 || parts[parts.length - 1].length >= most || size + length > bytes) {
      parts.push([]);
      size = 0;
    }
    parts[parts.length - 1].push(e);
    size += length;
  }
  return parts.length > 0 ? parts : [[]]; // a cursor may come without events
}

module.exports = { Session };
