// The main thread's end of the line to the database thread: numbers what it sends, knows whether
// the database is working or waiting, and starts the thread again when it has died.
import { MessageChannel, Worker } from 'node:worker_threads';
import { dataRow, fields, messages, query } from './protocol.mjs';

// Words of the shared control block. The database thread blocks, so it cannot get events: it sleeps
// on WAKE and OUTSTANDING and looks at CANCEL, which holds the turn to be cancelled.
export const WAKE = 0;
export const CANCEL = 1;
export const OUTSTANDING = 2;

// Result bytes that the clients have not taken yet. Up to this a result is taken over at once, so
// that the turn passes on while a slow client still reads; beyond it the database waits.
export const OUTSTANDING_LIMIT = 32 * 1024 * 1024;

/** The database thread ended, on purpose or not; what was under way is lost. */
export class BackendGone extends Error {}

/** The database answered a question of the gateway itself with an error. */
export class QueryFailed extends Error {
  constructor(found) {
    super(found.M ?? 'unknown error');
    this.code = found.C;
  }
}

export class Link {
  #options;
  #events;
  #worker = null;
  #port = null;
  #control = null;
  #sent = 0;
  #settled = 0;
  #waiting = new Map(); // seq -> {resolve, reject, answer: whether the answer is wanted}
  unnamedOwner = null; // whose unnamed prepared statement the backend has
  inFlight = 0; // bytes sent that the database has not begun to read

  /** events: out(turn, bytes), settled(), taken(), died(reason), printed(text). */
  constructor(options, events) {
    this.#options = options;
    this.#events = events;
  }

  /** Whether the database is at work, as opposed to waiting for the next message. */
  get busy() {
    return this.#settled < this.#sent;
  }

  /** Creates the database and its user in an empty data directory. */
  setUp() {
    return this.#start('setup');
  }

  /** Opens the database; gives its parameters, version and the time that it took. */
  open() {
    return this.#start('serve');
  }

  #start(mode) {
    const control = new Int32Array(new SharedArrayBuffer(12));
    const { port1, port2 } = new MessageChannel();
    const worker = new Worker(new URL('./backend.mjs', import.meta.url), {
      workerData: { ...this.#options, mode, control, port: port2 },
      transferList: [port2],
      stdout: true,
      stderr: true,
    });
    this.#worker = worker;
    this.#control = control;
    this.#port = port1;
    this.#sent = this.#settled = this.inFlight = 0;
    this.unnamedOwner = null;
    for (const stream of [worker.stdout, worker.stderr]) {
      stream.on('data', (text) => this.#events.printed(String(text).trim()));
    }
    return new Promise((resolve, reject) => {
      let opened = false;
      let failure = null;
      worker.on('message', (news) => {
        if (worker !== this.#worker) return;
        if (news.kind === 'open') {
          opened = true;
          resolve(news);
        } else this.#hear(news);
      });
      worker.on('error', (error) => {
        failure = error;
      });
      worker.on('exit', (code) => {
        port1.close();
        if (mode === 'setup' && !failure && code === 0) resolve();
        const reason = failure?.message ?? `the database thread ended with code ${code}`;
        if (!opened) reject(new BackendGone(reason));
        if (worker !== this.#worker) return; // ended by us
        this.#worker = null;
        this.#forsake(reason);
        if (opened) this.#events.died(reason);
      });
    });
  }

  #hear(news) {
    if (news.kind === 'out') this.#events.out(news.turn, Buffer.from(news.bytes.buffer));
    else if (news.kind === 'taken') {
      this.inFlight -= news.bytes;
      this.#events.taken();
    } else {
      this.#settled = news.seq;
      for (const [seq, { resolve, answer }] of this.#waiting) {
        if (seq > news.seq || (answer && news.kind !== 'done')) continue;
        this.#waiting.delete(seq);
        resolve(news.answer);
      }
      if (!this.busy) this.#events.settled();
    }
  }

  #forsake(reason) {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(new BackendGone(reason));
  }

  #send(post, buffers) {
    if (!this.#worker) throw new BackendGone('the database is not open');
    const length = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
    const bytes = new Uint8Array(length); // memory of its own: posting a view would copy its pool
    let at = 0;
    for (const buffer of buffers) {
      bytes.set(buffer, at);
      at += buffer.length;
    }
    this.#sent += 1;
    this.inFlight += length;
    this.#port.postMessage({ ...post, seq: this.#sent, bytes }, [bytes.buffer]);
    Atomics.add(this.#control, WAKE, 1);
    Atomics.notify(this.#control, WAKE);
    return this.#sent;
  }

  /** Messages of a client; the answer comes through the event `out`. */
  feed(turn, buffers) {
    this.#send({ mode: 'feed', turn }, buffers);
  }

  /** Messages whose answer the client must not see unless it is an error. */
  prime(turn, buffers) {
    this.#send({ mode: 'prime', turn }, buffers);
  }

  /** Like feed, but resolves as soon as the database has worked it off. */
  finish(turn, buffers) {
    const seq = this.#send({ mode: 'feed', turn }, buffers);
    return new Promise((resolve, reject) => {
      this.#waiting.set(seq, { resolve, reject, answer: false });
    });
  }

  /** The whole answer to messages of the gateway itself, as bytes. */
  exchange(buffers) {
    const seq = this.#send({ mode: 'ask', turn: 0 }, buffers);
    return new Promise((resolve, reject) => {
      this.#waiting.set(seq, { resolve, reject, answer: true });
    });
  }

  /** The rows of a question of the gateway itself, as lists of texts. */
  async ask(sql) {
    this.unnamedOwner = null; // a simple query drops the unnamed statement
    const rows = [];
    let failed = null;
    for (const { type, body } of messages(await this.exchange([query(sql)]))) {
      if (type === 'D') rows.push(dataRow(body));
      if (type === 'E') failed ??= new QueryFailed(fields(body));
    }
    if (failed) throw failed;
    return rows;
  }

  /**
   * Asks the statement of this turn to stop. It does at its next look at a clock or a file or at
   * the next piece of result; one that only computes does not, and then only `kill` helps.
   */
  cancel(turn) {
    Atomics.store(this.#control, CANCEL, turn);
    Atomics.notify(this.#control, OUTSTANDING);
  }

  /** Forgets a request to cancel: the statement it was meant for is over. */
  calm() {
    if (this.#control[CANCEL]) Atomics.store(this.#control, CANCEL, 0);
  }

  /** Result bytes have left for their client, or were thrown away. */
  consumed(bytes) {
    Atomics.sub(this.#control, OUTSTANDING, bytes);
    Atomics.notify(this.#control, OUTSTANDING);
  }

  /** Ends the thread in the middle of whatever it does; the log brings the data back. */
  async kill(reason) {
    const worker = this.#worker;
    this.#worker = null;
    this.#forsake(reason);
    await worker?.terminate();
  }

  /** Checkpoint and end; a database that does not get there in time is killed. */
  async close(milliseconds) {
    const worker = this.#worker;
    if (!worker) return true;
    const ended = new Promise((resolve) => worker.once('exit', () => resolve(true)));
    this.#worker = null;
    this.#port.postMessage({ mode: 'close' });
    Atomics.add(this.#control, WAKE, 1);
    Atomics.notify(this.#control, WAKE);
    let timer;
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, milliseconds, false);
    });
    const clean = await Promise.race([ended, late]);
    clearTimeout(timer);
    if (!clean) await worker.terminate();
    return clean;
  }
}
