'use strict';

const { test } = require('node:test');
const assert = require('node:assert');
const { far, signal } = require('./far');
const { enrichment } = require('./enrichment');

test('a host is known or not, and a limit says when to come again', async (t) => {
  const answers = [429, { name: 'ws-17', owner: 'kim@example.org', roles: ['workstation'] }, {}, 404];
  const api = await far(t, { 'GET /v1/hosts': () => answers.shift() });
  const hosts = enrichment.open({}, api);
  const ask = () => hosts.enrich({ kind: 'host', value: 'ws-17' }, { signal: signal() });
  await assert.rejects(ask, { reason: 'retry', after: 7 });
  assert.deepStrictEqual(await ask(), { asset: { name: 'ws-17', owner: 'kim@example.org', roles: ['workstation'] } });
  assert.strictEqual(await ask(), null);
  assert.strictEqual(await ask(), null);
});
