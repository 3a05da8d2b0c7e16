// One client: what it has sent, whether it has the turn, and what belongs to it in the backend.
import { randomInt } from 'node:crypto';
import {
  BackendScanner, FrontendReader, ProtocolError, closeStatement, copyFail, cstring, databaseName,
  int32, message, query, ready, report, statementOf, sync,
} from './protocol.mjs';
import { BackendGone, QueryFailed } from './link.mjs';
import { changes, hints } from './settings.mjs';
import { answerStartup } from './startup.mjs';

const END_OF_UNIT = new Set(['Q', 'S', 'F']); // ReadyForQuery follows these
const COPYING = new Set(['d', 'c', 'f']);
const KNOWN = new Set([...'QPBDECSHFXdcf']);

// A client asks for the turn when there is something to answer (Sync, Flush, Query) or when this
// much is waiting. Until then nobody can see that its messages have not been run.
const ASK_ANYWAY = 1024 * 1024;
const HIGH = 8 * 1024 * 1024; // stop reading from the socket above this, go on below a quarter of it

const LISTEN = /\b(un)?listen\s+(\*|"(?:[^"]|"")+"|[\w$\u0080-\uffff]+)/gi;
const DEALLOCATE = /^\s*deallocate\s+(?:prepare\s+)?("?)([^"\s;]+)\1\s*;?\s*$/i;

const channelName = (text) =>
  text[0] === '"' ? text.slice(1, -1).replaceAll('""', '"') : text.toLowerCase();

export class Session {
  #gateway;
  #socket;
  #reader = new FrontendReader();
  #scanner = new BackendScanner();
  #inbox = [];
  #inboxBytes = 0;
  #open = false; // the startup is done
  #skipping = false; // an error was answered: everything up to Sync is ignored
  #turn = 0; // not 0: has the turn
  #busyWith = null; // 'begin' or 'end': the gateway's own work at the edge of the turn
  #unit = null; // messages up to the next ReadyForQuery: {extended, ended, copy}
  #status = 'I';
  #pending = []; // what ParseComplete and CloseComplete will be about, in order
  #unnamed = null; // the unnamed statement, to be given again after another client's turn
  #changed = false; // the session state may have changed in this turn
  #set = false; // settings may have changed since the client was told of them
  #told = new Map(); // the settings it was told of, where they differ from those at its start
  #heard = []; // LISTEN and UNLISTEN of this turn, to be believed when their tag comes
  #listenTag = false;
  #relisten = false;
  #idle = null;
  #stalled = null;
  #readAt = 0; // when it last took some of its result
  #deaf = false; // the socket is closed
  #greeted = false; // the settings of the startup packet are in force
  #hold = null; // the last stage of a session that has left

  gone = false; // the socket is of no use any more
  statements = new Map(); // name -> {bytes, hint, lost}
  settings = new Map(); // what this client has SET
  owned = new Set(); // what this client has made: 'table x', 'cursor x' ...
  channels = new Set(); // what it listens to

  constructor(gateway, socket, id) {
    this.#gateway = gateway;
    this.#socket = socket;
    this.id = id;
    this.secret = randomInt(1, 0x7fffffff);
    this.name = `client ${id} (${socket.remoteAddress}:${socket.remotePort})`;
    this.prefix = `c${id}.`;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => this.#guard(() => this.#receive(chunk)));
    socket.on('drain', () => this.#unstall());
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', () => {
      // One that has said goodbye meant all that it sent before: that is still done.
      this.#deaf = true;
      if (!this.#inbox.some(({ type }) => type === 'X')) this.#guard(() => this.#leave());
    });
  }

  get holding() {
    return this.#turn !== 0;
  }

