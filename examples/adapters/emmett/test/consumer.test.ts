// Processors: each event once, in order, from where they were.
import { MessageProcessor, type Event } from '@event-driven-io/emmett';
import { getEventstoreEventStore, type EventstoreReadEvent } from 'eventstore-emmett';
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { Pool } from 'pg';
import { newCart, openPool, shoes, type CartEvent, type ProductAdded } from './shop.js';

const pool = openPool();
const store = getEventstoreEventStore(pool);
const made: string[] = [];
const newId = () => {
  const id = `test ${randomUUID()}`;
  made.push(id);
  return id;
};
const position = (event: EventstoreReadEvent<any>) => (event.metadata as any).streamPosition as bigint;
const stream = (event: EventstoreReadEvent<any>) => (event.metadata as any).streamName as string;
const carts = [{ categories: ['cart'] }];

before(() => pool.query('CREATE TABLE IF NOT EXISTS emmett_seen (processor text, stream text, version bigint, n bigserial)'));
after(async () => {
  for (const id of made)
    await pool.query('SELECT es_drop_subscription($1) FROM es_subscriptions WHERE subscription = $1 LIMIT 1', [id]);
  await pool.query('DROP TABLE emmett_seen');
  await pool.end();
});

/** Closing takes back what Emmett's processors listen to. */
const runToEnd = (consumer: ReturnType<typeof store.consumer>) => consumer.start().finally(() => consumer.close());

/** Run a reactor that writes down what it sees, until it has seen `last` of `cart`. */
const follow = async (id: string, cart: string, last: bigint, more: object = {}) => {
  const seen: bigint[] = [];
  const consumer = store.consumer();
  consumer.reactor<CartEvent>({
    processorId: id,
    query: carts,
    stopAfter: (message) => stream(message as never) === cart && position(message as never) === last,
    eachMessage: async (message, { client }) => {
      await client.query('INSERT INTO emmett_seen VALUES ($1, $2, $3)', [id, stream(message as never), position(message as never).toString()]);
      if (stream(message as never) === cart) seen.push(position(message as never));
    },
    ...more,
  });
  await runToEnd(consumer);
  return seen;
};

describe('reactor', () => {
  it('sees every event once, in order, and goes on where it was', async () => {
    const [id, cart] = [newId(), newCart()];
    await store.appendToStream(cart, [shoes(), shoes(), shoes()]);
    // It stops in the middle of a batch: what comes after is for the next time.
    assert.deepEqual(await follow(id, cart, 2n), [1n, 2n]);
    await store.appendToStream(cart, [shoes()]);
    assert.deepEqual(await follow(id, cart, 4n), [3n, 4n]);
    const { rows } = await pool.query('SELECT version FROM emmett_seen WHERE processor = $1 AND stream = $2 ORDER BY n', [id, cart]);
    assert.deepEqual(rows.map(({ version }) => version), ['1', '2', '3', '4']);
  });

  it('is woken by an append', async () => {
    const [id, cart] = [newId(), newCart()];
    const following = follow(id, cart, 1n, { startFrom: 'END' });
    await new Promise((resolve) => setTimeout(resolve, 100));
    await store.appendToStream(cart, [shoes()]);
    assert.deepEqual(await following, [1n]);
  });

  it('undoes an event whose handling failed, and sees it again', async () => {
    const [id, cart] = [newId(), newCart()];
    await store.appendToStream(cart, [shoes(), shoes()]);
    const consumer = store.consumer({ batchSize: 1 });
    consumer.reactor<CartEvent>({
      processorId: id,
      startFrom: 'CURRENT',
      query: carts,
      eachMessage: async (message, { client }) => {
        if (stream(message as never) !== cart) return;
        await client.query('INSERT INTO emmett_seen VALUES ($1, $2, $3)', [id, cart, position(message as never).toString()]);
        if (position(message as never) === 2n) throw new Error('out of shoes');
      },
    });
    await assert.rejects(runToEnd(consumer), /out of shoes/);
    assert.equal(consumer.isRunning, false);
    assert.deepEqual(await follow(id, cart, 2n), [2n]);
    const { rows } = await pool.query('SELECT version FROM emmett_seen WHERE processor = $1 AND stream = $2 ORDER BY n', [id, cart]);
    assert.deepEqual(rows.map(({ version }) => version), ['1', '2']);
  });

  it('parks an event that cannot be handled yet, with what follows it in its stream', async () => {
    const [id, bad, good] = [newId(), newCart(), newCart()];
    const { lastEventGlobalPosition: start } = await store.appendToStream(newCart(), [shoes()]);
    await store.appendToStream(bad, [shoes(), shoes()]);
    await store.appendToStream(good, [shoes()]);
    const seen: string[] = [];
    let failures = 0;
    const consumer = store.consumer({ pollingIntervalMs: 20 });
    consumer.reactor<CartEvent>({
      processorId: id,
      query: carts,
      startFrom: { lastCheckpoint: start },
      onError: () => ({ retryAfter: '1 millisecond' }),
      stopAfter: () => seen.length === 3,
      eachMessage: async (message, { client }) => {
        const event = message as never;
        if (stream(event) === bad && position(event) === 1n && failures++ < 2) await client.query('SELECT 1/0');
        seen.push(`${stream(event) === bad ? 'bad' : 'good'} ${position(event)}`);
      },
    });
    await runToEnd(consumer);
    assert.deepEqual(seen, ['good 1', 'bad 1', 'bad 2']);
    const { rows } = await pool.query('SELECT count(*)::int AS n FROM es_parked_events WHERE subscription = $1', [id]);
    assert.equal(rows[0].n, 0);
  });

  it('may append in the transaction of its cursor', async () => {
    const [id, cart] = [newId(), newCart()];
    const { lastEventGlobalPosition } = await store.appendToStream(cart, [shoes()]);
    const consumer = store.consumer();
    consumer.reactor<ProductAdded>({
      processorId: id,
      startFrom: { lastCheckpoint: lastEventGlobalPosition - 1n },
      canHandle: ['ProductAdded'],
      eachMessage: async (message, { eventStore }) => {
        await eventStore.appendToStream(`shipment-${stream(message as never)}`, [{ type: 'ShipmentAsked', data: {} }]);
        return MessageProcessor.result.stop();
      },
    });
    await runToEnd(consumer);
    assert(await store.streamExists(`shipment-${cart}`));
  });

  it('stops when it is told to', async () => {
    const consumer = store.consumer();
    consumer.reactor({ processorId: newId(), startFrom: 'END', eachMessage: () => {} });
    const started = consumer.start();
    assert(consumer.isRunning);
    await consumer.close();
    await started;
    assert.equal(consumer.isRunning, false);
  });

  it('shares its work with others, each stream in one hand', async () => {
    const id = newId();
    const { lastEventGlobalPosition: start } = await store.appendToStream(newCart(), [shoes()]);
    const streams = Array.from({ length: 12 }, newCart);
    for (const cart of streams) await store.appendToStream(cart, [shoes(), shoes(), shoes()]);
    let left = 36;
    const consumers = [1, 2, 3].map(() => store.consumer({ batchSize: 4, pollingIntervalMs: 20 }));
    // Made once, before they start together: a start position resets the cursor.
    await pool.query('SELECT es_create_subscription($1, $2, 5, $3)', [id, JSON.stringify(carts), start.toString()]);
    for (const consumer of consumers)
      consumer.reactor<CartEvent>({
        processorId: id,
        query: carts,
        partitions: 5,
        eachMessage: async (message, { client }) => {
          await client.query('INSERT INTO emmett_seen VALUES ($1, $2, $3)', [id, stream(message as never), position(message as never).toString()]);
          if (--left === 0) setImmediate(() => consumers.forEach((each) => void each.stop()));
        },
      });
    await Promise.all(consumers.map(runToEnd));
    const { rows } = await pool.query(
      'SELECT stream, array_agg(version ORDER BY n)::text AS versions FROM emmett_seen WHERE processor = $1 GROUP BY stream',
      [id],
    );
    assert.deepEqual(new Set(rows.map((row) => row.stream)), new Set(streams));
    for (const row of rows) assert.equal(row.versions, '{1,2,3}');
  });

  it('refuses another query than it was made with', async () => {
    const [id, cart] = [newId(), newCart()];
    await store.appendToStream(cart, [shoes()]);
    await follow(id, cart, 1n);
    await assert.rejects(follow(id, cart, 1n, { query: [{ categories: ['order'] }] }), /another query/);
  });
});

