// A double of the broker: what the plugin's imports do in a test. `node --import` makes them known.
import { register } from 'node:module';

const here = JSON.stringify(new URL('./host.js', import.meta.url).href);
const resolve = `export const resolve = (name, context, next) =>
  name.startsWith('rialto:plugin/') ? { url: ${here}, shortCircuit: true } : next(name, context);`;
register(`data:text/javascript,${encodeURIComponent(resolve)}`);

export const json = (value) => ({ encoding: 'json', content: new TextEncoder().encode(JSON.stringify(value)) });
export const parsed = ({ content }) => JSON.parse(new TextDecoder().decode(content));

/** What there is, and what the plugin asked for. */
export const world = {
  values: new Map(),
  published: [],
  sent: [],
  reset() {
    this.values.clear();
    this.published.length = 0;
    this.sent.length = 0;
  },
};

export const get = (key) => world.values.get(key);
export const put = (key, value) => void world.values.set(key, value);
export const publish = (topic, payload) => void world.published.push([topic, parsed(payload)]);
export const send = (id, payload) => void world.sent.push([id, parsed(payload)]);
