// The parts of the plugin that need no core: kelpie plugin check does the rest.
'use strict';

const { test } = require('node:test');
const assert = require('node:assert');
const { decode, protoSchema, seconds } = require('./schema');
const { HandledError, wire, failure } = require('./error');
const { elements } = require('./elements');

const schema = {
  url: { required: true },
  every: { type: 'duration', default: '30s' },
  size: { type: 'integer' },
  mode: { oneOf: ['a', 'b'] },
  hosts: { type: ['string'] },
};
const complaints = (value) => decode(schema, Buffer.from(value)).complaints.map((c) => c.path.join('.'));

test('a block is held to its schema', () => {
  assert.deepStrictEqual(decode(schema, Buffer.from('{"url": "x"}')).value, { url: 'x', every: '30s' });
  for (const [text, paths] of [
    ['{}', ['url']],
    ['', ['url']],
    ['[]', ['']],
    ['{"url": "x", "constructor": 1}', ['constructor']],
    ['{"url": 7, "every": "soon", "size": 1.5, "mode": "c", "hosts": ["a", 1]}', ['url', 'every', 'size', 'mode', 'hosts']],
  ]) {
    assert.deepStrictEqual(complaints(text), paths, text);
  }
});

test('a schema that is wrong is found before it is used', () => {
  assert.throws(() => protoSchema({ a: { type: 'text' } }), /no type text/);
});

test('durations', () => {
  assert.deepStrictEqual(['90s', '1m30s', '1.5h', '2d', '500ms'].map(seconds), [90, 90, 5400, 172800, 0.5]);
});

test('an error says whose fault it is, and when to ask again; an exception says nothing', () => {
  const told = new HandledError('acme answers 429', { reason: 'retry', after: 7.2 });
  assert.strictEqual(wire(told).code, 14);
  assert.deepStrictEqual(failure(told).retry_after, { seconds: 8, nanos: 0 });
  const thrown = wire(new Error('the token is s3cret'));
  assert.ok(!JSON.stringify([thrown, thrown.metadata.getMap()]).includes('s3cret'));
  assert.strictEqual(thrown.code, 13);
});

test('the elements of a list are the bytes that came', () => {
  const text = ' {"a\\"b": [1, 2], "items" : [ {"id": "1,]}\\"", "n": 12345678901234567890 } , [] ,"x\\\\", null, "\\u2028" ], "more": {"items": [7]}} ';
  const got = elements(Buffer.from(text), 'items').map(String);
  assert.deepStrictEqual(got, ['{"id": "1,]}\\"", "n": 12345678901234567890 }', '[]', '"x\\\\"', 'null', '"\\u2028"']);
  for (const [other, want] of [
    ['{"items": []}', []],
    ['{}', []],
    ['{"items": [[1,2],[3]]}', ['[1,2]', '[3]']],
  ]) {
    assert.deepStrictEqual(elements(Buffer.from(other), 'items').map(String), want);
  }
});
