// How Acme is reached: address, token, errors.
'use strict';

const { HandledError } = require('./kelpie');

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
  if (response.status === 404) throw new HandledError('acme has no such thing', { reason: 'missing' });
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

module.exports = { connection, validate, ask, parse, call };
