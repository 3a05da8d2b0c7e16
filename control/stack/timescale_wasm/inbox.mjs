// The messages of one client that have come and have not been passed on.
import { FrontendReader, ProtocolError } from './protocol.mjs';

/** ReadyForQuery follows these. */
export const END_OF_UNIT = new Set(['Q', 'S', 'F']);
/** What a client sends while it is in COPY FROM STDIN. */
export const COPYING = new Set(['d', 'c', 'f']);
const KNOWN = new Set([...'QPBDECSHFXdcf']);

// A client asks for the turn when there is something to answer (Sync, Flush, Query) or when this
// much is waiting. Until then nobody can see that its messages have not been run.
const ASK_ANYWAY = 1024 * 1024;

export class Inbox {
  #reader = new FrontendReader();
  #frames = [];
  bytes = 0;

  /**
   * Takes what the socket brought. Before the session is open every packet goes to `start`, which
   * returns true once the session is open and null when the connection is over.
   */
  receive(chunk, start) {
    this.#reader.push(chunk);
    for (let frame; (frame = this.#reader.next()); ) {
      if (!this.#reader.started) {
        const opened = start(frame.bytes);
        if (opened === null) return;
        this.#reader.started = opened;
        continue;
      }
      if (!KNOWN.has(frame.type)) {
        throw new ProtocolError(`a message of the unknown type "${frame.type}" was sent`);
      }
      this.#frames.push(frame);
      this.bytes += frame.bytes.length;
    }
  }

  /** The type of the next message, or undefined. */
  get next() {
    return this.#frames[0]?.type;
  }

  /** Whether the client has said that it is leaving. */
  get saidGoodbye() {
    return this.#frames.some(({ type }) => type === 'X');
  }

  /** Whether there is something that only the database can answer now. */
  get wantsTurn() {
    if (this.bytes >= ASK_ANYWAY) return true;
    return this.#frames.some(({ type }) => END_OF_UNIT.has(type) || type === 'H');
  }

  take() {
    const { bytes } = this.#frames.shift();
    this.bytes -= bytes.length;
    return bytes;
  }

  clear() {
    this.#frames = [];
    this.bytes = 0;
  }
}
