'use strict';

const { test } = require('node:test');
const assert = require('node:assert');
const { far, signal } = require('./far');
const { detector } = require('./detector');

test('alerts come page by page, and what cannot be read comes all the same', async (t) => {
  const pages = {
    '': { items: [{ id: 'a-1', version: 2, severity: 70, at: '2026-03-01T09:00:00Z', host: 'ws-17', blocked: false }], next: '1', more: true },
    1: { items: [{ id: 7 }], next: '2', more: false },
  };
  const api = await far(t, { 'GET /v1/alerts': (query) => pages[query.get('after')] });
  const alerts = detector.open({ every: '30s' }, api);
  for (let again = 0; again < 2; again += 1) {
    const first = await alerts.fetch(Buffer.alloc(0), { signal: signal() });
    assert.deepStrictEqual([first.more, first.cursor.toString()], [true, '1']);
    const [{ id, revision, severity, stopped, observables }] = first.events;
    assert.deepStrictEqual([id, revision, severity, stopped, observables[0].value], ['a-1', '2', 70, false, 'ws-17']);
    const last = await alerts.fetch(first.cursor, { signal: signal() });
    assert.strictEqual(last.more, false);
    assert.match(last.events[0].problem, /id/);
    assert.strictEqual(last.events[0].raw.toString(), '{"id":7}');
  }
});
