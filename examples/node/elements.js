// The elements of a list in JSON, as the bytes that they came in: what is parsed and
// written again is no longer the vendor's own.
'use strict';

const [QUOTE, BACKSLASH, COMMA, COLON] = ['"', '\\', ',', ':'].map((c) => c.charCodeAt(0));
const OPEN = new Set(['{', '['].map((c) => c.charCodeAt(0)));
const CLOSE = new Set(['}', ']'].map((c) => c.charCodeAt(0)));
const SPACE = new Set([' ', '\t', '\n', '\r'].map((c) => c.charCodeAt(0)));

/** elements of the list that the object in bytes, which is good JSON, has under a name. */
function elements(bytes, name) {
  for (const [key, value] of members(bytes)) if (key === name) return parts(value);
  return [];
}

/** members of an object, each a name and the bytes of its value. */
function members(bytes) {
  return parts(bytes).map((part) => {
    const end = string(part, 0);
    let at = end;
    while (part[at] !== COLON) at += 1;
    return [JSON.parse(part.subarray(0, end).toString('utf8')), trim(part.subarray(at + 1))];
  });
}

/** parts between the commas of the outermost object or list. */
function parts(bytes) {
  const all = [];
  let depth = 0;
  let from = 0;
  for (let i = 0; i < bytes.length; i += 1) {
    const b = bytes[i];
    if (b === QUOTE) {
      i = string(bytes, i) - 1;
    } else if (OPEN.has(b)) {
      depth += 1;
      if (depth === 1) from = i + 1;
    } else if (CLOSE.has(b) || (b === COMMA && depth === 1)) {
      if (depth === 1) {
        const part = trim(bytes.subarray(from, i));
        if (part.length > 0) all.push(part);
        from = i + 1;
      }
      if (b !== COMMA) depth -= 1;
    }
  }
  return all;
}

/** string is where the text ends that begins at a place. */
function string(bytes, at) {
  for (let i = at + 1; i < bytes.length; i += 1) {
    if (bytes[i] === BACKSLASH) i += 1;
    else if (bytes[i] === QUOTE) return i + 1;
  }
  return bytes.length;
}

function trim(bytes) {
  let [from, to] = [0, bytes.length];
  while (from < to && SPACE.has(bytes[from])) from += 1;
  while (to > from && SPACE.has(bytes[to - 1])) to -= 1;
  return bytes.subarray(from, to);
}

module.exports = { elements };