  /** What it does with the turn, in words. */
  get activity() {
    if (this.#unit?.copy) return 'in COPY FROM STDIN';
    if (this.#gateway.link.busy) return 'running a statement';
    if (this.#status !== 'I') return 'idle in a transaction';
    return this.#unit ? 'between Parse and Sync' : 'idle';
  }

  /** Errors in what the client sent end its session; the gateway itself goes on. */
  #guard(action) {
    try {
      action();
    } catch (error) {
      if (error instanceof ProtocolError) this.fatal(error.code, error.message);
      else if (!(error instanceof BackendGone)) throw error;
    }
  }

  #receive(chunk) {
    if (this.gone) return;
    this.#reader.push(chunk);
    for (let frame; (frame = this.#reader.next()); ) {
      if (!this.#open) {
        const settings = answerStartup(this, frame.bytes, this.#gateway);
        if (settings === 'again') continue;
        if (!settings) {
          this.#finalWrite(null);
          return this.#leave();
        }
        this.settings = settings;
        this.#open = true;
        this.#reader.started();
        continue;
      }
      if (!KNOWN.has(frame.type)) {
        throw new ProtocolError(`a message of the unknown type "${frame.type}" was sent`);
      }
      this.#inbox.push(frame);
      this.#inboxBytes += frame.bytes.length;
    }
    this.#pump();
    this.throttle();
  }

  write(bytes) {
    if (!this.gone && !this.#deaf) this.#socket.write(bytes);
  }

  /** Reads from the socket only as fast as the database takes it. */
  throttle() {
    if (this.gone) return;
    const load = this.#inboxBytes + (this.#turn ? this.#gateway.link.inFlight : 0);
    if (load > HIGH) this.#socket.pause();
    else if (load < HIGH / 4 && this.#socket.isPaused()) this.#socket.resume();
  }

  #take() {
    const frame = this.#inbox.shift();
    this.#inboxBytes -= frame.bytes.length;
    return frame;
  }

  /** Does whatever can be done now with the messages that have come. */
  #pump() {
    if (!this.#unit) this.#answerWithoutTurn();
    if (this.gone || !this.#inbox.length || this.#busyWith) return;
    if (this.#turn) return this.#feed();
    if (this.#gateway.turns.isWaiting(this)) return;
    const asks = this.#inbox.some(({ type }) => END_OF_UNIT.has(type) || type === 'H');
    if (!asks && this.#inboxBytes < ASK_ANYWAY) return;
    const { queueTimeout } = this.#gateway.options;
    this.#gateway.turns.request(this, (turn) => this.#granted(turn), {
      milliseconds: queueTimeout * 1000,
      late: () => this.#refuseLate(),
    });
  }

  #answerWithoutTurn() {
    while (this.#inbox.length && !this.gone) {
      const { type } = this.#inbox[0];
      if (this.#skipping && type !== 'X') {
        this.#take();
        if (type !== 'S') continue;
        this.#skipping = false;
        this.write(ready(this.#status));
      } else if (type === 'X') {
        this.#take();
        this.#socket.end();
        return this.#leave();
      } else if (COPYING.has(type)) {
        this.#take(); // the COPY has failed; the client learns that now
      } else if (!this.#turn && (type === 'S' || type === 'H')) {
        this.#take();
        if (type === 'S') this.write(ready('I'));
      } else return;
    }
  }

  // --- the turn -------------------------------------------------------------------------------

  async #granted(turn) {
    this.#turn = turn;
    const { state } = this.#gateway;
    if (state.differs(this)) {
      this.#busyWith = 'begin';
      try {
        await state.apply(this);
        if (!this.#greeted) await this.#tellSettings();
      } catch (error) {
        if (!(error instanceof QueryFailed)) return this.#lostBackend(error);
        this.#busyWith = null;
        return this.fatal(error.code, error.message);
      }
      this.#busyWith = null;
    }
    this.#greeted = true;
    if (this.gone) return this.#clean();
    this.#guard(() => this.#pump());
    // Everything that was waiting has been answered or dropped without the database.
    if (this.#turn && !this.#unit && !this.#busyWith && !this.gone) this.#endTurn();
  }

  /** Passes on what belongs to the unit that is being run, or begins the next one. */
  #feed() {
    const { link } = this.#gateway;
    let buffers = [];
    const flush = () => {
      if (buffers.length) link.feed(this.#turn, buffers);
      buffers = [];
    };
    while (this.#inbox.length) {
      const { type } = this.#inbox[0];
      const unit = this.#unit;
      if (unit?.ended) {
        // Only what a COPY needs may overtake ReadyForQuery. In extended COPY the first Sync was
        // swallowed by the COPY itself, so the one after CopyDone must go along as well.
        const more = unit.extended && unit.copy && (type === 'S' || type === 'H');
        if (!COPYING.has(type) && !more) break;
      } else if (type === 'X' || (!unit && COPYING.has(type))) {
        flush();
        this.#unit = null;
        this.#answerWithoutTurn();
        if (this.gone) return;
        continue;
      } else {
        this.#unit ??= { extended: type !== 'Q' && type !== 'F', ended: false, copy: false };
        if (END_OF_UNIT.has(type)) this.#unit.ended = true;
      }
      const frame = this.#take();
      for (const bytes of this.#prepared(frame)) {
        if (bytes.prime) {
          flush();
          link.prime(this.#turn, [bytes.prime]);
        } else buffers.push(bytes);
      }
    }
    flush();
    this.#calm();
    if (this.#unit === null && this.#status !== 'I') this.#watchIdle();
  }

  /** A message as the database must see it, with what has to be said before it. */
  #prepared({ type, bytes }) {
    if (type === 'Q') {
      this.#gateway.link.unnamedOwner = null; // a simple query drops the unnamed statement
      this.#unnamed = null;
      const [sql] = cstring(bytes, 5);
      this.#look(sql);
      return [this.#renamedDeallocate(sql, (text) => query(text)) ?? bytes];
    }
    if (!'PBDC'.includes(type)) return [bytes];
    const about = statementOf(type, bytes, this.prefix);
    if (type === 'P') {
      this.#look(about.sql);
      const hint = hints(about.sql);
      let out = about.bytes;
      if (about.statement === '') {
        const [, at] = cstring(bytes, 5);
        const [, end] = cstring(bytes, at);
        const rebuild = (text) => message('P', '', text, bytes.subarray(end));
        out = this.#renamedDeallocate(about.sql, rebuild) ?? out;
      }
      this.#pending.push({ parsed: about.statement, bytes: out, hint });
      return [out];
    }
    if (type === 'C') this.#pending.push({ closed: about.statement });
    if (about.statement === null || type === 'C') return [about.bytes];
    const again = this.#lostStatement(about.statement);
    return again ? [{ prime: again }, about.bytes] : [about.bytes];
  }

  /** The Parse message to be repeated because the database has lost this statement, or null. */
  #lostStatement(name) {
    if (this.#pending.some(({ parsed }) => parsed === name)) return null;
    if (name === '') {
      const { link } = this.#gateway;
      if (link.unnamedOwner === this) return null;
      link.unnamedOwner = this.#unnamed && this;
      // Without one of its own the client must not get at another client's either.
      return this.#unnamed ?? closeStatement('');
    }
    const known = this.statements.get(name);
    if (!known) return null;
    if (known.hint) this.#changed = true;
    if (!known.lost) return null;
    known.lost = false;
    return known.bytes;
  }

  #look(sql) {
    if (hints(sql)) this.#changed = true;
    this.#gateway.state.watch(sql);
    for (const found of sql.slice(0, 16384).matchAll(LISTEN)) {
      this.#heard.push({ stop: Boolean(found[1]), channel: channelName(found[2]) });
    }
  }

  /** Clients on an older libpq drop statements by SQL, which knows only the prefixed name. */
  #renamedDeallocate(sql, build) {
    const found = sql.length < 200 && DEALLOCATE.exec(sql);
    if (!found) return null;
    const name = found[1] ? found[2] : found[2].toLowerCase();
    const known = this.statements.get(name);
    if (!known || known.lost) return null;
    this.statements.delete(name);
    return build(`DEALLOCATE "${databaseName(this.prefix, name)}"`);
  }

  /** What the database says on this client's turn. */
  output(bytes) {
    const { link } = this.#gateway;
    let status = null;
    const parts = this.#scanner.scan(bytes, (type, body) => {
      if (type !== 'Z') return this.#observe(type, body);
      status = String.fromCharCode(body[0]);
      return this.gone || !this.#unsettled(status);
    });
    if (this.gone || this.#deaf || !parts.length) link.consumed(bytes.length);
    else {
      const last = parts.pop();
      for (const part of parts) this.#socket.write(part);
      const flowing = this.#socket.write(last, () => {
        this.#readAt = Date.now();
        link.consumed(bytes.length);
      });
      if (!flowing && !this.#stalled) this.#stall();
    }
    if (status && !this.#hold) this.#guard(() => this.#ready(status));
  }

  /** Whether ReadyForQuery has to wait until the gateway has looked at the session state. */
  #unsettled(status) {
    if (status === 'I') return this.#changed || this.#listenTag || this.#relisten;
    return status === 'T' && this.#set;
  }

  /** ParameterStatus for every setting of which the client knows another value. */
  async #tellSettings() {
    for (const [name, value] of await this.#gateway.state.reported()) {
      if ((this.#told.get(name) ?? this.#gateway.parameters[name]) === value) continue;
      this.#told.set(name, value);
      this.write(message('S', name, value));
    }
    this.#set = false;
  }

  #observe(type, body) {
    const { link } = this.#gateway;
    if (type === '1' || type === '3') {
      const { parsed, closed, bytes, hint } = this.#pending.shift() ?? {};
      if (parsed === '') [this.#unnamed, this.#gateway.link.unnamedOwner] = [bytes, this];
      else if (parsed !== undefined) this.statements.set(parsed, { bytes, hint, lost: false });
      if (closed === '') {
        this.#unnamed = null;
        if (link.unnamedOwner === this) this.#gateway.link.unnamedOwner = null;
      } else if (closed) this.statements.delete(closed);
    } else if (type === 'E') this.#pending = [];
    else if (type === 'G' && this.#unit) this.#unit.copy = true;
    else if (type === 'A') return this.#gateway.notify(this, body);
    else if (type === 'C') this.#tagged(cstring(body)[0]);
    return true;
  }

  #tagged(tag) {
    if (changes(tag)) this.#changed = this.#set = true;
    if (tag === 'LISTEN' || tag === 'UNLISTEN') this.#listenTag = true;
    if (tag === 'DISCARD ALL') this.#relisten = true;
    if (tag === 'DEALLOCATE ALL' || tag === 'DISCARD ALL') {
      this.statements.clear();
      this.#gateway.statementsLost(this);
    }
  }

  /** The database waits for the next message of this client. */
  #ready(status) {
    this.#gateway.link.calm();
    const held = this.#unsettled(status);
    this.#status = status;
    this.#unit = null;
    this.#pending = [];
    if (status === 'I') this.#endTurn(held);
    else if (held) this.#report();
    else this.#pump();
    this.throttle();
  }

  /** Within a transaction: tells what SET has changed, then lets the client go on. */
  async #report() {
    this.#busyWith = 'report';
    try {
      await this.#tellSettings();
    } catch (error) {
      return this.#lostBackend(error);
    }
    this.#busyWith = null;
    if (this.gone) return this.#abandon();
    this.write(ready(this.#status));
    this.#guard(() => this.#pump());
    if (!this.#unit) this.settled();
  }

  async #endTurn(held = false) {
    this.#calm();
    this.#busyWith = 'end';
    try {
      if (this.#listenTag || this.#relisten) await this.#listenAgain();
      if (this.#changed) {
        await this.#gateway.state.take(this);
        await this.#tellSettings();
      }
    } catch (error) {
      return this.#lostBackend(error);
    }
    if (held) this.write(ready('I'));
    this.#changed = false;
    this.#heard = [];
    this.#busyWith = null;
    if (this.gone) return this.#clean();
    this.#turn = 0;
    this.#gateway.turns.release(this);
    this.#guard(() => this.#pump());
  }

  /** Notes what this client listens to; UNLISTEN must not make the others deaf. */
  async #listenAgain() {
    for (const { stop, channel } of this.#listenTag ? this.#heard : []) {
      if (!stop) this.channels.add(channel);
      else if (channel === '*') this.channels.clear();
      else this.channels.delete(channel);
    }
    if (this.#relisten) this.channels.clear();
    this.#listenTag = this.#relisten = false;
    await this.#gateway.listenToAll();
  }

  /** The database is gone while the gateway was asking it: `Gateway.restart` sees to the rest. */
  #lostBackend(error) {
    this.#busyWith = null;
    if (!(error instanceof BackendGone) && !(error instanceof QueryFailed)) throw error;
    if (error instanceof QueryFailed) {
      this.#gateway.log('error', 'the session state could not be read', { reason: error.message });
      this.fatal('XX000', `the session state could not be read: ${error.message}`);
    }
  }

  // --- limits ---------------------------------------------------------------------------------

  /** The database has nothing to do; if it is this client's move, it must come in time. */
  settled() {
    if (this.#turn && !this.#busyWith && !this.gone) this.#watchIdle();
  }

  #watchIdle() {
    const { transactionTimeout } = this.#gateway.options;
    if (this.#idle || this.#gateway.link.busy) return;
    this.#idle = setTimeout(() => {
      this.#idle = null;
      this.#gateway.log('warning', 'a client kept the turn without using it', {
        client: this.name,
        activity: this.activity,
      });
      this.fatal(
        '25P03',
        `terminating connection: it was ${this.activity} for ${transactionTimeout} s`,
        'All clients share one backend, so an idle transaction stops them all. ' +
          `The limit is --transaction-timeout (${transactionTimeout} s).`,
      );
    }, transactionTimeout * 1000);
  }

  #calm() {
    clearTimeout(this.#idle);
    this.#idle = null;
  }

  #stall() {
    const milliseconds = this.#gateway.options.transactionTimeout * 1000;
    this.#stalled = setTimeout(() => {
      this.#stalled = null;
      if (!this.#turn || !this.#gateway.link.busy) return;
      if (Date.now() - this.#readAt < milliseconds) return this.#stall();
      this.#gateway.log('warning', 'a client does not read its result', { client: this.name });
      this.#socket.destroy();
    }, milliseconds);
  }

  #unstall() {
    clearTimeout(this.#stalled);
    this.#stalled = null;
  }

  #refuseLate() {
    const { turns, options } = this.#gateway;
    const { who, since } = turns.current ?? {};
    const holder = who
      ? `${who.name}, ${who.activity}, has had the backend since ${new Date(since).toISOString()}`
      : 'the database is being started again';
    this.#refuse(report(
      'ERROR', '55P03', `no turn at the database within ${options.queueTimeout} s: ${holder}`, {
        hint: 'All clients share one backend and their transactions run one after another. ' +
          `Keep transactions short, or raise --queue-timeout (${options.queueTimeout} s).`,
      }));
  }

