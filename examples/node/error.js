// Errors as the contract has them: a gRPC status with whose fault it was and, where a later
// try may succeed, after what time.
'use strict';

const grpc = require('@grpc/grpc-js');
const protobuf = require('protobufjs');

/** Reasons of an error, and the code that says so. */
const codes = {
  retry: grpc.status.UNAVAILABLE,
  denied: grpc.status.PERMISSION_DENIED,
  invalid: grpc.status.INVALID_ARGUMENT,
  unsupported: grpc.status.UNIMPLEMENTED,
  missing: grpc.status.NOT_FOUND,
  failed: grpc.status.UNKNOWN,
};

/**
 * HandledError tells the core what to make of it. reason: retry, denied, invalid or failed;
 * fault: PLUGIN, VENDOR or INPUT; after: seconds until the same may be asked again. Its
 * message is shown to people, and holds no secret.
 */
class HandledError extends Error {
  constructor(message, { reason = 'failed', fault = 'VENDOR', after = 0 } = {}) {
    super(message);
    Object.assign(this, { reason, fault, after });
  }
}

const root = protobuf.Root.fromJSON(require('./contract.json'));
const types = Object.fromEntries(['Status', 'ErrorInfo', 'RetryInfo'].map((name) => [name, root.lookupType(`plugin.${name}`)]));

function any(name, value) {
  return { type_url: `type.googleapis.com/google.rpc.${name}`, value: types[name].encode(types[name].fromObject(value)).finish() };
}

/** told is what may be said of an error: what an exception says may be a secret, and stays in the log. */
function told(err) {
  if (err instanceof HandledError) return { code: codes[err.reason], message: err.message, fault: err.fault };
  return { code: grpc.status.INTERNAL, message: 'the plugin threw an exception; its log has the stack', fault: 'PLUGIN' };
}

/** wire is an error as gRPC sends it. */
function wire(err) {
  const { code, message, fault } = told(err);
  const details = [any('ErrorInfo', { domain: 'kelpie.plugin', reason: fault })];
  if (err.reason === 'retry') details.push(any('RetryInfo', { retry_delay: { seconds: Math.ceil(err.after) } }));
  const metadata = new grpc.Metadata();
  metadata.set('grpc-status-details-bin', Buffer.from(types.Status.encode(types.Status.fromObject({ code, message, details })).finish()));
  return { code, details: message, metadata };
}

/** failure is an error as one question's answer has it. */
function failure(err) {
  const { code, message, fault } = told(err);
  return { code, message, fault: `FAULT_${fault}`, retry_after: err.reason === 'retry' ? { seconds: Math.ceil(err.after), nanos: 0 } : null };
}

module.exports = { HandledError, wire, failure };
