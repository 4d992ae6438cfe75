// What Acme knows of a host.
'use strict';

const { call, validate } = require('./client');

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
      try {
        const host = await call(api, 'GET', `/v1/hosts?name=${encodeURIComponent(value)}`, { signal });
        return host.name ? { asset: { name: host.name, owner: host.owner || '', roles: host.roles || [] } } : null;
      } catch (err) {
        if (err.reason === 'missing') return null; // asked, and it has nothing
        throw err;
      }
    },
  }),
};

module.exports = { enrichment };
