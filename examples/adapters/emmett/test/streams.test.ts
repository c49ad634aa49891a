// What Emmett expects of any event store: streams, versions, conflicts.
import {
  CommandHandler,
  ExpectedVersionConflictError,
  IllegalStateError,
  NO_CONCURRENCY_CHECK,
  STREAM_DOES_NOT_EXIST,
  STREAM_EXISTS,
  isExpectedVersionConflictError,
  type Event,
} from '@event-driven-io/emmett';
import { getEventstoreEventStore } from 'eventstore-emmett';
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, describe, it } from 'node:test';
import { emptyCart, evolve, newCart, openPool, shoes, type Cart, type CartEvent } from './shop.js';

const pool = openPool();
const store = getEventstoreEventStore(pool);
after(() => pool.end());

const conflict = (current: bigint, expected: unknown) => (error: unknown) => {
  assert(error instanceof ExpectedVersionConflictError);
  assert(isExpectedVersionConflictError(error));
  assert.equal(error.current, current.toString());
  assert.equal(error.expected, String(expected));
  return true;
};

describe('appendToStream', () => {
  it('creates a stream and appends to it', async () => {
    const cart = newCart();
    const first = await store.appendToStream(cart, [shoes(), shoes()]);
    assert.deepEqual([first.nextExpectedStreamVersion, first.createdNewStream], [2n, true]);

    const second = await store.appendToStream(cart, [shoes()], { expectedStreamVersion: 2n });
    assert.deepEqual([second.nextExpectedStreamVersion, second.createdNewStream], [3n, false]);
    assert(second.lastEventGlobalPosition > first.lastEventGlobalPosition);
  });

  it('takes every way to expect a version', async () => {
    const cart = newCart();
    await store.appendToStream(cart, [shoes()], { expectedStreamVersion: STREAM_DOES_NOT_EXIST });
    await store.appendToStream(cart, [shoes()], { expectedStreamVersion: STREAM_EXISTS });
    await store.appendToStream(cart, [shoes()], { expectedStreamVersion: 2n });
    // From JavaScript, as a number.
    await store.appendToStream(cart, [shoes()], { expectedStreamVersion: 3 as unknown as bigint });
    await store.appendToStream(cart, [shoes()], { expectedStreamVersion: NO_CONCURRENCY_CHECK });
    assert.equal((await store.readStream(cart)).currentStreamVersion, 5n);

    const other = newCart();
    await store.appendToStream(other, [shoes()], { expectedStreamVersion: 0n });
    assert(await store.streamExists(other));
  });

  it('refuses what is not as expected, and changes nothing', async () => {
    const cart = newCart();
    await store.appendToStream(cart, [shoes(), shoes()]);

    for (const expected of [0n, 1n, 3n, STREAM_DOES_NOT_EXIST])
      await assert.rejects(
        store.appendToStream(cart, [shoes()], { expectedStreamVersion: expected }),
        conflict(2n, expected),
      );
    const missing = newCart();
    for (const expected of [1n, STREAM_EXISTS])
      await assert.rejects(
        store.appendToStream(missing, [shoes()], { expectedStreamVersion: expected }),
        conflict(0n, expected),
      );
    assert.equal((await store.readStream(cart)).currentStreamVersion, 2n);
    assert.equal(await store.streamExists(missing), false);
  });

  it('lets one of many writers with the same expectation win', async () => {
    for (const expected of [STREAM_DOES_NOT_EXIST, 1n]) {
      const cart = newCart();
      if (expected === 1n) await store.appendToStream(cart, [shoes()]);
      const outcomes = await Promise.allSettled(
        Array.from({ length: 15 }, () => store.appendToStream(cart, [shoes()], { expectedStreamVersion: expected })),
      );
      const lost = outcomes.filter((outcome) => outcome.status === 'rejected');
      assert.equal(lost.length, 14);
      for (const { reason } of lost) assert(isExpectedVersionConflictError(reason), String(reason));
      assert.equal((await store.readStream(cart)).events.length, expected === 1n ? 2 : 1);
    }
  });

  it('takes no events as a check', async () => {
    const cart = newCart();
    await assert.rejects(store.appendToStream(cart, [], { expectedStreamVersion: STREAM_EXISTS }), conflict(0n, STREAM_EXISTS));
    const { lastEventGlobalPosition } = await store.appendToStream(cart, [shoes()]);
    assert.deepEqual(await store.appendToStream(cart, [], { expectedStreamVersion: 1n }), {
      nextExpectedStreamVersion: 1n,
      lastEventGlobalPosition,
      createdNewStream: false,
    });
  });

  it('appends a request once', async () => {
    const cart = newCart();
    const requestId = randomUUID();
    const first = await store.appendToStream(cart, [shoes()], { expectedStreamVersion: 0n, requestId });
    await store.appendToStream(cart, [shoes(2)]);
    assert.deepEqual(await store.appendToStream(cart, [shoes()], { expectedStreamVersion: 0n, requestId }), first);
    await assert.rejects(store.appendToStream(cart, [shoes(9)], { requestId }), IllegalStateError);
    assert.equal((await store.readStream(cart)).events.length, 2);
  });
});

