// The contract of castore's storage adapters, and what this one adds.
import { GroupedEvent, type EventDetail, type EventStorageAdapter } from '@castore/core';
import { InMemoryEventStorageAdapter } from '@castore/event-storage-adapter-in-memory';
import {
  EventstoreEventAlreadyExistsError,
  EventstoreEventStorageAdapter,
  EventstoreForceError,
  EventstoreVersionGapError,
} from 'eventstore-castore';
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, describe, it } from 'node:test';
import { Pool } from 'pg';

const pool = new Pool({ max: 20 });
const adapter = new EventstoreEventStorageAdapter({ pool });
after(() => pool.end());

const timestamps = [2021, 2022, 2023, 2024].map((year) => `${year}-01-01T00:00:00.000Z`);
const newEvent = (version = 1, more: Partial<EventDetail> = {}) => ({
  aggregateId: randomUUID(),
  version,
  type: 'HAPPENED',
  timestamp: timestamps[0]!,
  ...more,
});
const newStore = () => ({ eventStoreId: `store-${randomUUID()}` });

// What the library's own adapter for memory answers is the contract.
for (const [name, open] of [
  ['in memory', () => new InMemoryEventStorageAdapter()],
  ['eventstore', () => new EventstoreEventStorageAdapter({ pool })],
] as const) {
  describe(`${name}: contract`, () => {
    it('has no events of an unknown aggregate', async () => {
      assert.deepEqual(await open().getEvents(randomUUID(), newStore()), { events: [] });
    });

    it('gets what was pushed, and parts of it', async () => {
      const [storage, store] = [open(), newStore()];
      const one = newEvent(1, { payload: { n: 1 }, metadata: { user: 'ada' } });
      const two = { ...one, version: 2, timestamp: timestamps[1]!, payload: [1, null, 'x'], metadata: 'plain' };
      const three = { ...newEvent(3), aggregateId: one.aggregateId };
      for (const event of [one, two, three]) assert.deepEqual(await storage.pushEvent(event, store), { event });
      const get = async (options: Parameters<EventStorageAdapter['getEvents']>[2]) =>
        (await storage.getEvents(one.aggregateId, store, options)).events;
      assert.deepEqual(await get({}), [one, two, three]);
      assert.deepEqual(await get({ minVersion: 2 }), [two, three]);
      assert.deepEqual(await get({ maxVersion: 2 }), [one, two]);
      assert.deepEqual(await get({ minVersion: 2, maxVersion: 2 }), [two]);
      assert.deepEqual(await get({ limit: 1 }), [one]);
      assert.deepEqual(await get({ reverse: true }), [three, two, one]);
      assert.deepEqual(await get({ reverse: true, limit: 2 }), [three, two]);
      assert.deepEqual(await get({ reverse: true, maxVersion: 2, limit: 1 }), [two]);
    });

    it('refuses a version that is there', async () => {
      const [storage, store, event] = [open(), newStore(), newEvent()];
      await storage.pushEvent(event, store);
      await assert.rejects(storage.pushEvent({ ...event, type: 'OTHER' }, store), {
        code: 'EventAlreadyExistsError',
        eventStoreId: store.eventStoreId,
        aggregateId: event.aggregateId,
        version: 1,
      });
      assert.deepEqual(await storage.getEvents(event.aggregateId, store), { events: [event] });
    });

    it('gives a timestamp to an event without one', async () => {
      const [storage, store] = [open(), newStore()];
      const { timestamp: _, ...event } = newEvent();
      const before = Date.now();
      const { event: pushed } = await storage.pushEvent(event, store);
      assert(Date.parse(pushed.timestamp) >= before - 1000 && Date.parse(pushed.timestamp) <= Date.now() + 1000);
      assert.deepEqual((await storage.getEvents(event.aggregateId, store)).events, [pushed]);
    });

    it('lists aggregates by pages', async () => {
      const [storage, store] = [open(), newStore()];
      const ids: { aggregateId: string; initialEventTimestamp: string }[] = [];
      for (const timestamp of timestamps) {
        const { aggregateId } = (await storage.pushEvent(newEvent(1, { timestamp }), store)).event;
        await storage.pushEvent(newEvent(2, { aggregateId, timestamp: timestamps[0]! }), store);
        ids.push({ aggregateId, initialEventTimestamp: timestamp });
      }
      assert.deepEqual(await storage.listAggregateIds(store), { aggregateIds: ids });
      const first = await storage.listAggregateIds(store, { limit: 2 });
      assert.deepEqual(first.aggregateIds, ids.slice(0, 2));
      assert.deepEqual(JSON.parse(first.nextPageToken!), { limit: 2, lastEvaluatedKey: ids[1] });
      assert.deepEqual(await storage.listAggregateIds(store, { limit: 4 }), { aggregateIds: ids });

      const options = {
        limit: 1,
        initialEventAfter: '2021-02-01T00:00:00.000Z',
        initialEventBefore: '2023-02-01T00:00:00.000Z',
        reverse: true,
      };
      const page = await storage.listAggregateIds(store, options);
      assert.deepEqual(page.aggregateIds, [ids[2]]);
      assert.deepEqual(JSON.parse(page.nextPageToken!), { ...options, lastEvaluatedKey: ids[2] });
      assert.deepEqual(
        (await storage.listAggregateIds(store, { initialEventAfter: timestamps[1]!, initialEventBefore: timestamps[2]! })).aggregateIds,
        [ids[1], ids[2]],
      );
    });

    it('pushes a group as a whole', async () => {
      const [storage, store] = [open(), newStore()];
      const [a, b] = [newEvent(), newEvent()];
      const group = (event: EventDetail) => new GroupedEvent({ event, eventStorageAdapter: storage, context: store });
      const { eventGroup } = await storage.pushEventGroup({}, group(a), group(b), group({ ...b, version: 2 }));
      assert.deepEqual(eventGroup, [{ event: a }, { event: b }, { event: { ...b, version: 2 } }]);

      const c = newEvent();
      await assert.rejects(storage.pushEventGroup({}, group(c), group(b)), { code: 'EventAlreadyExistsError', version: 1 });
      assert.deepEqual(await storage.getEvents(c.aggregateId, store), { events: [] });
      assert.deepEqual((await storage.getEvents(b.aggregateId, store)).events.length, 2);
    });

    it('gives the events of a group one timestamp', async () => {
      const [storage, store] = [open(), newStore()];
      const { timestamp: _, ...a } = newEvent();
      const group = (event: object) =>
        new GroupedEvent({ event: event as EventDetail, eventStorageAdapter: storage, context: store });
      const { eventGroup } = await storage.pushEventGroup({}, group(a), group({ ...a, aggregateId: randomUUID() }));
      assert.equal(eventGroup[0]!.event.timestamp, eventGroup[1]!.event.timestamp);
    });

    it('refuses a group with an event of another storage, or without its store', async () => {
      const [storage, store] = [open(), newStore()];
      const good = new GroupedEvent({ event: newEvent(), eventStorageAdapter: storage, context: store });
      const alien = new GroupedEvent({ event: newEvent(), eventStorageAdapter: {} as EventStorageAdapter, context: store });
      const homeless = new GroupedEvent({ event: newEvent(), eventStorageAdapter: storage });
      await assert.rejects(storage.pushEventGroup({}, good, alien));
      await assert.rejects(storage.pushEventGroup({}, good, homeless));
      assert.deepEqual(await storage.getEvents(good.event.aggregateId, store), { events: [] });
    });

    it('groups an event', () => {
      const storage = open();
      const event = newEvent();
      const grouped = storage.groupEvent(event);
      assert(grouped instanceof GroupedEvent);
      assert.equal(grouped.event, event);
      assert.equal(grouped.eventStorageAdapter, storage);
    });
  });
}

