// The prepared statements of one client in the backend that all clients share. Clients use the same
// names (psycopg: _pg3_0), so names get the client's prefix. Portals keep theirs: they share them
// with SQL cursors and end with the transaction.
import { createHash } from 'node:crypto';
import { closeStatement, cstring, message, query } from './protocol.mjs';
import { hints } from './settings.mjs';

const DEALLOCATE = /^\s*deallocate\s+(?:prepare\s+)?("?)([^"\s;]+)\1\s*;?\s*$/i;
const STATEMENT = 0x53; // 'S' in Describe and Close; 'P' means a portal

export class Statements {
  #link;
  #prefix;
  #known = new Map(); // name -> {bytes, hint, lost}
  #unnamed = null; // the Parse message of the unnamed statement
  #pending = []; // what ParseComplete and CloseComplete will be about, in order
  #primed = []; // what has been prepared again for the messages under way: entries, or null

  constructor(link, prefix) {
    this.#link = link;
    this.#prefix = prefix;
  }

  /**
   * A message as the database must see it. `prime` has to be run before it, unseen by the client;
   * `sql` is the text it brings and `hint` says that running it may change the session state.
   */
  translate(type, bytes) {
    switch (type) {
      case 'Q': return this.#query(bytes);
      case 'P': return this.#parse(bytes);
      case 'B': return this.#bind(bytes);
      case 'D': return bytes[5] === STATEMENT ? this.#describe(bytes) : { bytes };
      case 'C': return this.#close(bytes);
      default: return { bytes };
    }
  }

  #query(bytes) {
    const [sql] = cstring(bytes, 5);
    this.#link.unnamedOwner = null; // a simple query drops the unnamed statement
    this.#unnamed = null;
    const renamed = this.#deallocate(sql);
    return { sql, hint: hints(sql), bytes: renamed ? query(renamed) : bytes };
  }

  #parse(bytes) {
    const [name, at] = cstring(bytes, 5);
    const [sql, end] = cstring(bytes, at);
    const hint = hints(sql);
    let out = bytes;
    if (name !== '') out = message('P', this.#name(name), bytes.subarray(at));
    else {
      const renamed = this.#deallocate(sql);
      if (renamed) out = message('P', '', renamed, bytes.subarray(end));
    }
    this.#pending.push({ parsed: name, bytes: out, hint });
    return { sql, hint, bytes: out };
  }

  #bind(bytes) {
    const [portal, middle] = cstring(bytes, 5);
    const [name, at] = cstring(bytes, middle);
    const out = name === '' ? bytes : message('B', portal, this.#name(name), bytes.subarray(at));
    return { bytes: out, prime: this.#missing(name), hint: this.#known.get(name)?.hint };
  }

  #describe(bytes) {
    const [name] = cstring(bytes, 6);
    const out = name === '' ? bytes : message('D', Buffer.from('S'), this.#name(name));
    return { bytes: out, prime: this.#missing(name) };
  }

  #close(bytes) {
    const [name] = cstring(bytes, 6);
    if (bytes[5] !== STATEMENT) {
      this.#pending.push({});
      return { bytes };
    }
    this.#pending.push({ closed: name });
    return { bytes: name === '' ? bytes : closeStatement(this.#name(name)) };
  }

  // The database looks names up in a table of 63-byte keys: a long name is shortened, never cut.
  #name(name) {
    if (Buffer.byteLength(name) <= 40) return this.#prefix + name;
    return this.#prefix + createHash('sha1').update(name).digest('hex');
  }

  /** What has to be run before a statement can be used because others were here, or undefined. */
  #missing(name) {
    if (this.#pending.some(({ parsed }) => parsed === name)) return undefined;
    if (name === '') {
      if (this.#link.unnamedOwner === this) return undefined;
      this.#link.unnamedOwner = this.#unnamed && this;
      this.#primed.push(null);
      // Without one of its own the client must not get at another client's either.
      return this.#unnamed ?? closeStatement('');
    }
    const known = this.#known.get(name);
    if (!known?.lost) return undefined;
    known.lost = false;
    this.#primed.push(known);
    // Closed first, because it may be there after all: see `failed`.
    return Buffer.concat([closeStatement(this.#name(name)), known.bytes]);
  }

  /** Clients with an older libpq drop statements by SQL, which knows only the prefixed name. */
  #deallocate(sql) {
    const found = sql.length < 200 && DEALLOCATE.exec(sql);
    if (!found) return null;
    const name = found[1] ? found[2] : found[2].toLowerCase();
    const known = this.#known.get(name);
    if (!known || known.lost) return null;
    this.#known.delete(name);
    return `DEALLOCATE "${this.#name(name)}"`;
  }

  /** ParseComplete or CloseComplete has come. */
  completed() {
    const { parsed, closed, bytes, hint } = this.#pending.shift() ?? {};
    if (parsed === '') {
      this.#unnamed = bytes;
      this.#link.unnamedOwner = this;
    } else if (parsed !== undefined) this.#known.set(parsed, { bytes, hint, lost: false });
    if (closed === '') {
      this.#unnamed = null;
      if (this.#link.unnamedOwner === this) this.#link.unnamedOwner = null;
    } else if (closed !== undefined) this.#known.delete(closed);
  }

  /** ReadyForQuery has come: nothing more is going to be completed. */
  over() {
    this.#pending = [];
    this.#primed = [];
  }

  /** An error has come: what was to be prepared again perhaps was not. */
  failed() {
    for (const known of this.#primed) {
      if (known) known.lost = true;
      else if (this.#link.unnamedOwner === this) this.#link.unnamedOwner = null;
    }
    this.over();
  }

  /** DEALLOCATE ALL of this client. */
  clear() {
    this.#known.clear();
  }

  /** Something has removed the statements in the database; each is prepared again when used. */
  lose() {
    for (const known of this.#known.values()) known.lost = true;
    this.over();
  }

  /** The messages that remove what is left in the database. */
  removal() {
    const present = [...this.#known].filter(([, { lost }]) => !lost);
    return present.map(([name]) => closeStatement(this.#name(name)));
  }
}