describe('readStream', () => {
  it('gives events as they were appended, with the metadata of the store', async () => {
    const cart = newCart();
    const by = { correlation_id: randomUUID(), user: 'ada' };
    type Tagged = Event<'Tagged', { n: bigint | string; nested: { list: number[] } }, typeof by>;
    const tagged: Tagged = { type: 'Tagged', data: { n: 12345678901234567890n, nested: { list: [1, 2] } }, metadata: by };
    const { lastEventGlobalPosition } = await store.appendToStream<CartEvent | Tagged>(cart, [shoes(), tagged]);

    const { events, currentStreamVersion, streamExists } = await store.readStream<CartEvent | Tagged>(cart);
    assert.deepEqual([currentStreamVersion, streamExists], [2n, true]);
    const { messageId, ...metadata } = events[1]!.metadata;
    assert.match(messageId, /^[0-9a-f-]{36}$/);
    assert.deepEqual(metadata, {
      ...by,
      streamName: cart,
      streamPosition: 2n,
      globalPosition: lastEventGlobalPosition,
    });
    assert.deepEqual([events[1]!.type, events[1]!.kind], ['Tagged', 'Event']);
    // As everywhere in Emmett, a bigint in data becomes a string.
    assert.deepEqual(events[1]!.data, { n: '12345678901234567890', nested: { list: [1, 2] } });
    assert.deepEqual(events[0]!.data, shoes().data);
  });

  it('reads a part', async () => {
    const cart = newCart();
    await store.appendToStream(cart, [1, 2, 3, 4, 5].map(shoes));
    const read = async (options: Parameters<typeof store.readStream>[1]) => {
      const { events, currentStreamVersion } = await store.readStream<CartEvent>(cart, options as object);
      return [events.map((event) => Number(event.metadata.streamPosition)), currentStreamVersion];
    };
    assert.deepEqual(await read({ from: 2n }), [[2, 3, 4, 5], 5n]);
    assert.deepEqual(await read({ from: 0n, to: 3n }), [[1, 2, 3], 3n]);
    assert.deepEqual(await read({ from: 2n, maxCount: 2n }), [[2, 3], 3n]);
    assert.deepEqual(await read({ from: 2n, to: 4n, maxCount: 9n }), [[2, 3, 4], 4n]);
    assert.deepEqual(await read({ from: 6n }), [[], 5n]);
  });

  it('knows a missing stream from one without events to show', async () => {
    assert.deepEqual(await store.readStream(newCart()), { events: [], currentStreamVersion: 0n, streamExists: false });
    const cart = newCart();
    await store.appendToStream(cart, [shoes()]);
    assert.deepEqual(await store.readStream(cart, { from: 7n }), {
      events: [],
      currentStreamVersion: 1n,
      streamExists: true,
    });
  });

  it('checks what the reader expects', async () => {
    const cart = newCart();
    await store.appendToStream(cart, [shoes(), shoes()]);
    await store.readStream(cart, { expectedStreamVersion: 2n });
    // The version is the stream's, not that of the part which is read.
    await assert.rejects(store.readStream(cart, { to: 1n, expectedStreamVersion: 1n }), conflict(2n, 1n));
    await assert.rejects(store.readStream(newCart(), { expectedStreamVersion: STREAM_EXISTS }), conflict(0n, STREAM_EXISTS));
  });

  it('upcasts and downcasts', async () => {
    type Stored = Event<'Paid', { cents: number }>;
    type Paid = Event<'Paid', { euros: number }>;
    const schema = {
      versioning: {
        downcast: (event: Paid): Stored => ({ ...event, data: { cents: event.data.euros * 100 } }),
        upcast: (event: Stored): Paid => ({ ...event, data: { euros: event.data.cents / 100 } }),
      },
    };
    const cart = newCart();
    await store.appendToStream<Paid, Stored>(cart, [{ type: 'Paid', data: { euros: 5 } }], { schema });
    assert.deepEqual((await store.readStream<Stored>(cart)).events[0]!.data, { cents: 500 });
    const { events } = await store.readStream<Paid, Stored>(cart, { schema });
    assert.deepEqual(events[0]!.data, { euros: 5 });
  });
});

