// How long the others have to put up with one client: when it has the turn and sends nothing, and
// when it has the turn and does not read what it asked for.

export class Patience {
  #milliseconds;
  #events;
  #idle = null;
  #stalled = null;
  #readAt = 0;

  /** events: idle() and stalled(), called when the time is over. */
  constructor(seconds, events) {
    this.#milliseconds = seconds * 1000;
    this.#events = events;
  }

  /** It is the client's move. */
  wait() {
    this.#idle ??= setTimeout(() => {
      this.#idle = null;
      this.#events.idle();
    }, this.#milliseconds);
  }

  /** The client has moved. */
  calm() {
    clearTimeout(this.#idle);
    this.#idle = null;
  }

  /** The client's socket takes no more for the moment. */
  stall() {
    this.#stalled ??= setTimeout(() => {
      this.#stalled = null;
      // Slow is allowed, as long as something was read within the time.
      if (Date.now() - this.#readAt < this.#milliseconds) this.stall();
      else this.#events.stalled();
    }, this.#milliseconds);
  }

  /** The client has read a part of its result. */
  read() {
    this.#readAt = Date.now();
  }

  /** The client has read everything. */
  flowing() {
    clearTimeout(this.#stalled);
    this.#stalled = null;
  }

  end() {
    this.calm();
    this.flowing();
  }
}
