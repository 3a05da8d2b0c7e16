// What a client leaves behind in the one backend that all clients share.
//
// SET variables are given back: after a turn that changed any, the gateway notes them for that
// client, and puts them in place again before its next turn. Temporary objects, WITH HOLD cursors,
// SQL-level PREPARE and session advisory locks cannot be exchanged like that; the gateway notes who
// made them and removes them when their client leaves.
import { QueryFailed } from './link.mjs';
import { message } from './protocol.mjs';

// The build starts PostgreSQL with other values of these on its command line. With enable_seqscan
// off plans are chosen badly; debug3 sends debug messages to clients; allow_system_table_mods lets
// any client damage the catalog. They are set at open and again after a client's RESET ALL.
export const BASELINE = {
  enable_seqscan: 'on',
  client_min_messages: 'notice',
  log_min_messages: 'warning',
  allow_system_table_mods: 'off',
  search_path: '"$user", public',
};

// Tags of commands after which the session state may be another one.
const CHANGING = new Set(['SET', 'RESET', 'DISCARD ALL', 'DISCARD TEMP', 'PREPARE', 'DEALLOCATE']);
// The same for statements whose tag does not tell; a false alarm costs a few milliseconds.
const HINT = new RegExp([
  String.raw`\bcreate\s+(?:(?:local|global|or\s+replace)\s+)*temp`, String.raw`\binto\s+temp`,
  String.raw`\bpg_temp\b`, String.raw`\bwith\s+hold\b`, 'advisory_(?:un)?lock',
  String.raw`\bset_config\b`,
].join('|'), 'i');
// Variables with a dot that no extension has defined are hidden from pg_settings: names are read
// from the statement instead.
const CUSTOM =
  /\bset\s+(?:session\s+)?"?(\w+)"?\."?(\w+)"?\s*(?:=|\bto\b)|\bset_config\s*\(\s*'(\w+)\.(\w+)'/gi;
// Told at the start and changed by no SET (SET ROLE changes is_superuser, but nobody reads that).
const FIXED = new Set(['server_version', 'server_encoding', 'integer_datetimes', 'in_hot_standby',
  'is_superuser']);
const SCANNED = 16 * 1024;

const quote = (text) => `'${text.replaceAll("'", "''")}'`;
const name = (text) => `"${text.replaceAll('"', '""')}"`;
const dotted = (text) => text.split('.').map(name).join('.');
const IDENTITY = ['session_authorization', 'role'];

const REMOVAL = {
  table: (object) => `DROP TABLE IF EXISTS pg_temp.${name(object)} CASCADE`,
  view: (object) => `DROP VIEW IF EXISTS pg_temp.${name(object)} CASCADE`,
  sequence: (object) => `DROP SEQUENCE IF EXISTS pg_temp.${name(object)} CASCADE`,
  cursor: (object) => `CLOSE ${name(object)}`,
  prepared: (object) => `DEALLOCATE ${name(object)}`,
  lock: (object) => `SELECT pg_advisory_unlock(${object})`,
};

/** Whether a statement may change session state although its command tag does not say so. */
export function hints(sql) {
  return HINT.test(sql.length > SCANNED ? sql.slice(0, SCANNED) : sql);
}

/** Whether session state may have changed with this command tag. */
export function changes(tag) {
  return CHANGING.has(tag);
}

/** What a client has been told of its settings: this build tells of no change by itself. */
export class Told {
  #values = new Map(); // where they differ from those at its start
  stale = false; // settings may have changed since

  /** Sends ParameterStatus for every setting of which the client knows another value. */
  async tell(session, state) {
    for (const [key, value] of await state.reported()) {
      if ((this.#values.get(key) ?? state.parameters[key]) === value) continue;
      this.#values.set(key, value);
      session.write(message('S', key, value));
    }
    this.stale = false;
  }
}

export class SessionState {
  #link;
  #log;
  #live = new Map(); // what is set in the backend now, beyond the baseline
  #custom = new Set();
  #sessions; // the clients, each with `settings` (Map) and `owned` (Set)
  #user;
  #touched = false;
  parameters = {}; // what clients are told at their start

  constructor(link, sessions, user, log) {
    this.#link = link;
    this.#sessions = sessions;
    this.#user = user;
    this.#log = log;
  }

  /** The backend is a new one: nothing of what was set or made is in it. */
  forgetAll() {
    this.#live.clear();
  }

  /** Notes the names of custom variables that a statement sets. */
  watch(sql) {
    for (const found of sql.slice(0, SCANNED).matchAll(CUSTOM)) {
      this.#custom.add(`${found[1] ?? found[3]}.${found[2] ?? found[4]}`.toLowerCase());
    }
  }

  /**
   * The settings that clients are told of, as they are now. SHOW takes no snapshot, so it may come
   * even between BEGIN and SET TRANSACTION.
   */
  async reported() {
    const names = Object.keys(this.parameters).filter((key) => !FIXED.has(key));
    const rows = await this.#link.ask(names.map((key) => `SHOW ${name(key)}`).join('; '));
    return rows.map(([value], i) => [names[i], value]);
  }

  /** Whether the backend has to be changed before this client's statements may run. */
  differs(session) {
    if (session.settings.size !== this.#live.size) return true;
    for (const [key, value] of session.settings) if (this.#live.get(key) !== value) return true;
    return false;
  }

  /** Puts a client's settings in place; one that is refused is thrown as QueryFailed. */
  async apply(session) {
    const wanted = session.settings;
    const steps = [];
    const undo = (key) => {
      if (Object.hasOwn(BASELINE, key)) return `SET ${key} TO ${BASELINE[key]}`;
      return `RESET ${dotted(key)}`;
    };
    // The identity goes back first and comes last: a plain role may not change other settings.
    const stale = [...this.#live.keys()].filter((key) => this.#live.get(key) !== wanted.get(key));
    const back = stale.filter((key) => IDENTITY.includes(key) || !wanted.has(key));
    const rank = (key) => (IDENTITY.includes(key) ? 2 - IDENTITY.indexOf(key) : 3);
    back.sort((a, b) => rank(a) - rank(b));
    steps.push(...back.map(undo));
    const fresh = [...wanted].filter(([key, value]) => this.#live.get(key) !== value);
    fresh.sort(([a], [b]) => rank(b) - rank(a));
    for (const [key, value] of fresh) {
      steps.push(`SELECT set_config(${quote(key)}, ${quote(value)}, false)`);
    }
    this.#touched = true;
    await this.#link.ask(steps.join('; '));
    this.#live = new Map(wanted);
  }

  /** Reads the session state after a turn that may have changed it, for the books. */
  async take(session) {
    this.#touched = true;
    const custom = [...this.#custom].map(quote).join(', ');
    const rows = await this.#link.ask(`
      SELECT 'setting', name, setting FROM pg_settings
        WHERE source = 'session' AND name NOT LIKE 'transaction\\_%'
      UNION ALL SELECT 'setting', 'role', r FROM current_setting('role') r WHERE r <> 'none'
      UNION ALL SELECT 'setting', 'session_authorization', session_user
        WHERE session_user <> (SELECT rolname FROM pg_roles WHERE rolname = ${quote(this.#user)})
      UNION ALL SELECT 'setting', n, current_setting(n, true)
        FROM unnest(ARRAY[${custom}]::text[]) n
        WHERE current_setting(n, true) <> '' AND n NOT IN (SELECT name FROM pg_settings)
      UNION ALL SELECT CASE relkind WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' ELSE 'table' END,
          relname, NULL FROM pg_class
        WHERE relnamespace = pg_my_temp_schema() AND relkind IN ('r', 'p', 'v', 'S')
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = pg_class.oid AND d.deptype = 'a')
      UNION ALL SELECT 'cursor', name, NULL FROM pg_cursors WHERE is_holdable
      UNION ALL SELECT 'prepared', name, NULL FROM pg_prepared_statements WHERE from_sql
      UNION ALL SELECT 'lock', CASE objsubid WHEN 1 THEN (classid::int8 << 32 | objid::int8)::text
          ELSE classid::int4 || ', ' || objid::int4 END, NULL
        FROM pg_locks WHERE locktype = 'advisory'`);
    const now = new Map();
    const objects = new Set();
    for (const [kind, key, value] of rows) {
      if (kind === 'setting') now.set(key, value);
      else objects.add(`${kind} ${key}`);
    }
    const lost = Object.keys(BASELINE).filter((key) => !now.has(key));
    if (lost.length) {
      await this.#link.ask(lost.map((key) => `SET ${key} TO ${BASELINE[key]}`).join('; '));
    }
    for (const [key, value] of Object.entries(BASELINE)) {
      if (!now.has(key) || now.get(key) === value) now.delete(key);
    }
    session.settings = now;
    this.#live = new Map(now);
    for (const other of this.#sessions.values()) {
      for (const object of other.owned) {
        if (!objects.has(object)) other.owned.delete(object);
        else if (other !== session) objects.delete(object);
      }
    }
    session.owned = objects;
  }

  /** Removes what a client that has left made; with the last client everything goes. */
  async leave(session) {
    if (!this.#sessions.size) {
      if (!this.#touched) return;
      await this.#link.ask('DISCARD ALL');
      this.#touched = false;
      this.#live.clear();
      this.#custom.clear();
      const steps = Object.entries(BASELINE).map(([key, value]) => `SET ${key} TO ${value}`);
      await this.#link.ask(steps.join('; '));
      return;
    }
    for (const object of session.owned) {
      const [kind] = object.split(' ', 1);
      try {
        await this.#link.ask(REMOVAL[kind](object.slice(kind.length + 1)));
      } catch (error) {
        if (!(error instanceof QueryFailed)) throw error;
        this.#log('warning', 'what a client left behind could not be removed', {
          object,
          reason: error.message,
        });
      }
    }
  }
}
