#!/usr/bin/env node
// A plugin of Kelpie for Acme: what it is, and which connectors it offers.
'use strict';

const { serve } = require('./kelpie');
const { connection } = require('./client');

const plugin = {
  name: 'acme',
  version: '0.1.0',
  homepage: 'https://example.org/kelpie-acme',
  connection,
  connectors: [
    require('./detector').detector,
    require('./enrichment').enrichment,
    require('./action').action,
  ],
  permissions: { read: [], network: ['tcp:{url}'] },
};

module.exports = { plugin };
if (require.main === module) serve(plugin);
