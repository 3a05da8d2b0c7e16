// LISTEN and NOTIFY: the one backend listens to whatever any client listens to, and the gateway
// passes each notification on to those who asked for its channel.
import { cstring, message } from './protocol.mjs';

const LISTEN = /\b(un)?listen\s+(\*|"(?:[^"]|"")+"|[\w$\u0080-\uffff]+)/gi;
const SCANNED = 16 * 1024;

const channelName = (text) =>
  text[0] === '"' ? text.slice(1, -1).replaceAll('""', '"') : text.toLowerCase();
const quoted = (channel) => `"${channel.replaceAll('"', '""')}"`;

export class Listening {
  #channels = new Set();
  #heard = []; // LISTEN and UNLISTEN of this turn, to be believed when a tag confirms one
  #confirmed = false;
  #dropped = false;

  get channels() {
    return this.#channels;
  }

  /** Whether what the backend listens to has to be looked at. */
  get changed() {
    return this.#confirmed || this.#dropped;
  }

  watch(sql) {
    for (const found of sql.slice(0, SCANNED).matchAll(LISTEN)) {
      this.#heard.push({ stop: Boolean(found[1]), channel: channelName(found[2]) });
    }
  }

  tagged(tag) {
    if (tag === 'LISTEN' || tag === 'UNLISTEN') this.#confirmed = true;
    if (tag === 'DISCARD ALL') this.#dropped = true;
  }

  /** The turn is over: notes what the client listens to from now on. */
  settle() {
    if (this.#dropped) this.#channels.clear();
    for (const { stop, channel } of this.#confirmed ? this.#heard : []) {
      if (!stop) this.#channels.add(channel);
      else if (channel === '*') this.#channels.clear();
      else this.#channels.delete(channel);
    }
    this.forget();
  }

  forget() {
    this.#heard = [];
    this.#confirmed = this.#dropped = false;
  }
}

/** Makes the backend listen to what its clients do: one may have stopped for all of them. */
export async function listenToAll(link, sessions) {
  const wanted = new Set([...sessions.values()].flatMap(({ channels }) => [...channels]));
  const now = new Set((await link.ask('SELECT pg_listening_channels()')).flat());
  const steps = [];
  for (const channel of wanted) if (!now.has(channel)) steps.push(`LISTEN ${quoted(channel)}`);
  for (const channel of now) if (!wanted.has(channel)) steps.push(`UNLISTEN ${quoted(channel)}`);
  if (steps.length) await link.ask(steps.join('; '));
}

/** Passes a notification on, with the sender's number as its clients know it. */
export function notify(sessions, sender, body) {
  const [channel] = cstring(body, 4);
  const told = Buffer.from(body);
  told.writeInt32BE(sender.id, 0);
  for (const session of sessions.values()) {
    if (session.channels.has(channel)) session.write(message('A', told));
  }
}
