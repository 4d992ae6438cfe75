'use strict';

const { test } = require('node:test');
const assert = require('node:assert');
const { far, signal } = require('./far');
const { action } = require('./action');

test('a host is isolated and released; a dry run does nothing; nothing is claimed that did not happen', async (t) => {
  const done = [];
  let limited = false;
  const api = await far(t, {
    'POST /v1/isolations': (_, { host, isolated }, key) => {
      if (limited) return 429;
      done.push(`${key} ${host} ${isolated}`);
      return { id: 'r-1', state: 'done' };
    },
    'GET /v1/isolations': (query) => ({ id: 'r-1', state: done.some((d) => d.startsWith(query.get('key'))) ? 'done' : 'none' }),
  });
  const isolation = action.open({}, api);
  const call = (key, more) => ({ target: { kind: 'host', value: 'ws-17' }, key, signal: signal(), ...more });
  assert.match((await isolation.execute(call('k-1', { dryRun: true }))).message, /would isolate ws-17/);
  assert.deepStrictEqual(done, []);
  assert.strictEqual((await isolation.execute(call('k-1'))).outcome, 'done');
  assert.strictEqual((await isolation.undo(call('u-1'))).outcome, 'done');
  assert.deepStrictEqual(done, ['k-1 ws-17 true', 'u-1 ws-17 false']);
  assert.strictEqual((await isolation.check(call('k-1'))).outcome, 'done');
  limited = true;
  assert.strictEqual((await isolation.execute(call('k-2'))).outcome, 'failed');
  assert.strictEqual((await isolation.check(call('k-2'))).outcome, 'failed');
});
