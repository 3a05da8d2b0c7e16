// One client: what it has sent, whether it has the turn, and what belongs to it in the backend.
import { randomInt } from 'node:crypto';
import {
  BackendScanner, ProtocolError, copyFail, cstring, fields, message, ready, report,
} from './protocol.mjs';
import { CANCELED, idledTooLong, waitedTooLong } from './complaints.mjs';
import { removeTraces, rollBack, unlessGone } from './farewell.mjs';
import { COPYING, END_OF_UNIT, Inbox } from './inbox.mjs';
import { BackendGone, QueryFailed } from './link.mjs';
import { Listening, listenToAll, notify } from './listening.mjs';
import { Patience } from './patience.mjs';
import { Told, changes } from './settings.mjs';
import { answerStartup } from './startup.mjs';
import { Statements } from './statements.mjs';

// Stop reading from the socket above this, go on below a quarter of it.
const HIGH = 8 * 1024 * 1024;

// The build says this as a WARNING whenever a transaction is rolled back.
const DEBUG_NOTICE = /^# \d+: aborting transaction/;

export class Session {
  #gateway;
  #socket;
  #inbox = new Inbox();
  #scanner = new BackendScanner();
  #statements;
  #listening = new Listening();
  #patience;
  #open = false; // the startup is done
  #deaf = false; // the socket is closed
  #skipping = false; // an error was answered: everything up to Sync is ignored
  #turn = 0; // not 0: has the turn
  #asking = false; // the gateway's own work at the edge of the turn is under way
  #unit = null; // messages up to the next ReadyForQuery: {extended, ended, copy}
  #status = 'I';
  #greeted = false; // the settings of the startup packet are in force
  #changed = false; // the session state may have changed in this turn
  #told = new Told();
  #departing = null; // in whose name the turn for cleaning up is held

  gone = false; // the session is over
  settings = new Map(); // what this client has SET
  owned = new Set(); // what this client has made: 'table x', 'cursor x' ...

