// What this store adds: appends, projections and the caller's tables in one transaction.
import { ExpectedVersionConflictError, projections, type ReadEvent } from '@event-driven-io/emmett';
import { getEventstoreEventStore, type EventstoreProjectionDefinition } from 'eventstore-emmett';
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { newCart, openPool, shoes, type CartEvent, type ProductAdded } from './shop.js';

const pool = openPool();
const announced: ReadEvent[] = [];
let failOn: string | undefined;
let initiated = 0;

const sales: EventstoreProjectionDefinition<ProductAdded> = {
  name: 'sales',
  canHandle: ['ProductAdded'],
  init: async ({ context: { client } }) => {
    initiated++;
    await client.query('CREATE TABLE IF NOT EXISTS emmett_sales (cart text PRIMARY KEY, items bigint, last_position bigint)');
  },
  handle: async (events, { client, eventStore }) => {
    for (const { data, metadata } of events) {
      await client.query(
        `INSERT INTO emmett_sales VALUES ($1, $2, $3) ON CONFLICT (cart)
         DO UPDATE SET items = emmett_sales.items + EXCLUDED.items, last_position = EXCLUDED.last_position`,
        [metadata.streamName, data.quantity, metadata.globalPosition.toString()],
      );
      // What a projection appends belongs to the same transaction.
      if (data.quantity > 100)
        await eventStore.appendToStream(`alert-${metadata.streamName}`, [{ type: 'BigSale', data: {} }]);
      if (failOn === metadata.streamName) throw new Error('projection failed');
    }
  },
};

const store = getEventstoreEventStore(pool, {
  projections: projections.inline([sales]),
  hooks: { onAfterCommit: (events) => void announced.push(...events) },
});
const sold = async (cart: string) => {
  const { rows } = await pool.query('SELECT items, last_position FROM emmett_sales WHERE cart = $1', [cart]);
  return rows[0] && [Number(rows[0].items), BigInt(rows[0].last_position)];
};
const announcedOf = (stream: string) =>
  announced.filter(({ metadata }) => metadata.streamName === stream).map(({ metadata }) => metadata.streamPosition);

before(async () => {
  await pool.query('DROP TABLE IF EXISTS emmett_sales');
  await store.schema.migrate();
  await store.schema.migrate();
});
after(async () => {
  await pool.query('DROP TABLE IF EXISTS emmett_sales');
  await pool.end();
});

describe('inline projections', () => {
  it('are made by migrate()', () => assert.equal(initiated, 2));

  it('change with the append', async () => {
    const cart = newCart();
    const { lastEventGlobalPosition } = await store.appendToStream<CartEvent>(cart, [
      { type: 'DiscountApplied', data: { percent: 5 } },
      shoes(2),
      shoes(3),
    ]);
    assert.deepEqual(await sold(cart), [5, lastEventGlobalPosition]);
    assert.deepEqual(announcedOf(cart), [1n, 2n, 3n]);
  });

  it('take the append with them when they fail', async () => {
    const cart = newCart();
    await store.appendToStream(cart, [shoes(1)]);
    failOn = cart;
    await assert.rejects(store.appendToStream(cart, [shoes(200)]), /projection failed/);
    failOn = undefined;
    assert.equal((await store.readStream(cart)).currentStreamVersion, 1n);
    assert.equal((await sold(cart))![0], 1);
    assert.equal(await store.streamExists(`alert-${cart}`), false);
    assert.deepEqual(announcedOf(cart), [1n]);
    assert.deepEqual(announcedOf(`alert-${cart}`), []);
  });

  it('are left alone by a refused append, and by a repeated request', async () => {
    const cart = newCart();
    const requestId = randomUUID();
    await store.appendToStream(cart, [shoes(4)], { requestId });
    await store.appendToStream(cart, [shoes(4)], { requestId });
    await assert.rejects(
      store.appendToStream(cart, [shoes(4)], { expectedStreamVersion: 9n }),
      ExpectedVersionConflictError,
    );
    assert.equal((await sold(cart))![0], 4);
    assert.deepEqual(announcedOf(cart), [1n]);
  });

  it('may append, too; that is announced after the commit', async () => {
    const cart = newCart();
    await store.appendToStream(cart, [shoes(101)]);
    assert.equal((await store.readStream(`alert-${cart}`)).currentStreamVersion, 1n);
    assert.deepEqual(announcedOf(`alert-${cart}`), [1n]);
  });

  it('count every racing append once', async () => {
    const cart = newCart();
    await Promise.all(Array.from({ length: 15 }, () => store.appendToStream(cart, [shoes(1)])));
    assert.equal((await sold(cart))![0], 15);
    assert.equal((await store.readStream(cart)).currentStreamVersion, 15n);
  });
});

