'use strict';

const { test } = require('node:test');
const assert = require('node:assert');
const { far, signal } = require('./far');
const { call, validate } = require('./client');

test('credentials that are refused, and an address where they would travel in the clear', async (t) => {
  const api = await far(t, {});
  await assert.rejects(() => call({ ...api, token: 'expired' }, 'GET', '/v1/alerts', { signal: signal() }), { reason: 'denied' });
  for (const [url, complaints] of [[api.url, 0], ['https://acme.example.org', 0], ['http://acme.example.org', 1], ['acme', 1]]) {
    assert.strictEqual(validate({}, { url }).length, complaints, url);
  }
});