  constructor(gateway, socket, id) {
    this.#gateway = gateway;
    this.#socket = socket;
    this.id = id;
    this.secret = randomInt(1, 0x7fffffff);
    this.name = `client ${id} (${socket.remoteAddress}:${socket.remotePort})`;
    this.#statements = new Statements(gateway.link, `c${id}.`);
    this.#patience = new Patience(gateway.options.transactionTimeout, {
      idle: () => this.#idleTooLong(),
      stalled: () => this.#readsTooLittle(),
    });
    socket.setNoDelay(true);
    socket.on('data', (chunk) => this.#guard(() => this.#receive(chunk)));
    socket.on('drain', () => this.#patience.flowing());
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', () => {
      // One that has said goodbye meant all that it sent before: that is still done.
      this.#deaf = true;
      if (!this.#inbox.saidGoodbye) this.#leave();
    });
  }

  get channels() {
    return this.#listening.channels;
  }

  /** What it does with the turn, in words. */
  get activity() {
    if (this.#unit?.copy) return 'in COPY FROM STDIN';
    if (this.#gateway.link.busy) return 'running a statement';
    if (this.#status !== 'I') return 'idle in a transaction';
    return this.#unit ? 'between Parse and Sync' : 'idle';
  }

  /** What breaks the protocol ends this session; the gateway goes on. */
  #guard(action) {
    try {
      action();
    } catch (error) {
      if (error instanceof ProtocolError) this.fatal(error.code, error.message);
      else if (!(error instanceof BackendGone)) throw error; // `Gateway.restart` sees to that
    }
  }

  #receive(chunk) {
    if (this.gone) return;
    this.#inbox.receive(chunk, (packet) => this.#start(packet));
    if (this.gone) return;
    this.#pump();
    this.throttle();
  }

  #start(packet) {
    const settings = answerStartup(this, packet, this.#gateway);
    if (settings === 'again') return false;
    if (!settings) {
      this.#hangUp(null);
      this.#leave();
      return null;
    }
    this.settings = settings;
    this.#open = true;
    return true;
  }

  write(bytes) {
    if (!this.gone && !this.#deaf) this.#socket.write(bytes);
  }

  /** Reads from the socket only as fast as the database takes it. */
  throttle() {
    if (this.gone) return;
    const load = this.#inbox.bytes + (this.#turn ? this.#gateway.link.inFlight : 0);
    if (load > HIGH) this.#socket.pause();
    else if (load < HIGH / 4 && this.#socket.isPaused()) this.#socket.resume();
  }

  /** Does whatever can be done now with the messages that have come. */
  #pump() {
    if (this.#asking) return;
    if (!this.#unit) this.#answerWithoutTurn();
    if (this.gone || !this.#inbox.next) return;
    const { turns, options } = this.#gateway;
    if (this.#turn) this.#feed();
    else if (this.#inbox.wantsTurn && !turns.isWaiting(this)) {
      turns.request(this, (turn) => this.#granted(turn), {
        milliseconds: options.queueTimeout * 1000,
        late: () => this.#refuse(waitedTooLong(this.#gateway)),
      });
    }
  }

  /** Between two units: what needs no database to be answered. */
  #answerWithoutTurn() {
    for (let type; (type = this.#inbox.next) && !this.gone; ) {
      if (type === 'X') {
        this.#inbox.take();
        this.#socket.end();
        this.#leave();
      } else if (this.#skipping) {
        this.#inbox.take();
        if (type !== 'S') continue;
        this.#skipping = false;
        this.write(ready('I'));
      } else if (COPYING.has(type)) {
        this.#inbox.take(); // the COPY has failed; the client learns that only now
      } else if (!this.#turn && (type === 'S' || type === 'H')) {
        this.#inbox.take();
        if (type === 'S') this.write(ready('I'));
      } else return;
    }
  }

  // --- the turn -------------------------------------------------------------------------------

  /**
   * The gateway's own questions at the edge of a turn; nothing of the client runs meanwhile.
   * Returns whether the session can go on with its turn.
   */
  async #ask(questions) {
    this.#asking = true;
    const turn = this.#turn;
    try {
      await questions();
    } catch (error) {
      if (error instanceof BackendGone) return false; // `Gateway.restart` has seen to this session
      if (!(error instanceof QueryFailed)) throw error;
      if (this.#turn !== turn) return false;
      this.#asking = false;
      this.fatal(error.code, error.message);
      return false;
    }
    if (this.#turn !== turn) return false;
    this.#asking = false;
    if (this.gone) this.#abandon();
    return !this.gone;
  }

  async #granted(turn) {
    this.#turn = turn;
    const { state } = this.#gateway;
    if (state.differs(this)) {
      const goOn = await this.#ask(async () => {
        await state.apply(this);
        if (!this.#greeted) await this.#told.tell(this, state);
      });
      if (!goOn) return;
    }
    this.#greeted = true;
    this.#guard(() => this.#pump());
    // Everything that was waiting has been answered or dropped without the database.
    if (this.#turn && !this.#unit && !this.#asking && !this.gone) this.#endTurn();
  }

  /** Passes on what belongs to the unit that is being run, or begins the next one. */
  #feed() {
    const { link } = this.#gateway;
    let buffers = [];
    const flush = () => {
      if (buffers.length) link.feed(this.#turn, buffers);
      buffers = [];
    };
    for (let type; (type = this.#inbox.next); ) {
      const unit = this.#unit;
      if (unit?.ended) {
        // Only what a COPY needs may overtake ReadyForQuery. In extended COPY the first Sync was
        // swallowed by the COPY itself, so the one after CopyDone must go along as well.
        const more = unit.extended && unit.copy && (type === 'S' || type === 'H');
        if (!COPYING.has(type) && !more) break;
      } else if (type === 'X' || (!unit && COPYING.has(type))) {
        flush();
        this.#answerWithoutTurn();
        if (this.gone) return;
        continue;
      } else {
        this.#unit ??= { extended: type !== 'Q' && type !== 'F', ended: false, copy: false };
        if (END_OF_UNIT.has(type)) this.#unit.ended = true;
      }
      const { sql, hint, prime, bytes } = this.#statements.translate(type, this.#inbox.take());
      if (sql !== undefined) {
        this.#gateway.state.watch(sql);
        this.#listening.watch(sql);
      }
      if (hint) this.#changed = true;
      if (prime) {
        flush();
        link.prime(this.#turn, [prime]);
      }
      buffers.push(bytes);
    }
    flush();
    this.#patience.calm();
    this.settled();
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
        this.#patience.read();
        link.consumed(bytes.length);
      });
      if (!flowing) this.#patience.stall();
    }
    if (status && !this.gone) this.#guard(() => this.#ready(status));
  }

  /** Looks at an answer on its way; false keeps it from the client. */
  #observe(type, body) {
    if (type === '1' || type === '3') this.#statements.completed();
    else if (type === 'E') this.#statements.failed();
    else if (type === 'G' && this.#unit) this.#unit.copy = true;
    else if (type === 'N') return !DEBUG_NOTICE.test(fields(body).M);
    else if (type === 'A') {
      notify(this.#gateway.sessions, this, body);
      return false;
    } else if (type === 'C') {
      const [tag] = cstring(body);
      if (changes(tag)) this.#changed = this.#told.stale = true;
      this.#listening.tagged(tag);
      if (tag === 'DEALLOCATE ALL' || tag === 'DISCARD ALL') {
        this.#statements.clear();
        this.#gateway.statementsLost(this);
      }
    }
    return true;
  }

  /** Whether ReadyForQuery has to wait until the gateway has looked at the session state. */
  #unsettled(status) {
    if (status === 'I') return this.#changed || this.#listening.changed;
    return status === 'T' && this.#told.stale;
  }

  /** The database waits for the next message of this client. */
  #ready(status) {
    const held = this.#unsettled(status);
    this.#gateway.link.calm();
    this.#status = status;
    this.#unit = null;
    this.#statements.over();
    if (status === 'I') this.#endTurn(held);
    else if (held) this.#tellWithin();
    else this.#pump();
    this.throttle();
  }

  /** Within a transaction: tells what SET has changed, then lets the client go on. */
  async #tellWithin() {
    if (!(await this.#ask(() => this.#told.tell(this, this.#gateway.state)))) return;
    this.write(ready(this.#status));
    this.#guard(() => this.#pump());
    this.settled();
  }

  async #endTurn(held = false) {
    const { link, sessions, state, turns } = this.#gateway;
    this.#patience.calm();
    if (this.#changed || this.#listening.changed) {
      const goOn = await this.#ask(async () => {
        if (this.#listening.changed) {
          this.#listening.settle();
          await listenToAll(link, sessions);
        }
        if (!this.#changed) return;
        await state.take(this);
        await this.#told.tell(this, state);
        this.#changed = false;
      });
      if (!goOn) return;
    }
    if (held) this.write(ready('I'));
    this.#listening.forget();
    this.#turn = 0;
    turns.release(this);
    this.#guard(() => this.#pump());
  }

  // --- limits ---------------------------------------------------------------------------------

  /** The database has nothing to do; if it is this client's move, it must come in time. */
  settled() {
    if (!this.#turn || this.#asking || this.gone) return;
    if (!this.#gateway.link.busy) this.#patience.wait();
  }

  #idleTooLong() {
    const { log, options } = this.#gateway;
    const { activity } = this;
    log('warning', 'a client kept the turn without using it', { client: this.name, activity });
    this.fatal(...idledTooLong(activity, options));
  }

  #readsTooLittle() {
    if (!this.#turn || !this.#gateway.link.busy) return;
    this.#gateway.log('warning', 'a client does not read its result', { client: this.name });
    this.#socket.destroy();
  }

  /** Answers the first waiting unit with an error; the connection stays usable. */
  #refuse(error) {
    this.write(error);
    if (END_OF_UNIT.has(this.#inbox.next)) {
      this.#inbox.take();
      this.write(ready('I'));
    } else this.#skipping = true;
    this.#guard(() => this.#pump());
    this.throttle();
  }

  /** A CancelRequest for this client. */
  cancel() {
    const { turns, link } = this.#gateway;
    if (turns.withdraw(this)) return this.#refuse(report('ERROR', '57014', CANCELED));
    const unit = this.#unit;
    if (!this.#turn || !unit) return undefined; // nothing runs: ignored, as PostgreSQL does
    if (!link.busy) return unit.copy ? link.feed(this.#turn, [copyFail(CANCELED)]) : undefined;
    link.cancel(this.#turn);
    return this.#gateway.insist(() => this.#unit === unit && !this.gone, this);
  }

  // --- the end --------------------------------------------------------------------------------

  /** Says why and hangs up; whatever was open is rolled back. */
  fatal(code, text, hint) {
    if (this.gone) return;
    this.#hangUp(report('FATAL', code, text, { hint }));
    this.#leave();
  }

  #hangUp(last) {
    this.#socket.resume(); // so that the end of the other side is seen
    this.#socket.end(last ?? undefined);
    setTimeout(() => this.#socket.destroy(), 2000).unref();
  }

  #leave() {
    if (this.gone) return;
    this.gone = true;
    this.#inbox.clear();
    this.#patience.end();
    const { turns, sessions } = this.#gateway;
    sessions.delete(this.id);
    turns.withdraw(this);
    if (this.#turn) {
      this.#departing = this;
      if (!this.#asking) this.#abandon(); // else when the answer is there
    } else if (this.#open) {
      // Not in the client's name: the messages about waiting should not blame it.
      this.#departing = { name: `cleaning up after ${this.name}`, activity: 'cleaning up' };
      turns.request(this.#departing, (turn) => this.#clean(turn), { first: true });
    }
  }

  async #abandon() {
    const turn = this.#turn;
    if (await unlessGone(() => rollBack(this.#gateway.link, turn))) await this.#clean(turn);
  }

  /** The last thing: then the turn passes on. */
  async #clean(turn) {
    this.#turn = turn;
    const step = () => removeTraces(this.#gateway, this, this.#statements, this.#changed);
    if (!(await unlessGone(step))) return;
    this.#turn = 0;
    this.#gateway.turns.release(this.#departing);
  }

  /** Another client has removed everybody's prepared statements. */
  loseStatements() {
    this.#statements.lose();
  }

  /** The backend is a new one: nothing of this client is in it, and it has no turn. */
  backendReplaced() {
    this.#statements.lose();
    this.#scanner = new BackendScanner();
    this.owned.clear();
    this.#changed = false;
    this.#turn = 0;
    this.#unit = null;
    this.#asking = false;
    this.#status = 'I';
  }
}
