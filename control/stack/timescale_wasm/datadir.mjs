// The data directory: who may open it, and whether it is complete.
//
//   DIR/gateway.lock  the process that has the directory open: {pid, started}
//   DIR/ready.json    written once initdb and the database are complete: {database, user}
//   DIR/pgdata        PostgreSQL's own directory
//
// PostgreSQL's own postmaster.pid protects nothing here: inside WASM every process has the id 42.
// Two gateways on one directory would destroy it.
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The gateway cannot start; the message is for a person. */
export class StartError extends Error {}

/** When a process began, in the kernel's ticks, or '' where that cannot be known. */
function startOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return '';
  }
}

/** Whether the process that wrote a lock still runs; a reused pid has another start. */
function alive({ pid, started }) {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (error.code !== 'EPERM') return false;
  }
  const now = startOf(pid);
  return !started || !now || started === now;
}

function parse(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {}; // cut short by a crash: nobody's
  }
}

const read = (path) => {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return null;
    throw error;
  }
};

export class DataDirectory {
  #dir;
  #lock;
  #own = false;

  constructor(dir) {
    this.#dir = dir;
    this.#lock = join(dir, 'gateway.lock');
  }

  get pgdata() {
    return join(this.#dir, 'pgdata');
  }

  /** Takes the directory for this process. Returns what a dead one left in its lock, if any. */
  acquire() {
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
    const mine = join(this.#dir, `.gateway.lock.${process.pid}`);
    writeFileSync(mine, JSON.stringify({ pid: process.pid, started: startOf(process.pid) }));
    let stale = null;
    try {
      for (let attempt = 0; attempt < 5; attempt++) {
        try {
          linkSync(mine, this.#lock); // appears whole or not at all
          this.#own = true;
          return stale;
        } catch (error) {
          if (error.code !== 'EEXIST') throw error;
        }
        const found = read(this.#lock);
        if (found === null) continue;
        const holder = parse(found);
        if (alive(holder)) {
          throw new StartError(
            `the data directory ${this.#dir} is in use by the gateway with pid ${holder.pid}: ` +
              'stop it first, or give another --data',
          );
        }
        this.#clear(found);
        stale = holder;
      }
      throw new StartError(`the lock ${this.#lock} cannot be taken: others start here as well`);
    } finally {
      rmSync(mine, { force: true });
    }
  }

  /** Removes a dead gateway's lock, unless another one has replaced it in the meantime. */
  #clear(found) {
    const aside = `${this.#lock}.${process.pid}`;
    try {
      renameSync(this.#lock, aside);
    } catch (error) {
      if (error.code === 'ENOENT') return;
      throw error;
    }
    if (read(aside) !== found) linkSync(aside, this.#lock);
    rmSync(aside, { force: true });
  }

  /**
   * Whether the database still has to be set up. A directory that was begun and never finished (a
   * kill during initdb) can never be opened: it holds nothing yet and is begun again.
   */
  needsSetUp(database, user) {
    const done = read(join(this.#dir, 'ready.json'));
    if (done === null) {
      rmSync(this.pgdata, { recursive: true, force: true });
      return true;
    }
    const made = parse(done);
    return made.database !== database || made.user !== user;
  }

  /** Marks the directory as complete. */
  complete(database, user) {
    const path = join(this.#dir, 'ready.json');
    writeFileSync(`${path}.new`, JSON.stringify({ database, user }));
    renameSync(`${path}.new`, path);
  }

  release() {
    if (this.#own) rmSync(this.#lock, { force: true });
    this.#own = false;
  }
}
