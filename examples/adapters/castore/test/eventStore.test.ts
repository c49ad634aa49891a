// castore's own classes over the adapter: what an application uses.
import { EventStore, EventType, isEventAlreadyExistsError } from '@castore/core';
import { muteEventStore } from '@castore/lib-test-tools';
import { EventstoreEventStorageAdapter } from 'eventstore-castore';
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, describe, it } from 'node:test';
import { Pool } from 'pg';

const pool = new Pool({ max: 20 });
after(() => pool.end());

const opened = new EventType<'OPENED', { owner: string }>({ type: 'OPENED' });
const deposited = new EventType<'DEPOSITED', { amount: number }>({ type: 'DEPOSITED' });
type Account = { aggregateId: string; version: number; owner: string; balance: number };

const accountsIn = (eventStorageAdapter?: EventstoreEventStorageAdapter) =>
  new EventStore({
    eventStoreId: 'ACCOUNTS',
    eventTypes: [opened, deposited],
    reducer: (account: Account, event): Account => {
      const { aggregateId, version } = event;
      return event.type === 'OPENED'
        ? { aggregateId, version, owner: (event.payload as { owner: string }).owner, balance: 0 }
        : { ...account, version, balance: account.balance + (event.payload as { amount: number }).amount };
    },
    eventStorageAdapter: eventStorageAdapter as never,
  });

const accounts = accountsIn(new EventstoreEventStorageAdapter({ pool }));
const open = async (owner = 'Anna') => {
  const aggregateId = randomUUID();
  await accounts.pushEvent({ aggregateId, version: 1, type: 'OPENED', payload: { owner } });
  return aggregateId;
};
const deposit = (aggregateId: string, version: number, amount: number) =>
  ({ aggregateId, version, type: 'DEPOSITED', payload: { amount } }) as const;

describe('EventStore', () => {
  it('pushes with the aggregate before, and gives the one after', async () => {
    const id = await open();
    const { aggregate } = await accounts.getExistingAggregate(id);
    const { nextAggregate } = await accounts.pushEvent(deposit(id, 2, 50), { prevAggregate: aggregate });
    assert.deepEqual(nextAggregate, { aggregateId: id, version: 2, owner: 'Anna', balance: 50 });
    assert.deepEqual((await accounts.getAggregate(id)).aggregate, nextAggregate);
    assert.equal((await accounts.getAggregate(id, { maxVersion: 1 })).aggregate!.balance, 0);
    assert.equal((await accounts.getAggregate(randomUUID())).aggregate, undefined);
    assert((await accounts.listAggregateIds()).aggregateIds.some(({ aggregateId }) => aggregateId === id));
  });

  it('moves money between two accounts, or not at all', async () => {
    const [from, to] = [await open('Anna'), await open('Ben')];
    const transfer = (version: number) =>
      EventStore.pushEventGroup(
        accounts.groupEvent(deposit(from, version, -30)),
        accounts.groupEvent(deposit(to, 2, 30)),
      );
    await transfer(2);
    await assert.rejects(transfer(3), isEventAlreadyExistsError);
    const balances = [from, to].map(async (id) => (await accounts.getExistingAggregate(id)).aggregate.balance);
    assert.deepEqual(await Promise.all(balances), [-30, 30]);
  });

  it('loses none of many deposits when each is decided anew after a conflict', async () => {
    const id = await open();
    const depositOne = async (): Promise<void> => {
      for (;;) {
        const { aggregate } = await accounts.getExistingAggregate(id);
        try {
          await accounts.pushEvent(deposit(id, aggregate.version + 1, 1), { prevAggregate: aggregate });
          return;
        } catch (error) {
          if (!isEventAlreadyExistsError(error)) throw error;
        }
      }
    };
    await Promise.all(Array.from({ length: 10 }, depositOne));
    const { aggregate } = await accounts.getExistingAggregate(id);
    assert.deepEqual([aggregate.balance, aggregate.version], [10, 11]);
  });

  it('can be muted by lib-test-tools', async () => {
    const muted = accountsIn(new EventstoreEventStorageAdapter({ pool }));
    muteEventStore(muted);
    const aggregateId = randomUUID();
    await muted.pushEvent({ aggregateId, version: 1, type: 'OPENED', payload: { owner: 'Nobody' } });
    assert.equal((await accounts.getAggregate(aggregateId)).aggregate, undefined);
  });
});
