// Isolates and releases hosts.
'use strict';

const { call, validate } = require('./client');

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

module.exports = { action };
