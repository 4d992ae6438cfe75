#!/usr/bin/env node
// A whole plugin for a product that does not exist, Acme: a detector that asks for
// alerts, an enrichment that knows hosts, and an action that isolates one.
'use strict';

const { serve, HandledError } = require('./kelpie');
const { elements } = require('./elements');
const { seconds } = require('./schema');

const connection = {
  url: { type: 'string', required: true, doc: "Where Acme's API is.", example: 'https://acme.example.org' },
  token: { type: 'string', required: true, secret: true, doc: 'A token of a service account.' },
};

function validate(_, { url }) {
  try {
    const { protocol, hostname } = new URL(url);
    if (protocol === 'https:' || (protocol === 'http:' && ['127.0.0.1', 'localhost'].includes(hostname))) return [];
  } catch {
    // it is no address
  }
  return [{ summary: 'url must be an address that begins with https://', detail: 'The token must not travel in the clear.', path: ['url'], connection: true }];
}

const TIMEOUT = 30_000; // milliseconds of one request
const MAX_ANSWER = 8 << 20;

/** ask asks Acme, and says in its errors what the core should make of them. It gives the answer's bytes. */
async function ask({ url, token }, method, path, { key, send, signal }) {
  let response;
  let body;
  try {
    response = await fetch(url + path, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(key ? { 'idempotency-key': key } : {}), ...(send ? { 'content-type': 'application/json' } : {}) },
      body: send ? JSON.stringify(send) : undefined,
      redirect: 'error',
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT)]),
    });
    body = Buffer.from(await response.arrayBuffer());
  } catch (err) {
    throw new HandledError(`acme does not answer: ${err.cause ? err.cause.message : err.message}`, { reason: 'retry' });
  }
  if (response.status === 429 || response.status === 503) {
    const after = Number(response.headers.get('retry-after'));
    throw new HandledError(`acme answers ${response.status}`, { reason: 'retry', after: after > 0 ? after : 30 });
  }
  if (response.status === 401 || response.status === 403) throw new HandledError(`acme answers ${response.status}`, { reason: 'denied' });
  if (response.status === 400) throw new HandledError('acme answers 400', { reason: 'invalid', fault: 'INPUT' });
  if (!response.ok || body.length > MAX_ANSWER) throw new HandledError(`acme answers ${response.status}`);
  return body;
}

function parse(bytes) {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    throw new HandledError("acme's answer is no JSON");
  }
}

const call = async (api, method, path, options) => parse(await ask(api, method, path, options));

const detector = {
  kind: 'detector',
  summary: "Acme's alerts.",
  cursorVersion: 1,
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

const enrichment = {
  kind: 'enrichment',
  summary: 'What Acme knows of hosts.',
  takes: ['host'],
  batchLimit: 20,
  ttl: 3600,
  local: true, // the organisation's own data
  validate,
  open: (_, api) => ({
    async enrich({ value }, { signal }) {
      const host = await call(api, 'GET', `/v1/hosts?name=${encodeURIComponent(value)}`, { signal });
      return host.name ? { asset: { name: host.name, owner: host.owner || '', roles: host.roles || [] } } : null;
    },
  }),
};

const action = {
  kind: 'action',
  summary: 'Isolates hosts by Acme.',
  validate,
  verbs: [
    {
      name: 'isolate_host',
      targets: ['host'],
      summary: 'Cuts a host off the network.',
      undo: true,
      check: true,
      idempotent: true, // Acme takes an Idempotency-Key once
      settle: 60,
    },
  ],
  open: (_, api) => {
    const outcome = async (method, path, options) => {
      try {
        const { id, state, same_key: sameKey } = await call(api, method, path, options);
        const known = { done: 'done', already: 'already', none: 'failed' };
        return { outcome: known[state] || 'unknown', reference: id, sameKey };
      } catch (err) {
        // A limit: it was not taken.
        if (err.reason === 'retry' && err.after > 0) return { outcome: 'failed', message: err.message };
        throw err;
      }
    };
    const order = ({ target, key, signal }, isolated) => outcome('POST', '/v1/isolations', { key, signal, send: { host: target.value, isolated } });
    return {
      execute: (c) => (c.dryRun ? { outcome: 'done', message: `would isolate ${c.target.value}` } : order(c, true)),
      undo: (c) => order(c, false),
      check: (c) => outcome('GET', `/v1/isolations?key=${encodeURIComponent(c.key)}`, { signal: c.signal }),
    };
  },
};

serve({
  name: 'acme',
  version: '0.1.0',
  homepage: 'https://example.org/kelpie-acme',
  connection,
  connectors: [detector, enrichment, action],
  permissions: { read: [], network: ['tcp:{url}'] },
});
