// What clients are told about the one backend when it gets in their way.
import { report } from './protocol.mjs';

/** The answer to one that has waited for the turn too long. */
export function waitedTooLong({ turns, options: { queueTimeout } }) {
  const { who, since } = turns.current ?? {};
  const holder = who
    ? `${who.name}, ${who.activity}, has had the backend since ${new Date(since).toISOString()}`
    : 'the database is being opened again';
  return report('ERROR', '55P03', `no turn at the database within ${queueTimeout} s: ${holder}`, {
    hint: 'All clients share one backend and their transactions run one after another. ' +
      `Keep transactions short, or raise --queue-timeout (${queueTimeout} s).`,
  });
}

/** The farewell to one that has kept the turn without using it, as [sqlstate, text, hint]. */
export function idledTooLong(activity, { transactionTimeout }) {
  return [
    '25P03',
    `terminating connection: it was ${activity} for ${transactionTimeout} s`,
    'All clients share one backend, so an idle transaction stops them all. ' +
      `The limit is --transaction-timeout (${transactionTimeout} s).`,
  ];
}

export const CANCELED = 'canceling statement due to user request';