describe('withTransaction', () => {
  it('commits several streams and tables together, and announces then', async () => {
    const [one, two] = [newCart(), newCart()];
    const answer = await store.withTransaction(async ({ eventStore, client }) => {
      await eventStore.appendToStream(one, [shoes(1)]);
      await eventStore.appendToStream(two, [shoes(2)]);
      await client.query('UPDATE emmett_sales SET items = items + 10 WHERE cart = $1', [one]);
      assert.deepEqual(announcedOf(one), []);
      return 'done';
    });
    assert.equal(answer, 'done');
    assert.deepEqual([(await sold(one))![0], (await sold(two))![0]], [11, 2]);
    assert.deepEqual([announcedOf(one), announcedOf(two)], [[1n], [1n]]);
  });

  it('rolls everything back on an error', async () => {
    const [one, two] = [newCart(), newCart()];
    await assert.rejects(
      store.withTransaction(async ({ eventStore }) => {
        await eventStore.appendToStream(one, [shoes(1)]);
        await eventStore.appendToStream(two, [shoes(1)], { expectedStreamVersion: 3n });
      }),
      ExpectedVersionConflictError,
    );
    assert.equal(await store.streamExists(one), false);
    assert.deepEqual(announcedOf(one), []);
  });

  it('goes on after a conflict that was caught: it was refused without an error in the database', async () => {
    const cart = newCart();
    await store.withTransaction(async ({ eventStore }) => {
      await eventStore.appendToStream(cart, [shoes(1)]);
      await assert.rejects(
        eventStore.appendToStream(cart, [shoes(1)], { expectedStreamVersion: 0n }),
        ExpectedVersionConflictError,
      );
      await eventStore.appendToStream(cart, [shoes(1)], { expectedStreamVersion: 1n });
    });
    assert.equal((await store.readStream(cart)).currentStreamVersion, 2n);
  });

  it('tells when COMMIT has rolled back', async () => {
    const cart = newCart();
    await assert.rejects(
      store.withTransaction(async ({ eventStore, client }) => {
        await eventStore.appendToStream(cart, [shoes(1)]);
        await client.query('SELECT 1/0').catch(() => {});
      }),
      /rolled back/,
    );
    assert.equal(await store.streamExists(cart), false);
    assert.deepEqual(announcedOf(cart), []);
  });
});

describe('using', () => {
  it("works in the caller's transaction", async () => {
    const cart = newCart();
    const client = await pool.connect();
    try {
      await client.query('BEGIN');
      await store.using(client).appendToStream(cart, [shoes(1)]);
      assert.equal((await store.using(client).readStream(cart)).currentStreamVersion, 1n);
      assert.equal(await store.streamExists(cart), false);
      await client.query('ROLLBACK');
      assert.equal(await store.streamExists(cart), false);
      assert.equal(await sold(cart), undefined);
    } finally {
      client.release();
    }
  });
});

describe('withSession', () => {
  it('keeps its appends one by one', async () => {
    const cart = newCart();
    await assert.rejects(
      store.withSession(async ({ eventStore }) => {
        await eventStore.appendToStream(cart, [shoes(2)]);
        throw new Error('later');
      }),
      /later/,
    );
    assert.equal((await sold(cart))![0], 2);
    assert.equal(pool.waitingCount, 0);
  });
});