  /** Answers the first waiting unit with an error; the connection stays usable. */
  #refuse(error) {
    this.write(error);
    if (this.#inbox.length && END_OF_UNIT.has(this.#inbox[0].type)) {
      this.#take();
      this.write(ready('I'));
    } else this.#skipping = true;
    this.#guard(() => this.#pump());
    this.throttle();
  }

  /** A CancelRequest for this client. */
  cancel() {
    const { turns, link } = this.#gateway;
    const text = 'canceling statement due to user request';
    if (turns.withdraw(this)) return this.#refuse(report('ERROR', '57014', text));
    const unit = this.#unit;
    if (!this.#turn || !unit) return undefined; // nothing runs: ignored, as PostgreSQL does
    if (!link.busy) return unit.copy ? link.feed(this.#turn, [copyFail(text)]) : undefined;
    link.cancel(this.#turn);
    this.#gateway.insist(() => this.#unit === unit && !this.gone, this);
    return undefined;
  }

  // --- the end --------------------------------------------------------------------------------

  /** Says why and hangs up; whatever was open is rolled back. */
  fatal(code, text, hint) {
    if (this.gone) return;
    this.#finalWrite(report('FATAL', code, text, { hint }));
    this.#leave();
  }

  #finalWrite(bytes) {
    this.#socket.resume(); // so that the end of the other side is seen
    this.#socket.end(bytes ?? undefined);
    setTimeout(() => this.#socket.destroy(), 2000).unref();
  }

  #leave() {
    if (this.gone) return;
    this.gone = true;
    this.#inbox = [];
    this.#inboxBytes = 0;
    this.#calm();
    this.#unstall();
    const { turns, sessions } = this.#gateway;
    sessions.delete(this.id);
    turns.withdraw(this);
    if (this.#turn) {
      if (!this.#busyWith) this.#abandon();
    } else if (this.#open) {
      // Not as `this`: a turn for cleaning up is not in the name of the client.
      const cleaner = { name: `cleaning up after ${this.name}`, activity: 'cleaning up' };
      this.#hold = cleaner;
      turns.request(cleaner, () => this.#clean(), { first: true });
    }
  }

  /** Ends whatever state the backend is in for this client: COPY, extended query, transaction. */
  async #abandon() {
    const { link } = this.#gateway;
    this.#hold ??= this;
    try {
      // Right in every state. CopyFail is dropped outside COPY. A Sync alone would commit what an
      // extended sequence has done so far, so a message that must fail comes before it.
      const fails = message('E', `${this.prefix}the client has disconnected`, int32(0));
      const end = [copyFail('the client has disconnected'), fails, sync(), query('ROLLBACK')];
      await link.finish(this.#turn, end);
      await this.#clean();
    } catch (error) {
      if (!(error instanceof BackendGone)) throw error;
    }
  }

  /** Removes what is only this client's, then passes the turn on. */
  async #clean() {
    const { link, state, turns } = this.#gateway;
    this.#hold ??= this;
    link.calm();
    try {
      const known = [...this.statements].filter(([, { lost }]) => !lost);
      if (known.length) {
        const names = known.map(([name]) => databaseName(this.prefix, name));
        await link.exchange([...names.map(closeStatement), sync()]);
      }
      if (this.#changed) await state.take(this);
      await state.leave(this);
      if (this.channels.size) await this.#gateway.listenToAll();
    } catch (error) {
      if (error instanceof BackendGone) return;
      if (!(error instanceof QueryFailed)) throw error;
      this.#gateway.log('error', 'cleaning up after a client failed', { reason: error.message });
    }
    this.#turn = 0;
    turns.release(this.#hold);
  }

  /** The backend is a new one: nothing of this client is in it, and it has no turn. */
  backendReplaced() {
    for (const known of this.statements.values()) known.lost = true;
    this.owned.clear();
    this.#pending = [];
    this.#changed = false;
    this.#turn = 0;
    this.#unit = null;
    this.#busyWith = null;
    this.#status = 'I';
  }
}
