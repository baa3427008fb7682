// The plugin in plain tests, with a double of the broker. `rialto plugin test` runs them.
import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { hooks } from '../src/plugin.js';
import { json, parsed, world } from './host.js';

const session = { id: 's', user: undefined };

beforeEach(() => world.reset());

test('texts go out in capitals and are counted', () => {
  const verdict = hooks.onPublish(session, '{{name}}.a', json('hello'));
  assert.equal(verdict.tag, 'replace');
  assert.equal(parsed(verdict.val), 'HELLO');
  assert.equal(parsed(hooks.onCall(session, '{{name}}.a', 'count', undefined)), 1);
});

test('everything else is refused', () => {
  assert.throws(() => hooks.onPublish(session, '{{name}}.a', json([1])), (no) => no.val.reason === 'send a text');
});

test('who subscribes is greeted', () => {
  hooks.onSubscribe(session, '{{name}}.a');
  assert.deepEqual(world.sent, [['s', { type: 'x-hello', topic: '{{name}}.a', count: 0 }]]);
});
