import type { MessageProcessorStartFrom } from '@event-driven-io/emmett';
import type { ClientBase } from 'pg';
import type { EventstoreProcessorOptions } from './consumer.js';
import { toReadEvent, type EventRow, type EventstoreReadEvent } from './streams.js';

/** The events of a claimed partition, in the transaction that claimed it. */
export type Page = {
  from: bigint;
  to: bigint;
  messages: { message: EventstoreReadEvent; parked: boolean }[];
  advance(to: bigint): Promise<void>;
};

type FetchedRow = Omit<EventRow, 'position'> & {
  partition: number;
  from_position: string;
  to_position: string;
  parked: boolean;
  position: string | null;
};

/** Claim the next page of a subscription; undefined if others have claimed all its partitions. */
export const fetchPage = async (
  client: ClientBase,
  subscription: string,
  maxCount: number,
): Promise<Page | undefined> => {
  const { rows } = await client.query<FetchedRow>('SELECT * FROM es_fetch($1, $2)', [subscription, maxCount]);
  const claim = rows[0];
  if (!claim) return undefined;

  return {
    from: BigInt(claim.from_position),
    to: BigInt(claim.to_position),
    // A row without a position is the claim alone.
    messages: rows
      .filter((row): row is FetchedRow & EventRow => row.position !== null)
      .map((row) => ({ message: toReadEvent(row), parked: row.parked })),
    advance: async (to) => {
      await client.query('SELECT es_advance($1, $2, $3, $4)', [
        subscription,
        claim.partition,
        claim.from_position,
        to.toString(),
      ]);
    },
  };
};

/** Make the subscription of a processor if it is missing, and put its cursor where the processor starts from. */
export const openSubscription = async (
  client: ClientBase,
  subscription: string,
  { query, partitions = 1 }: EventstoreProcessorOptions,
  startFrom: MessageProcessorStartFrom<bigint>,
): Promise<void> => {
  const wanted = query ? JSON.stringify(query) : null;
  const position = await positionOf(client, startFrom);

  // Two consumers may start at once: who comes second finds what the first has made.
  await client.query('SAVEPOINT es_subscription');
  try {
    await client.query('SELECT es_create_subscription($1, $2, $3, $4)', [
      subscription,
      wanted,
      partitions,
      (position ?? 0n).toString(),
    ]);
    return;
  } catch (error) {
    if ((error as { code?: string }).code !== '42710') throw error;
    await client.query('ROLLBACK TO SAVEPOINT es_subscription');
  }

  // The functions find the store by a setting or by the search path; a table must be told.
  const store = await client.query<{ name: string }>('SELECT quote_ident(es_current_store()) AS name');
  const { rows } = await client.query<{ same: boolean }>(
    `SELECT bool_and(query IS NOT DISTINCT FROM $2::jsonb AND partitions = $3) AS same
     FROM ${store.rows[0]!.name}.es_subscriptions WHERE subscription = $1`,
    [subscription, wanted, partitions],
  );
  if (!rows[0]?.same)
    throw new Error(
      `processor "${subscription}" was made with another query or number of partitions: give it a new id, or drop its subscription`,
    );
  if (position !== undefined)
    await client.query('SELECT es_reset_subscription($1, $2)', [subscription, position.toString()]);
};

/** undefined: where it was. */
const positionOf = async (
  client: ClientBase,
  startFrom: MessageProcessorStartFrom<bigint>,
): Promise<bigint | undefined> => {
  if (startFrom === 'CURRENT') return undefined;
  if (startFrom === 'BEGINNING') return 0n;
  if (startFrom !== 'END') return startFrom.lastCheckpoint;
  const { rows } = await client.query<{ horizon: string }>('SELECT es_horizon() AS horizon');
  return BigInt(rows[0]!.horizon);
};

