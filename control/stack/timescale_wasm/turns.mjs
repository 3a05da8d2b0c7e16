// One backend runs one transaction at a time. This queue says whose: first come, first served, and
// nobody waits for ever.

export class Turns {
  #waiting = []; // {who, since, timer, granted}
  #current = null; // {who, turn, since}
  #count = 0;
  #blocked = true; // until the database is open

  /** The one who has the turn: {who, turn, since}, or null. */
  get current() {
    return this.#current;
  }

  get length() {
    return this.#waiting.length;
  }

  isWaiting(who) {
    return this.#waiting.some((entry) => entry.who === who);
  }

  /**
   * Asks for the turn; `granted(turn)` is called once it has come. Work of the gateway itself goes
   * `first`: it is short and the state that it tidies up must not reach the next client.
   */
  request(who, granted, { first = false, milliseconds = 0, late } = {}) {
    const entry = { who, granted, since: Date.now() };
    if (milliseconds) {
      entry.timer = setTimeout(() => {
        this.withdraw(who);
        late();
      }, milliseconds);
    }
    if (first) this.#waiting.unshift(entry);
    else this.#waiting.push(entry);
    this.#next();
  }

  /** Leaves the queue; true if it was in it. */
  withdraw(who) {
    const at = this.#waiting.findIndex((entry) => entry.who === who);
    if (at < 0) return false;
    clearTimeout(this.#waiting[at].timer);
    this.#waiting.splice(at, 1);
    return true;
  }

  /** Gives the turn back. Ignored from one who no longer has it, as after a restart. */
  release(who) {
    if (this.#current?.who !== who) return;
    this.#current = null;
    this.#next();
  }

  /** Takes the turn from its holder and gives it to nobody until `unblock`. */
  block() {
    this.#blocked = true;
    this.#current = null;
  }

  unblock() {
    this.#blocked = false;
    this.#next();
  }

  #next() {
    if (this.#blocked || this.#current || !this.#waiting.length) return;
    const { who, granted, timer } = this.#waiting.shift();
    clearTimeout(timer);
    this.#count = (this.#count % 0x7fffffff) + 1; // fits the control word, never 0
    this.#current = { who, turn: this.#count, since: Date.now() };
    granted(this.#count);
  }
}
