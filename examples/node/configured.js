// The instances of a plugin, and what the core asks of them.
'use strict';

const { failure, wire, HandledError } = require('./error');
const { decode, protoSchema } = require('./schema');
const { Session } = require('./session');

const KINDS = { detector: 'CONNECTOR_KIND_DETECTOR', enrichment: 'CONNECTOR_KIND_ENRICHMENT', action: 'CONNECTOR_KIND_ACTION' };

class Configured {
  constructor(plugin, log) {
    Object.assign(this, { plugin, log, open: new Map(), sessions: new Map() });
  }

  describe() {
    const { name, version, homepage = '', permissions = {}, connection, connectors } = this.plugin;
    return {
      name,
      version,
      homepage,
      connection: connection ? protoSchema(connection) : null,
      permissions: { read: permissions.read || [], write: permissions.write || [], network: permissions.network || [] },
      connectors: connectors.map(protoConnector),
    };
  }

  async configure(request) {
    const connector = this.plugin.connectors.find((c) => KINDS[c.kind] === request.kind && (c.name || '') === request.connector);
    if (!connector) throw invalid(`there is no connector ${JSON.stringify(request.connector)} of this kind`);
    const own = decode(connector.config || {}, request.config);
    const shared = this.plugin.connection ? decode(this.plugin.connection, request.connection) : { value: {}, complaints: [] };
    const complaints = [...own.complaints];
    if (this.plugin.connection && request.connection.length === 0) {
      complaints.push({ summary: 'a connection is needed', detail: 'Name one with connection = connection.NAME.', path: ['connection'] });
    } else {
      complaints.push(...shared.complaints.map((c) => ({ ...c, connection: true })));
    }
    if (complaints.length === 0 && connector.validate) complaints.push(...connector.validate(own.value, shared.value));
    const diagnostics = complaints.map((c) => ({
      severity: c.warning ? 'SEVERITY_WARNING' : 'SEVERITY_ERROR',
      summary: c.summary,
      detail: c.detail || '',
      path: c.path || [],
      connection: Boolean(c.connection),
    }));
    if (diagnostics.some((d) => d.severity === 'SEVERITY_ERROR')) return { diagnostics };
    const instance = await connector.open(own.value, shared.value, { instance: request.instance, stateDir: request.state_dir, log: this.log });
    await this.close({ instance: request.instance });
    this.open.set(request.instance, { connector, instance, calls: new Set() });
    return { diagnostics };
  }

  health(request) {
    if (request.instance && !this.open.has(request.instance)) return { ok: false, message: 'it is not configured' };
    const { instance } = this.open.get(request.instance) || {};
    const trouble = instance && instance.health ? instance.health() : '';
    return { ok: !trouble, message: trouble || '' };
  }

  /** close ends an instance after its calls; one that is not there is closed already. */
  async close(request) {
    const one = this.open.get(request.instance);
    if (!one) return {};
    this.open.delete(request.instance);
    const session = this.sessions.get(request.instance);
    if (session) await session.end();
    await Promise.allSettled(one.calls);
    if (one.instance.close) await one.instance.close();
    return {};
  }

  async closeAll() {
    await Promise.allSettled([...this.open.keys()].map((instance) => this.close({ instance })));
  }

  async enrich(request, signal) {
    const one = this.of(request.instance, 'enrichment');
    const answers = await Promise.all(request.questions.map((q) => this.answer(one, q, signal)));
    return { answers, instance: request.instance };
  }

  /** answer is one question's: one that fails fails alone. */
  async answer(one, question, signal) {
    try {
      const reply = await calling(one, () => one.instance.enrich(question.observable, { at: date(question.at), signal }));
      const answers = reply ? [].concat(reply) : [];
      return { answers: answers.map(protoAnswer), not_found: answers.length === 0 };
    } catch (err) {
      if (!(err instanceof HandledError)) this.log('error', 'a question failed', { error: String(err && err.stack) });
      return { failure: failure(err) };
    }
  }

  execute(request, signal) {
    const { one, call } = this.call(request, signal, 'parameters');
    return outcome(request, one, () => one.instance.execute({ ...call, dryRun: request.dry_run, attempt: request.attempt }));
  }

  undo(request, signal) {
    const { one, verb, call } = this.call(request, signal);
    if (!verb.undo) throw unsupported(`${request.verb} can't be undone`);
    return outcome(request, one, () => one.instance.undo({ ...call, token: request.undo_token }));
  }