describe('aggregateStream', () => {
  it('folds, up to a version if wanted', async () => {
    const cart = newCart();
    await store.appendToStream<CartEvent>(cart, [shoes(10)]);
    await store.appendToStream<CartEvent>(cart, [shoes(10), { type: 'DiscountApplied', data: { percent: 10 } }]);
    const at = async (to?: bigint) => {
      const { state, ...rest } = await store.aggregateStream<Cart, CartEvent>(cart, {
        evolve,
        initialState: emptyCart,
        read: to ? { to } : {},
      });
      return [state.total, rest.currentStreamVersion, rest.streamExists];
    };
    assert.deepEqual(await at(1n), [300, 1n, true]);
    assert.deepEqual(await at(2n), [600, 2n, true]);
    assert.deepEqual(await at(), [540, 3n, true]);
    assert.deepEqual(
      await store.aggregateStream<Cart, CartEvent>(newCart(), { evolve, initialState: emptyCart }),
      { state: emptyCart(), currentStreamVersion: 0n, streamExists: false },
    );
  });
});

describe('CommandHandler', () => {
  const handle = CommandHandler<Cart, CartEvent>({ evolve, initialState: emptyCart });

  it('decides on what is there', async () => {
    const cart = newCart();
    const first = await handle(store, cart, () => shoes(2), { expectedStreamVersion: STREAM_DOES_NOT_EXIST });
    assert.deepEqual([first.nextExpectedStreamVersion, first.createdNewStream, first.newState.items], [1n, true, 2]);
    const second = await handle(store, cart, (state) => [shoes(state.items), shoes()]);
    assert.deepEqual([second.nextExpectedStreamVersion, second.newState.items], [3n, 5]);
    const none = await handle(store, cart, () => []);
    assert.deepEqual([none.nextExpectedStreamVersion, none.newEvents.length], [3n, 0]);
  });

  it('fails early on a wrong expectation, without deciding', async () => {
    const cart = newCart();
    await handle(store, cart, () => shoes());
    await assert.rejects(
      handle(store, cart, () => assert.fail('must not be called'), { expectedStreamVersion: STREAM_DOES_NOT_EXIST }),
      conflict(1n, STREAM_DOES_NOT_EXIST),
    );
  });

  it('meets a conflict with a writer in between, once without retry', async () => {
    const cart = newCart();
    await handle(store, cart, () => shoes());
    let decided = 0;
    await assert.rejects(
      handle(store, cart, async () => {
        decided++;
        await store.appendToStream(cart, [shoes()]);
        return shoes();
      }),
      conflict(2n, 1n),
    );
    assert.equal(decided, 1);
  });

  it('decides again after conflicts, so that none of many increments is lost', async () => {
    const cart = newCart();
    const retrying = CommandHandler<Cart, CartEvent>({
      evolve,
      initialState: emptyCart,
      retry: { onVersionConflict: { retries: 50, minTimeout: 1, maxTimeout: 20, randomize: true } },
    });
    // Each adds one more than there is: a decision on old facts would show in the sum.
    const decisions: number[] = [];
    await Promise.all(
      Array.from({ length: 12 }, () =>
        retrying(store, cart, (state) => {
          decisions.push(state.items);
          return shoes(1);
        }),
      ),
    );
    const { state, currentStreamVersion } = await store.aggregateStream<Cart, CartEvent>(cart, {
      evolve,
      initialState: emptyCart,
    });
    assert.deepEqual([state.items, currentStreamVersion], [12, 12n]);
    assert(decisions.length >= 12);
  });
});
