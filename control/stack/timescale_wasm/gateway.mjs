// A PostgreSQL server whose database is PGlite: PostgreSQL 17 with TimescaleDB, as WASM.
//
//   node gateway.mjs --data DIR --port N [--host 127.0.0.1] [--database sluice] [--user sluice]
//                    [--transaction-timeout 60] [--queue-timeout 60]        (seconds)
//
// There is one backend for all clients. So their transactions run one after another (turns.mjs),
// and what PostgreSQL keeps per session is either exchanged, cleaned up, or shared:
//
//   own to each client   prepared statements of the protocol (names get a prefix; what DEALLOCATE
//                        ALL of another client removed is prepared again), the unnamed statement,
//                        transactions and cursors in them, SET variables and startup settings
//                        (exchanged with the turn), LISTEN
//   removed on leaving   temporary tables, WITH HOLD cursors, SQL-level PREPARE, session advisory
//                        locks; their NAMES are shared while the client is there, so two clients
//                        cannot have a temporary table of one name: use ON COMMIT DROP
//   shared               session advisory locks do not exclude (it is one session: use
//                        pg_advisory_xact_lock or a row), currval(), pg_backend_pid(), DISCARD TEMP
//                        and DISCARD ALL take everybody's temporary tables
//
// There are no background workers: no autovacuum, no TimescaleDB job runs by itself (CALL run_job).
// statement_timeout does nothing: no timer can fire inside WASM. What is committed survives the
// death of the process, not that of the machine: PGlite does not sync what it writes. An error that
// is raised more than 40 function calls deep never ends (cancel it), and CREATE INDEX CONCURRENTLY
// fails: both are faults of the build.
import { createServer } from 'node:net';
import { parseArgs } from 'node:util';
import { CANCELED } from './complaints.mjs';
import { DataDirectory, StartError } from './datadir.mjs';
import { BackendGone, Link } from './link.mjs';
import { listenToAll } from './listening.mjs';
import { Session } from './session.mjs';
import { SessionState } from './settings.mjs';
import { Turns } from './turns.mjs';

// SIGTERM has to be through in 5 s: two for the statement that runs, two for the checkpoint.
const DRAIN_MS = 2000;
const CLOSE_MS = 2000;
// A cancelled statement that only computes never looks at the request: then the thread is ended.
const INSIST_MS = 3000;
// There is no checkpointer either, and the log would grow for ever.
const CHECKPOINT_EVERY_MS = 2000;
const CHECKPOINT_BYTES = 128 * 1024 * 1024;

function log(level, text, more = {}) {
  const line = { time: new Date().toISOString(), level, message: text, ...more };
  process.stdout.write(`${JSON.stringify(line)}\n`);
  if (level === 'error') process.stderr.write(`${text}\n`);
}

class Gateway {
  #count = 0;
  #server = createServer((socket) => this.#accept(socket));
  #restarting = null;
  #failures = 0;
  #moved = false; // something ran since the last look at the size of the log

  options;
  parameters = null; // what clients are told at startup; null until the database is open
  sessions = new Map();
  turns = new Turns();
  stopping = false;
  log = log;

  constructor(options, directory) {
    this.options = options;
    const { database, user } = options;
    this.link = new Link({ pgdata: directory.pgdata, database, user }, {
      out: (turn, bytes) => this.#deliver(turn, bytes),
      settled: () => this.turns.current?.who.settled?.(),
      taken: () => this.turns.current?.who.throttle?.(),
      died: (reason) => this.restart(`the database crashed: ${reason}`),
      printed: (text) => log('info', 'printed by the database', { text }),
    });
    this.state = new SessionState(this.link, this.sessions, user, log);
  }