  check(request, signal) {
    const { one, verb, call } = this.call(request, signal);
    if (!verb.check) throw unsupported(`what became of ${request.verb} can't be told`);
    return outcome(request, one, () => one.instance.check({ ...call, undo: request.undo, token: request.undo_token }));
  }

  call(request, signal) {
    const one = this.of(request.instance, 'action');
    const verb = (one.connector.verbs || []).find((v) => v.name === request.verb);
    if (!verb) throw unsupported(`there is no verb ${JSON.stringify(request.verb)}`);
    const { target } = request;
    if (!target || !(verb.targets || []).includes(target.kind)) throw invalid(`${request.verb} takes no target of kind ${JSON.stringify(target ? target.kind : '')}`);
    const { value: parameters, complaints } = decode(verb.parameters || {}, request.parameters || Buffer.alloc(0));
    if (complaints.length > 0) throw invalid(`parameters: ${complaints[0].summary}`);
    const notAfter = date(request.not_after);
    if (notAfter && Date.now() >= notAfter.getTime()) throw invalid('it came after not_after; nothing was done');
    if (notAfter) signal = AbortSignal.any([signal, AbortSignal.timeout(notAfter.getTime() - Date.now())]);
    return { one, verb, call: { verb: request.verb, target, parameters, key: request.idempotency_key, notAfter, signal } };
  }

  /** detect is the session of an instance: a newer one ends the older. */
  detect(call) {
    let session;
    call.on('data', async (request) => {
      try {
        if (!request.start) {
          if (session) session.told(request);
          return;
        }
        const { instance } = this.of(request.instance, 'detector');
        const older = this.sessions.get(request.instance);
        session = new Session(call, request, instance, this.log);
        this.sessions.set(request.instance, session);
        if (older) await older.end();
        await session.run();
        if (this.sessions.get(request.instance) === session) this.sessions.delete(request.instance);
      } catch (err) {
        call.emit('error', wire(err));
      }
    });
    const gone = () => (session ? session.end() : call.end());
    call.on('end', gone);
    call.on('cancelled', gone);
    call.on('error', gone);
  }

  of(name, kind) {
    const one = this.open.get(name);
    if (!one || one.connector.kind !== kind) throw new HandledError(`there is no ${kind} ${JSON.stringify(name)}`, { reason: 'missing', fault: 'INPUT' });
    return one;
  }
}

function protoConnector(c) {
  return {
    kind: KINDS[c.kind],
    name: c.name || '',
    summary: c.summary || '',
    schema: protoSchema(c.config || {}),
    cursor_version: c.cursorVersion || 0,
    finite: Boolean(c.finite),
    default_mapping: c.defaultMapping || '',
    takes: c.takes || [],
    batch_limit: c.batchLimit || 0,
    default_ttl_seconds: c.ttl || 0,
    local: Boolean(c.local),
    verbs: (c.verbs || []).map((v) => ({
      name: v.name,
      targets: v.targets || [],
      parameters: protoSchema(v.parameters || {}),
      undo: Boolean(v.undo),
      check: Boolean(v.check),
      idempotent: Boolean(v.idempotent),
      settle_seconds: v.settle || 0,
      summary: v.summary || '',
    })),
  };
}

/** protoAnswer takes one of verdict, asset, identity and network, details and at. */
function protoAnswer(a) {
  const answer = { ...a, details: a.details ? Buffer.from(JSON.stringify(a.details)) : Buffer.alloc(0) };
  if (a.verdict) answer.verdict = { ...a.verdict, disposition: `DISPOSITION_${(a.verdict.disposition || 'unspecified').toUpperCase()}` };
  return answer;
}

async function outcome(request, one, doing) {
  const r = await calling(one, doing);
  return {
    outcome: `OUTCOME_${(r.outcome || 'unknown').toUpperCase()}`,
    reference: r.reference || '',
    undo_token: r.undoToken || Buffer.alloc(0),
    message: r.message || '',
    same_key: Boolean(r.sameKey),
    instance: request.instance,
  };
}

/** calling lets close wait for a call. */
async function calling(one, doing) {
  const promise = (async () => doing())();
  one.calls.add(promise);
  try {
    return await promise;
  } finally {
    one.calls.delete(promise);
  }
}

function date(timestamp) {
  return timestamp ? new Date(timestamp.seconds * 1000 + Math.floor(timestamp.nanos / 1e6)) : null;
}

const invalid = (text) => new HandledError(text, { reason: 'invalid', fault: 'INPUT' });
const unsupported = (text) => new HandledError(text, { reason: 'unsupported', fault: 'INPUT' });

module.exports = { Configured };
