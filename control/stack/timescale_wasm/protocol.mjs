// PostgreSQL wire protocol 3.0: cutting the two byte streams into messages and building the few
// messages that the gateway says on its own account. Nothing in here knows a socket or a database.

export const PROTOCOL_3_0 = 196608;
export const CANCEL_REQUEST = 80877102;
export const SSL_REQUEST = 80877103;
export const GSSENC_REQUEST = 80877104;

// One message must fit into memory twice (here and in the 32-bit database). COPY is not bound by
// this: it comes in many messages and is passed on as it arrives.
export const MAX_MESSAGE = 256 * 1024 * 1024;
const MAX_STARTUP = 10_000;

/** What the client sent breaks the protocol: it gets told so and is disconnected. */
export class ProtocolError extends Error {
  constructor(message, code = '08P01') {
    super(message);
    this.code = code;
  }
}

/** Cuts what a client sends into whole messages; keeps big ones as chunks until they are whole. */
export class FrontendReader {
  #chunks = [];
  #size = 0;
  started = false; // startup packets have no type byte, messages do

  push(chunk) {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
  }

  /** The next whole message as {type, bytes}, or null. A startup packet has the type ''. */
  next() {
    const header = this.started ? 5 : 4;
    if (this.#size < header) return null;
    const head = this.#peek(header);
    const length = head.readInt32BE(header - 4) + (header - 4);
    const limit = this.started ? MAX_MESSAGE : MAX_STARTUP;
    if (length < header || length > limit) {
      throw new ProtocolError(
        this.started
          ? `a message of ${length} bytes is not accepted: the limit is ${limit}`
          : 'this is not a PostgreSQL startup packet',
        this.started && length > limit ? '54000' : '08P01',
      );
    }
    if (this.#size < length) return null;
    const bytes = this.#take(length);
    return { type: this.started ? String.fromCharCode(bytes[0]) : '', bytes };
  }

  #peek(count) {
    if (this.#chunks[0].length >= count) return this.#chunks[0];
    this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0];
  }

  #take(count) {
    if (this.#chunks[0].length < count) this.#chunks = [Buffer.concat(this.#chunks)];
    const first = this.#chunks[0];
    this.#size -= count;
    if (first.length === count) {
      this.#chunks.shift();
      return first;
    }
    this.#chunks[0] = first.subarray(count);
    return first.subarray(0, count);
  }
}

// Types the gateway must read whole: 1 ParseComplete, 3 CloseComplete, A notification,
// C CommandComplete, E error, G CopyInResponse, N notice, Z ReadyForQuery.
const OBSERVED = new Set([...'13ACEGNZ'].map((type) => type.charCodeAt(0)));

/**
 * Follows what the database answers. Rows are passed through without being looked at; each observed
 * message goes to `observe(type, body)`, which returns false to keep it from the client.
 */
export class BackendScanner {
  #rest = null; // an observed message, or a header, of which the end has not come yet
  #skip = 0; // bytes of a message that is passed through