describe('a store that the setting names', () => {
  it('has streams and processors of its own', async () => {
    const tenantPool = new Pool({ options: '-c eventstore.store=tenant' });
    try {
      const tenant = getEventstoreEventStore(tenantPool);
      await tenant.schema.migrate();
      const cart = newCart();
      await tenant.appendToStream(cart, [shoes(), shoes()]);
      assert.equal(await store.streamExists(cart), false);
      const seen: bigint[] = [];
      for (const last of [1n, 2n]) {
        const consumer = tenant.consumer();
        consumer.reactor({
          processorId: 'tenant',
          eachMessage: (message) => void seen.push(position(message as never)),
          stopAfter: (message) => position(message as never) === last,
        });
        await runToEnd(consumer);
      }
      assert.deepEqual(seen, [1n, 2n]);
    } finally {
      await tenantPool.end();
      await pool.query("SELECT es_drop_store('tenant')");
    }
  });
});

describe('projector', () => {
  it('builds a read model, and builds it anew', async () => {
    const cart = newCart();
    await store.appendToStream<CartEvent>(cart, [shoes(2), { type: 'DiscountApplied', data: { percent: 5 } }, shoes(3)]);
    await pool.query('CREATE TABLE emmett_items (items bigint)');
    const build = async (truncateOnStart: boolean) => {
      const consumer = store.consumer();
      consumer.projector<ProductAdded & Event>({
        processorId,
        truncateOnStart,
        query: carts,
        stopAfter: (message) => stream(message as never) === cart && position(message as never) === 3n,
        projection: {
          name: 'items',
          canHandle: ['ProductAdded'],
          truncate: async ({ client }) => void (await client.query('TRUNCATE emmett_items')),
          handle: async (events, { client }) => {
            for (const event of events)
              if (stream(event as never) === cart)
                await client.query('INSERT INTO emmett_items VALUES ($1)', [event.data.quantity]);
          },
        },
      });
      await runToEnd(consumer);
      return (await pool.query('SELECT sum(items)::int AS items, count(*)::int AS rows FROM emmett_items')).rows[0];
    };
    const processorId = newId();
    try {
      assert.deepEqual(await build(false), { items: 5, rows: 2 });
      assert.deepEqual(await build(true), { items: 5, rows: 2 });
    } finally {
      await pool.query('DROP TABLE emmett_items');
    }
  });
});
