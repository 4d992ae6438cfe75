// A little Acme for the tests.
'use strict';

const http = require('node:http');

const TOKEN = 'a-token';

/** far serves routes, "GET /v1/hosts" each, until the test ends: (query, body, key) => answer, or a status. */
async function far(t, routes) {
  const server = http.createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'http://acme');
    let body = '';
    for await (const part of request) body += part;
    const route = request.headers.authorization === `Bearer ${TOKEN}` ? routes[`${request.method} ${pathname}`] : () => 401;
    const answer = route ? route(searchParams, body && JSON.parse(body), request.headers['idempotency-key']) : 404;
    response.writeHead(Number.isInteger(answer) ? answer : 200, { 'retry-after': '7' });
    response.end(Number.isInteger(answer) ? '{}' : JSON.stringify(answer));
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  t.after(() => server.close());
  return { url: `http://127.0.0.1:${server.address().port}`, token: TOKEN };
}

/** signal of a call that nobody cancels. */
const signal = () => new AbortController().signal;

module.exports = { far, signal };