describe('eventstore', () => {
  it('lets one of many with the same version win, and tells the others', async () => {
    const [store, first] = [newStore(), newEvent()];
    await adapter.pushEvent(first, store);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 15 }, (_, n) => adapter.pushEvent({ ...first, version: 2, payload: { n } }, store)),
    );
    const lost = outcomes.filter((outcome) => outcome.status === 'rejected');
    assert.equal(lost.length, 14);
    for (const { reason } of lost) assert(reason instanceof EventstoreEventAlreadyExistsError, String(reason));
    assert.equal((await adapter.getEvents(first.aggregateId, store)).events.length, 2);
  });

  it('refuses a gap, and versions that are none', async () => {
    const store = newStore();
    await assert.rejects(adapter.pushEvent(newEvent(2), store), EventstoreVersionGapError);
    for (const version of [0, -1, 1.5]) await assert.rejects(adapter.pushEvent(newEvent(version), store), /version must be/);
  });

  it('never overwrites: force takes what is there just so, and appends the rest', async () => {
    const [store, one] = [newStore(), newEvent(1, { payload: { at: 'x', n: undefined } })];
    const two = { ...one, version: 2 };
    await adapter.pushEvent(one, { ...store, force: true });
    await adapter.pushEvent(one, { ...store, force: true });
    await assert.rejects(adapter.pushEvent({ ...one, payload: {} }, { ...store, force: true }), EventstoreForceError);
    const { eventGroup } = await adapter.pushEventGroup(
      { force: true },
      ...([one, two].map((event) => new GroupedEvent({ event, eventStorageAdapter: adapter, context: store })) as [GroupedEvent]),
    );
    const stored = (await adapter.getEvents(one.aggregateId, store)).events;
    assert.deepEqual(eventGroup.map(({ event }) => event.version), [1, 2]);
    assert.deepEqual(stored.map(({ version, payload }) => [version, payload]), [[1, { at: 'x' }], [2, { at: 'x' }]]);
  });

  it('refuses a group that would go to several databases', async () => {
    const [other, store] = [new Pool(), newStore()];
    const elsewhere = new EventstoreEventStorageAdapter({ pool: other });
    const [here, there] = [adapter, elsewhere].map(
      (eventStorageAdapter) => new GroupedEvent({ event: newEvent(), eventStorageAdapter, context: store }),
    );
    await assert.rejects(adapter.pushEventGroup({}, here!, there!), /of this pool/);
    assert.deepEqual(await adapter.getEvents(here!.event.aggregateId, store), { events: [] });
    await other.end();
  });

  it('keeps payloads and metadata of every kind', async () => {
    const store = newStore();
    for (const value of [null, 0, '', 'x', true, [], [1], {}, { a: null }, undefined])
      for (const timestamp of [timestamps[0], undefined]) {
        const event = { ...newEvent(), timestamp, payload: value, metadata: value };
        const { event: pushed } = await adapter.pushEvent(event, store);
        const { events } = await adapter.getEvents(event.aggregateId, store);
        assert.deepEqual(events, [JSON.parse(JSON.stringify({ ...event, timestamp: pushed.timestamp }))]);
      }
    await assert.rejects(adapter.pushEvent(newEvent(1, { metadata: { castore_time: 1 } }), store), /must not have/);
    await assert.rejects(adapter.pushEvent(newEvent(1, { timestamp: 'today' }), store), /not a timestamp/);
  });

  it('keeps stores apart, whatever their ids', async () => {
    const id = randomUUID();
    const names = [`a-${id}`, `a%2D${id}`, `a`, `a-`];
    const aggregates = ['b', `${id}-b`, 'b'];
    for (const eventStoreId of names)
      for (const aggregateId of new Set(aggregates))
        await adapter.pushEvent(newEvent(1, { aggregateId: `${aggregateId}-${id}` }), { eventStoreId });
    for (const eventStoreId of names) {
      const { aggregateIds } = await adapter.listAggregateIds({ eventStoreId });
      const mine = aggregateIds.filter(({ aggregateId }) => aggregateId.endsWith(id)).map(({ aggregateId }) => aggregateId);
      assert.deepEqual(new Set(mine), new Set([`b-${id}`, `${id}-b-${id}`]));
    }
  });

  it('pages through aggregates of the same moment', async () => {
    const store = newStore();
    const ids = Array.from({ length: 7 }, () => randomUUID()).sort();
    for (const aggregateId of ids) await adapter.pushEvent(newEvent(1, { aggregateId }), store);
    for (const reverse of [false, true]) {
      const found: string[] = [];
      let pageToken: string | undefined;
      do {
        const page = await adapter.listAggregateIds(store, pageToken ? { pageToken } : { limit: 3, reverse });
        found.push(...page.aggregateIds.map(({ aggregateId }) => aggregateId));
        pageToken = page.nextPageToken;
      } while (pageToken);
      assert.deepEqual(found, reverse ? [...ids].reverse() : ids);
    }
    await assert.rejects(adapter.listAggregateIds(store, { pageToken: '{' }), /Invalid page token/);
  });

  it('uses the store that the setting names', async () => {
    const tenant = new Pool({ options: '-c eventstore.store=tenant' });
    try {
      await pool.query("SELECT es_create_store('tenant', if_not_exists => true)");
      const [there, store, event] = [new EventstoreEventStorageAdapter({ pool: tenant }), newStore(), newEvent()];
      await there.pushEvent(event, store);
      assert.deepEqual((await there.listAggregateIds(store)).aggregateIds.length, 1);
      assert.deepEqual((await adapter.listAggregateIds(store)).aggregateIds, []);
    } finally {
      await tenant.end();
      await pool.query("SELECT es_drop_store('tenant')");
    }
  });

  it('has an index that answers a page', async () => {
    const client = await pool.connect();
    try {
      await client.query('BEGIN');
      await client.query(EventstoreEventStorageAdapter.indexSql());
      await client.query('SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off');
      // The adapter's own statement, caught on its way to the database.
      const explained: string[] = [];
      const spy = new EventstoreEventStorageAdapter({
        pool: {
          query: async (text: string, values: unknown[]) => {
            if (text.includes('es_events')) {
              const { rows } = await client.query(`EXPLAIN ${text}`, values);
              explained.push(...rows.map((row) => row['QUERY PLAN']));
            }
            return client.query(text, values);
          },
        } as unknown as Pool,
      });
      await spy.listAggregateIds(newStore(), { limit: 2 });
      assert.match(explained.join('\n'), /Index Scan using es_events_castore/);
      assert.doesNotMatch(explained.join('\n'), /Sort/);
    } finally {
      await client.query('ROLLBACK');
      client.release();
    }
  });
});
