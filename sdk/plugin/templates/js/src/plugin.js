// {{name}}: what happens on its topics. Every hook is a transaction: what it asks for happens when it returns, all of it and in
// order; when it throws, nothing of it does. The WIT in vendor/wit says what there is besides.
import { publish, send } from 'rialto:plugin/messages@1.0.0';
import { get, put } from 'rialto:plugin/state@1.0.0';

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A value as the payload of a message. */
const json = (value) => ({ encoding: 'json', content: encoder.encode(JSON.stringify(value)) });

/** The value of a payload that came as JSON; the client is told when it is something else. */
const parsed = ({ encoding, content }) => {
  if (encoding !== 'json') throw rejected('{{name}} speaks JSON');
  return JSON.parse(decoder.decode(content));
};

/** A "no" for the client: it gets the error code `rejected`. */
const rejected = (reason) => ({ tag: 'rejected', val: { reason, detail: undefined } });

/** How many messages a topic has had. State outlives this instance. */
const count = (topic) => Number(decoder.decode(get(topic) ?? encoder.encode('0')));

export const hooks = {
  /** Called once when an instance starts; `config` is the plugin's table of the broker's configuration, as JSON. */
  start(config, topic) {
    return ['call count'];
  },

  onConnect(session, endpoint) {},

  onDisconnect(session, endpoint) {},

  onMessage(session, endpoint, message) {},

  /** A session wants to subscribe: it is greeted, after the answer and before the first message. */
  onSubscribe(session, topic) {
    send(session.id, json({ type: 'x-hello', topic, count: count(topic) }));
  },

  onUnsubscribe(session, topic) {},

  /** A message was published: texts go out in capitals and are counted, everything else is refused. */
  onPublish(session, topic, payload) {
    const text = parsed(payload);
    if (typeof text !== 'string') throw rejected('send a text');
    put(topic, encoder.encode(String(count(topic) + 1)));
    return { tag: 'replace', val: json(text.toUpperCase()) };
  },

  /** A client calls a method: `count` is how many messages the topic has had. */
  onCall(session, topic, method, payload) {
    if (method !== 'count' || topic === undefined) throw rejected(`there is no method ${method} here`);
    return json(count(topic));
  },

  onTimer(name, payload) {},
};
