// What has to be done in the backend when a client has gone.
import { BackendGone, QueryFailed } from './link.mjs';
import { listenToAll } from './listening.mjs';
import { copyFail, int32, message, query, sync } from './protocol.mjs';

/** Ends whatever the client had open: COPY, an extended sequence, a transaction. */
export function rollBack(link, turn) {
  const why = 'the client has disconnected';
  // Right in every state. CopyFail is dropped outside COPY. A Sync alone would commit what an
  // extended sequence has done so far, so a message that must fail comes before it.
  const fails = message('E', why, int32(0));
  return link.finish(turn, [copyFail(why), fails, sync(), query('ROLLBACK')]);
}

/** Removes what is only this client's. `changed`: its last turn is not in the books yet. */
export async function removeTraces(gateway, session, statements, changed) {
  const { link, log, sessions, state } = gateway;
  link.unnamedOwner = null;
  link.calm();
  try {
    const removal = statements.removal();
    if (removal.length) await link.exchange([...removal, sync()]);
    if (changed) await state.take(session);
    await state.leave(session);
    if (session.channels.size) await listenToAll(link, sessions);
  } catch (error) {
    if (!(error instanceof QueryFailed)) throw error;
    log('error', 'cleaning up after a client failed', { reason: error.message });
  }
}

/** Runs a step of which nothing is left to do if the backend is lost meanwhile. */
export async function unlessGone(step) {
  try {
    await step();
    return true;
  } catch (error) {
    if (error instanceof BackendGone) return false;
    throw error;
  }
}
