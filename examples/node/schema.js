// Schemas of blocks: { url: { type: 'string', required: true, doc: '…' } }. Types are string,
// integer, number, bool, duration, path, any, and lists of them: ['string'].
'use strict';

const NAMES = new Set(['string', 'integer', 'number', 'bool', 'duration', 'path', 'any']);

function protoType(type) {
  if (Array.isArray(type)) return { kind: 'KIND_LIST', element: protoType(type[0]) };
  if (!NAMES.has(type)) throw new Error(`there is no type ${type}`);
  return { kind: `KIND_${type.toUpperCase()}` };
}

const json = (value) => (value === undefined ? '' : JSON.stringify(value));

/** protoSchema is a schema as Describe tells it. */
function protoSchema(schema) {
  return {
    attributes: Object.entries(schema).map(([name, a]) => ({
      name,
      type: protoType(a.type || 'string'),
      required: Boolean(a.required),
      secret: Boolean(a.secret),
      default: Buffer.from(json(a.default)),
      doc: a.doc || '',
      example: json(a.example),
      one_of: a.oneOf || [],
    })),
    blocks: [],
  };
}

/** fits tells whether a value is of a type. */
function fits(type, value) {
  if (Array.isArray(type)) return Array.isArray(value) && value.every((v) => fits(type[0], v));
  switch (type) {
    case 'integer':
      return Number.isInteger(value);
    case 'number':
      return typeof value === 'number';
    case 'bool':
      return typeof value === 'boolean';
    case 'duration':
      return typeof value === 'string' && /^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(value);
    case 'any':
      return true;
    default:
      return typeof value === 'string';
  }
}

/** decode reads a block's values, and complains about each that the schema does not have or wants otherwise. */
function decode(schema, bytes) {
  let given;
  try {
    given = bytes.length === 0 ? {} : JSON.parse(bytes.toString('utf8'));
  } catch {
    given = null;
  }
  if (given === null || typeof given !== 'object' || Array.isArray(given)) {
    return { value: {}, complaints: [{ summary: 'the configuration is no JSON object', path: [] }] };
  }
  const complaints = [];
  const value = {};
  for (const [name, a] of Object.entries(schema)) {
    const v = given[name] === undefined || given[name] === null ? a.default : given[name];
    const type = a.type || 'string';
    if (v === undefined) {
      if (a.required) complaints.push({ summary: `"${name}" is required`, path: [name] });
    } else if (!fits(type, v)) {
      complaints.push({ summary: `"${name}" must be a ${Array.isArray(type) ? `list of ${type[0]}` : type}`, path: [name] });
    } else if (a.oneOf && !a.oneOf.includes(v)) {
      complaints.push({ summary: `"${name}" must be one of ${a.oneOf.map((o) => `"${o}"`).join(', ')}`, path: [name] });
    } else {
      value[name] = v;
    }
  }
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(schema, name)) complaints.push({ summary: `there is no attribute or block "${name}" here`, path: [name] });
  }
  return { value, complaints };
}

/** seconds of a duration such as "1m30s". */
function seconds(text) {
  const units = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400 };
  return [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)].reduce((sum, [, n, unit]) => sum + Number(n) * units[unit], 0);
}

module.exports = { protoSchema, decode, seconds };
