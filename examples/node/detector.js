// Alerts in; the cursor says where to go on.
'use strict';

const { ask, parse, validate } = require('./client');
const { elements } = require('./elements');
const { seconds } = require('./schema');

const detector = {
  kind: 'detector',
  summary: "Acme's alerts.",
  cursorVersion: 1,
  finite: true, // "kelpie run --once" reads what there is, and ends
  config: { every: { type: 'duration', default: '30s', doc: 'How often to ask when there is nothing more.' } },
  validate,
  open: ({ every }, api) => ({
    interval: seconds(every),
    // The same cursor has to give the same events again, with the same ids.
    async fetch(cursor, { signal }) {
      const body = await ask(api, 'GET', `/v1/alerts?after=${encodeURIComponent(cursor.toString())}`, { signal });
      const { next, more } = parse(body);
      return { events: elements(body, 'items').map(event), cursor: Buffer.from(next), more: Boolean(more) };
    },
  }),
};

/** event keeps the vendor's own bytes, and reads from them what it can. */
function event(raw) {
  let alert;
  try {
    alert = JSON.parse(raw.toString('utf8'));
  } catch (err) {
    return { raw, problem: err.message };
  }
  if (typeof alert !== 'object' || alert === null || typeof alert.id !== 'string') return { raw, problem: 'it has no id that is a text' };
  const at = Date.parse(alert.at);
  return {
    id: alert.id,
    revision: String(alert.version ?? ''),
    raw,
    title: String(alert.name ?? ''),
    ...(Number.isNaN(at) ? {} : { time: { seconds: Math.floor(at / 1000), nanos: (at % 1000) * 1e6 } }),
    ...(Number.isInteger(alert.severity) ? { severity: Math.min(Math.max(alert.severity, 0), 100) } : {}),
    ...(typeof alert.blocked === 'boolean' ? { stopped: alert.blocked } : {}),
    observables: typeof alert.host === 'string' ? [{ kind: 'host', value: alert.host, role: 'ROLE_SUBJECT' }] : [],
  };
}

module.exports = { detector };