  /** Returns the part of `chunk` that is for the client, as a list of buffers. */
  scan(chunk, observe) {
    let data = chunk;
    if (this.#rest) {
      data = Buffer.concat([this.#rest, chunk]);
      this.#rest = null;
    }
    const out = [];
    let from = 0; // start of the range that is to be passed on
    let at = 0;
    if (this.#skip) {
      at = Math.min(this.#skip, data.length);
      this.#skip -= at;
    }
    while (at < data.length) {
      const left = data.length - at;
      const length = left >= 5 ? data.readInt32BE(at + 1) + 1 : Infinity;
      const observed = left < 5 || OBSERVED.has(data[at]);
      if (length > left) {
        if (observed) {
          if (at > from) out.push(data.subarray(from, at));
          this.#rest = data.subarray(at);
          return out;
        }
        this.#skip = length - left;
        break;
      }
      if (observed) {
        const type = String.fromCharCode(data[at]);
        if (observe(type, data.subarray(at + 5, at + length)) === false) {
          if (at > from) out.push(data.subarray(from, at));
          from = at + length;
        }
      }
      at += length;
    }
    if (data.length > from) out.push(data.subarray(from));
    return out;
  }
}

/** All messages of a complete answer, as {type, body}. */
export function* messages(bytes) {
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < data.length; ) {
    const length = data.readInt32BE(at + 1) + 1;
    yield { type: String.fromCharCode(data[at]), body: data.subarray(at + 5, at + length) };
    at += length;
  }
}

/** The zero-terminated string at `from` and the position after it. */
export function cstring(body, from = 0) {
  const end = body.indexOf(0, from);
  if (end < 0) throw new ProtocolError('a string in a message has no end');
  return [body.toString('utf8', from, end), end + 1];
}

/** The fields of an ErrorResponse or NoticeResponse by their letter. */
export function fields(body) {
  const found = {};
  for (let at = 0; at < body.length && body[at] !== 0; ) {
    const key = String.fromCharCode(body[at]);
    [found[key], at] = cstring(body, at + 1);
  }
  return found;
}

/** The columns of a DataRow in text form; null for NULL. */
export function dataRow(body) {
  const values = [];
  let at = 2;
  for (let n = body.readInt16BE(0); n > 0; n--) {
    const length = body.readInt32BE(at);
    at += 4;
    values.push(length < 0 ? null : body.toString('utf8', at, at + length));
    at += Math.max(length, 0);
  }
  return values;
}

export function message(type, ...parts) {
  const body = parts.map((part) => (typeof part === 'string' ? Buffer.from(`${part}\0`) : part));
  const head = Buffer.alloc(5);
  head.write(type, 0, 'latin1');
  head.writeInt32BE(4 + body.reduce((sum, part) => sum + part.length, 0), 1);
  return Buffer.concat([head, ...body]);
}

export const int32 = (...values) => {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => bytes.writeInt32BE(value | 0, 4 * i));
  return bytes;
};

export const query = (sql) => message('Q', sql);
export const sync = () => message('S');
export const copyFail = (why) => message('f', why);
export const closeStatement = (name) => message('C', Buffer.from('S'), name);
export const ready = (status = 'I') => message('Z', Buffer.from(status));

/** An ErrorResponse, or with severity WARNING or NOTICE a NoticeResponse. */
export function report(severity, code, text, { detail, hint } = {}) {
  const entries = [['S', severity], ['V', severity], ['C', code], ['M', text]];
  if (detail) entries.push(['D', detail]);
  if (hint) entries.push(['H', hint]);
  const body = Buffer.concat([
    ...entries.map(([key, value]) => Buffer.from(`${key}${value}\0`)),
    Buffer.from([0]),
  ]);
  return message(severity === 'ERROR' || severity === 'FATAL' ? 'E' : 'N', body);
}

/** What every client is told after its startup packet. */
export function greeting(parameters, pid, secret) {
  const status = Object.entries(parameters).map(([name, value]) => message('S', name, value));
  const key = message('K', int32(pid, secret));
  return Buffer.concat([message('R', int32(0)), ...status, key, ready()]);
}

/** {code, minor, parameters} of a startup packet; parameters only for protocol 3. */
export function startup(bytes) {
  if (bytes.length < 8) throw new ProtocolError('this is not a PostgreSQL startup packet');
  const code = bytes.readInt32BE(4);
  if (code >> 16 !== 3) return { code, minor: 0, parameters: {} };
  const parameters = {};
  for (let at = 8; at < bytes.length && bytes[at] !== 0; ) {
    let name;
    let value;
    [name, at] = cstring(bytes, at);
    [value, at] = cstring(bytes, at);
    parameters[name] = value;
  }
  return { code, minor: code & 0xffff, parameters };
}

/** Settings given as `-c name=value` or `--name=value` in the startup option `options`. */
export function optionSettings(options) {
  const words = [];
  let word = null;
  for (let i = 0; i < options.length; i++) {
    if (/\s/.test(options[i])) {
      if (word !== null) words.push(word);
      word = null;
    } else {
      if (options[i] === '\\' && i + 1 < options.length) i++;
      word = (word ?? '') + options[i];
    }
  }
  if (word !== null) words.push(word);
  const settings = {};
  for (let i = 0; i < words.length; i++) {
    let text = words[i];
    if (text === '-c') text = words[++i] ?? '';
    else if (text.startsWith('-c')) text = text.slice(2);
    else if (text.startsWith('--')) text = text.slice(2);
    else throw new ProtocolError(`the startup option "${text}" is not understood`, '22023');
    const equals = text.indexOf('=');
    if (equals < 1) throw new ProtocolError(`the startup option "${text}" has no value`, '22023');
    settings[text.slice(0, equals).replaceAll('-', '_')] = text.slice(equals + 1);
  }
  return settings;
}