  /** Listens first, so that a taken port is found out before the database is touched. */
  listen() {
    const { host, port } = this.options;
    return new Promise((resolve, reject) => {
      this.#server.once('error', (error) => {
        const why = {
          EADDRINUSE: `port ${port} on ${host} is already in use: give another --port`,
          EACCES: `port ${port} may not be used by this user: give a --port above 1023`,
          EADDRNOTAVAIL: `${host} is not an address of this machine: give another --host`,
        };
        const otherwise = `cannot listen on ${host}:${port}: ${error.message}`;
        reject(new StartError(why[error.code] ?? otherwise));
      });
      this.#server.listen({ host, port }, resolve);
    });
  }

  async open() {
    const { parameters, timescaledb, interruptible, milliseconds } = await this.link.open();
    this.state.forgetAll();
    await listenToAll(this.link, this.sessions);
    this.parameters = parameters;
    this.state.parameters = parameters;
    this.turns.unblock();
    const { port } = this.#server.address();
    log('info', 'ready for connections', {
      port, server_version: parameters.server_version, timescaledb, milliseconds,
    });
    if (!interruptible) log('warning', 'running statements cannot be interrupted in this build');
  }

  #accept(socket) {
    this.#count += 1;
    new Session(this, socket, this.#count); // kept alive by its socket
  }

  #deliver(turn, bytes) {
    this.#moved = true;
    const current = this.turns.current;
    if (current?.turn === turn && current.who.output) current.who.output(bytes);
    else this.link.consumed(bytes.length);
  }

  /** Another client has thrown away everybody's prepared statements. */
  statementsLost(by) {
    for (const session of this.sessions.values()) {
      if (session !== by) session.loseStatements();
    }
  }

  cancel(id, secret) {
    const session = this.sessions.get(id);
    if (session?.secret === secret) session.cancel();
  }

  /** Sees to it that a cancelled statement ends, if it must be with its thread. */
  insist(running, session) {
    setTimeout(() => {
      if (running() && !this.stopping) {
        this.restart('a cancelled statement could not be interrupted', session);
      }
    }, INSIST_MS).unref();
  }

  /**
   * Opens the database again after a crash, or to get rid of a statement. Who had the turn, and who
   * had something in the backend that cannot be made again, is disconnected; the others go on.
   */
  restart(reason, cancelled = null) {
    if (this.stopping) return this.#restarting;
    this.#restarting ??= this.#reopen(reason, cancelled).finally(() => {
      this.#restarting = null;
    });
    return this.#restarting;
  }

  async #reopen(reason, cancelled) {
    log(cancelled ? 'warning' : 'error', `opening the database again: ${reason}`);
    const holder = this.turns.current?.who;
    this.turns.block();
    await this.link.kill(reason);
    for (const session of [...this.sessions.values()]) {
      const loses = session.owned.size > 0;
      session.backendReplaced();
      if (session === cancelled) {
        session.fatal('57014', `${CANCELED}: it could only be ended together with the connection`);
      } else if (session === holder || loses) {
        session.fatal('57P02', `terminating connection: the database was opened again: ${reason}`);
      }
    }
    for (;;) {
      try {
        await this.open();
        this.#failures = 0;
        return;
      } catch (error) {
        if (!(error instanceof BackendGone)) throw error;
        this.#failures += 1;
        if (this.#failures >= 3) {
          throw new StartError(`the database cannot be opened again: ${error.message}`);
        }
        log('error', `the database could not be opened: ${error.message}`);
      }
    }
  }

  /** Looks at the size of the log now and then, in a turn like any client's. */
  maintain() {
    const keeper = { name: 'the gateway', activity: 'writing a checkpoint' };
    setInterval(() => {
      if (!this.#moved || this.turns.isWaiting(keeper)) return;
      this.#moved = false;
      this.turns.request(keeper, async () => {
        try {
          const [[grown]] = await this.link.ask(
            'SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), redo_lsn) ' +
              'FROM pg_control_checkpoint()',
          );
          if (Number(grown) > CHECKPOINT_BYTES) {
            await this.link.ask('CHECKPOINT');
            log('info', 'checkpoint', { log_bytes: Number(grown) });
          }
        } catch (error) {
          if (!(error instanceof BackendGone)) log('warning', `no checkpoint: ${error.message}`);
        }
        this.turns.release(keeper);
      });
    }, CHECKPOINT_EVERY_MS).unref();
  }

  /** Lets the running statement end, tells the clients, closes the database. */
  async stop() {
    this.stopping = true;
    this.#server.close();
    const deadline = Date.now() + DRAIN_MS;
    while (this.link.busy && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    this.turns.block();
    if (this.link.busy) await this.link.kill('the gateway was stopped');
    for (const session of [...this.sessions.values()]) {
      session.fatal('57P01', 'terminating connection: the gateway is being stopped');
    }
    return this.link.close(CLOSE_MS);
  }
}

function seconds(text, option) {
  const value = Number(text);
  if (!(value > 0 && value <= 86400)) {
    throw new StartError(`--${option} must be a number of seconds up to 86400, not "${text}"`);
  }
  return value;
}

function readOptions() {
  const text = (fallback) => ({ type: 'string', default: fallback });
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        data: text(), port: text(), host: text('127.0.0.1'), database: text('sluice'),
        user: text('sluice'), 'transaction-timeout': text('60'), 'queue-timeout': text('60'),
      },
    }));
  } catch (error) {
    throw new StartError(error.message);
  }
  if (!values.data) throw new StartError('--data DIR is needed: where the database is kept');
  const port = Number(values.port);
  if (!Number.isInteger(port) || port < 0 || port > 65535 || !values.port) {
    throw new StartError('--port N is needed: a number up to 65535 (0 takes any free one)');
  }
  return {
    data: values.data, port, host: values.host, database: values.database, user: values.user,
    transactionTimeout: seconds(values['transaction-timeout'], 'transaction-timeout'),
    queueTimeout: seconds(values['queue-timeout'], 'queue-timeout'),
  };
}

async function main() {
  const options = readOptions();
  const directory = new DataDirectory(options.data);
  const stale = directory.acquire();
  process.on('exit', () => directory.release());
  if (stale) log('warning', 'the last gateway on this directory was not stopped properly', stale);
  const gateway = new Gateway(options, directory);
  let ending = null;
  const end = (signal) => {
    log('info', 'stopping', { signal });
    ending ??= gateway.stop().then((clean) => {
      if (!clean) log('warning', 'the database was not closed: it recovers at the next start');
      log('info', 'stopped');
      process.exit(0);
    });
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  await gateway.listen();
  try {
    if (directory.needsSetUp(options.database, options.user)) {
      log('info', 'creating the database');
      await gateway.link.setUp();
      directory.complete(options.database, options.user);
    }
    await gateway.open();
  } catch (error) {
    if (gateway.stopping) return;
    if (!(error instanceof BackendGone)) throw error;
    throw new StartError(`the database in ${options.data} cannot be opened: ${error.message}`);
  }
  gateway.maintain();
}

/** The edge of the process: whatever gets here ends it, with a line that says why. */
function fail(error) {
  log('error', error.message, error instanceof StartError ? {} : { stack: error.stack });
  process.exit(1);
}

// Nobody reads the log any more: that is no reason to stop.
process.stdout.on('error', () => {});
process.stderr.on('error', () => {});
process.on('uncaughtException', fail);
process.on('unhandledRejection', fail);
await main();
