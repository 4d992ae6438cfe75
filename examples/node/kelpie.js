// The plugin's side of Kelpie's contract, for connectors in JavaScript: the handshake,
// the services, errors and the log. docs/handshake.md in Kelpie's sources says what it
// does and why; main.js is how it is used.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');
const selfsigned = require('selfsigned');
const contract = require('./contract.json');
const { Configured } = require('./configured');
const { wire, HandledError } = require('./error');

const COOKIE = ['KELPIE_PLUGIN', 'c5d1f0a27e7b4f0f9d2f1b6f5b7a3e64'];
const PROTOCOL = 1; // of kelpie.plugin.v1, in go-plugin's negotiation
const MAX_MESSAGE = 16 << 20;
const EXIT_GRACE = 1300; // milliseconds from being told to end to the end

/** log writes one line that the core reads: text for people, and fields. No secrets. */
function log(level, message, fields = {}) {
  const line = { '@level': level, '@message': String(message), '@timestamp': new Date().toISOString(), ...fields };
  fs.writeSync(2, JSON.stringify(line) + '\n');
}

/** serve runs a plugin until the core ends it. See main.js for what a plugin is. */
async function serve(plugin) {
  if (process.env[COOKIE[0]] !== COOKIE[1]) {
    process.stderr.write(`This is ${plugin.name} ${plugin.version}, a plugin of Kelpie. It is not started by hand.\n`);
    process.exit(1);
  }
  const offered = process.env.PLUGIN_PROTOCOL_VERSIONS || '';
  if (!offered.split(',').includes(String(PROTOCOL))) {
    process.stderr.write(`${plugin.name} speaks version ${PROTOCOL} of Kelpie's plugin protocol, and this Kelpie speaks ${offered || 'none'}\n`);
    process.exit(1);
  }
  // What is printed would be taken for the handshake, or for nothing.
  console.log = console.info = console.debug = (...text) => log('info', text.join(' '));
  console.warn = console.error = (...text) => log('warn', text.join(' '));
  process.on('uncaughtException', (err) => log('error', 'an exception that nobody caught', { error: String(err.stack) }));
  process.on('unhandledRejection', (err) => log('error', 'a rejection that nobody handled', { error: String(err && err.stack) }));

  const server = new grpc.Server({ 'grpc.max_receive_message_length': MAX_MESSAGE, 'grpc.max_send_message_length': MAX_MESSAGE });
  const instances = new Configured(plugin, log);
  let ending = false;
  const end = () => {
    if (ending) return;
    ending = true;
    setTimeout(() => process.exit(0), EXIT_GRACE).unref();
    instances.closeAll().finally(() => server.tryShutdown(() => process.exit(0)));
  };
  register(server, instances, end);

  const keys = await certificate();
  const credentials = grpc.ServerCredentials.createSsl(
    Buffer.from(process.env.PLUGIN_CLIENT_CERT || ''), // the core's, which alone may come
    [{ private_key: Buffer.from(keys.private), cert_chain: Buffer.from(keys.cert) }],
    true,
  );
  const socket = path.join(process.env.PLUGIN_UNIX_SOCKET_DIR || '.', `plugin${process.pid}`);
  await new Promise((done, failed) => server.bindAsync(`unix:${socket}`, credentials, (err) => (err ? failed(err) : done())));

  process.stdin.on('end', end); // the core is gone
  process.stdin.on('error', end);
  process.stdin.resume();
  process.on('SIGTERM', end);
  process.on('SIGINT', () => {}); // a person's Ctrl-C is the core's to handle
  process.on('exit', () => fs.rmSync(socket, { force: true }));
  const der = keys.cert.replace(/-----[A-Z ]+-----|\s/g, '').replace(/=+$/, '');
  fs.writeSync(1, `1|${PROTOCOL}|unix|${socket}|grpc|${der}\n`);
}

/** certificate makes a key and a certificate that is good for this process alone. */
function certificate() {
  const day = 24 * 60 * 60 * 1000;
  return selfsigned.generate([{ name: 'commonName', value: 'localhost' }], {
    keyType: 'ec',
    curve: 'P-256',
    algorithm: 'sha256',
    notBeforeDate: new Date(Date.now() - day),
    notAfterDate: new Date(Date.now() + 3650 * day),
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', digitalSignature: true, keyCertSign: true, critical: true },
      { name: 'extKeyUsage', serverAuth: true },
      { name: 'subjectAltName', altNames: [{ type: 2, value: 'localhost' }] },
    ],
  });
}

function register(server, instances, end) {
  const loaded = grpc.loadPackageDefinition(loader.fromJSON(contract, { keepCase: true, longs: Number, enums: String, defaults: true }));
  const { PluginService, DetectorService, EnrichmentService, ActionService } = loaded.kelpie.plugin.v1;
  server.addService(PluginService.service, {
    Describe: unary(() => instances.describe()),
    Configure: unary((request) => instances.configure(request)),
    Health: unary((request) => instances.health(request)),
    Close: unary((request) => instances.close(request)),
  });
  server.addService(DetectorService.service, { Detect: (call) => instances.detect(call) });
  server.addService(EnrichmentService.service, {
    Enrich: unary((request, signal) => instances.enrich(request, signal)),
  });
  server.addService(ActionService.service, {
    Execute: unary((request, signal) => instances.execute(request, signal)),
    Undo: unary((request, signal) => instances.undo(request, signal)),
    Check: unary((request, signal) => instances.check(request, signal)),
    Answers: (call) => call.emit('error', { code: grpc.status.UNIMPLEMENTED, details: 'no action of this plugin hands back answers' }),
  });
  server.addService(loaded.plugin.GRPCController.service, {
    Shutdown: (_, reply) => {
      reply(null, {});
      end();
    },
  });
  server.addService(loaded.grpc.health.v1.Health.service, {
    Check: (_, reply) => reply(null, { status: 'SERVING' }),
  });
}

/** unary makes a handler of a function; an exception ends one call, not the process. */
function unary(answer) {
  return async (call, reply) => {
    const cancelled = new AbortController();
    call.on('cancelled', () => cancelled.abort());
    try {
      reply(null, await answer(call.request, cancelled.signal));
    } catch (err) {
      if (!(err instanceof HandledError)) log('error', 'a call failed', { error: String(err && err.stack) });
      reply(wire(err));
    }
  };
}

module.exports = { serve, log, HandledError };
