// The beginning of a session: encryption requests, CancelRequest and the startup packet.
import {
  CANCEL_REQUEST, GSSENC_REQUEST, ProtocolError, SSL_REQUEST, greeting, int32, message,
  optionSettings, report, startup,
} from './protocol.mjs';

const NOT_SETTINGS = new Set(['user', 'database', 'options', 'replication']);
const SETTING = /^[a-z_][\w.]*$/i;

/** The settings a startup packet asks for, without those that hold anyway. */
function wanted(parameters, present) {
  const settings = new Map();
  const given = { ...optionSettings(parameters.options ?? ''), ...parameters };
  for (const [name, value] of Object.entries(given)) {
    if (NOT_SETTINGS.has(name) || name.startsWith('_pq_.')) continue;
    if (!SETTING.test(name)) {
      throw new ProtocolError(`"${name}" at startup is not the name of a setting`, '22023');
    }
    if (present.get(name.toLowerCase()) === value.toLowerCase()) continue;
    settings.set(name, value);
  }
  return settings;
}

/**
 * Answers one packet of the startup phase. Returns the client's settings once it is in, 'again'
 * when another packet follows, and null when the connection is to be closed.
 *
 * Any user and database name is let in, without a password: there is one backend, which is
 * connected to one database as one superuser, and it listens on the loopback address only.
 */
export function answerStartup(session, bytes, gateway) {
  const { code, minor, parameters } = startup(bytes);
  if (code === SSL_REQUEST || code === GSSENC_REQUEST) {
    session.write(Buffer.from('N'));
    return 'again';
  }
  if (code === CANCEL_REQUEST) {
    if (bytes.length === 16) gateway.cancel(bytes.readInt32BE(8), bytes.readInt32BE(12));
    return null;
  }
  const refuse = (sqlstate, text) => {
    session.write(report('FATAL', sqlstate, text));
    return null;
  };
  if (code >> 16 !== 3) {
    return refuse('0A000', `protocol ${code >> 16}.${code & 0xffff} is not spoken here, only 3.0`);
  }
  if (gateway.stopping) return refuse('57P03', 'the database system is shutting down');
  if (!gateway.parameters) return refuse('57P03', 'the database system is starting up');
  if (parameters.replication && !/^(false|off|no|0)$/i.test(parameters.replication)) {
    return refuse('0A000', 'replication is not possible with this server');
  }
  const lower = (entry) => entry.map((text) => text.toLowerCase());
  const settings = wanted(parameters, new Map(Object.entries(gateway.parameters).map(lower)));
  const unknown = Object.keys(parameters).filter((name) => name.startsWith('_pq_.'));
  if (minor > 0 || unknown.length) {
    session.write(message('v', int32(0, unknown.length), ...unknown));
  }
  gateway.sessions.set(session.id, session);
  session.write(greeting(gateway.parameters, session.id, session.secret));
  return settings;
}
