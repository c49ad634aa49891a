import {
  GroupedEvent,
  type EventDetail,
  type EventsQueryOptions,
  type EventStorageAdapter,
  type EventStoreContext,
  type ListAggregateIdsOptions,
  type ListAggregateIdsOutput,
  type OptionalTimestamp,
  type PushEventOptions,
} from '@castore/core';
import { isDeepStrictEqual } from 'node:util';
import type { Pool } from 'pg';
import { EventstoreEventAlreadyExistsError, EventstoreForceError, EventstoreVersionGapError } from './errors.js';
import { TIME_SQL, categoryOf, keyOf, toDetail, toStored, toTimeText, toTimestamp, type StoredEvent } from './events.js';

type Push = { event: OptionalTimestamp<EventDetail>; eventStoreId: string };
type ContextualEvent = GroupedEvent & { context: EventStoreContext };
type PageToken = Omit<ListAggregateIdsOptions, 'pageToken'> & {
  lastEvaluatedKey?: { aggregateId: string; initialEventTimestamp: string };
};

const READ = `
  SELECT version, type, data, data IS NOT NULL AS has_data, metadata, (${TIME_SQL})::text AS time
  FROM es_read($1, $2, $3, $4, $5) ORDER BY version`;

const PUSH = `
  SELECT entry, status, version, trunc(extract(epoch FROM recorded_at) * 1000)::text AS time
  FROM es_try_append_many($1) ORDER BY entry`;

// The first events of the aggregates of one event store, from where the last page ended. The range of keys says
// no more than their category; it is what the primary key can look up where the index for the category is missing.
const listSql = (table: string, reverse: boolean): string => `
  SELECT substr(key, length($1) + 2) AS "aggregateId", (${TIME_SQL})::text AS time
  FROM ${table}
  WHERE es_category(key) = $1 AND key > $1 || '-' AND key < $1 || '.' AND version = 1
    AND ($2::numeric IS NULL OR ${TIME_SQL} >= $2)
    AND ($3::numeric IS NULL OR ${TIME_SQL} <= $3)
    AND ($4::numeric IS NULL OR (${TIME_SQL}, key) ${reverse ? '<' : '>'} ($4, $5))
  ORDER BY ${TIME_SQL} ${reverse ? 'DESC' : ''}, key ${reverse ? 'DESC' : ''} LIMIT $6`;

export class EventstoreEventStorageAdapter implements EventStorageAdapter {
  readonly pool: Pool;

  /** The statement for an index that listAggregateIds() needs where there are many aggregates. */
  static indexSql = (name = 'es_events_castore'): string =>
    `CREATE INDEX ${name} ON es_events (es_category(key), (${TIME_SQL}), key) WHERE version = 1`;

  constructor({ pool }: { pool: Pool }) {
    this.pool = pool;
  }

  getEvents = async (
    aggregateId: string,
    { eventStoreId }: EventStoreContext,
    { minVersion, maxVersion, limit, reverse = false }: EventsQueryOptions = {},
  ): Promise<{ events: EventDetail[] }> => {
    const { rows } = await this.pool.query<StoredEvent>(reverse ? `${READ} DESC` : READ, [
      keyOf(eventStoreId, aggregateId),
      Math.max(minVersion ?? 1, 1),
      maxVersion ?? null,
      limit ?? null,
      reverse,
    ]);
    return { events: rows.map((row) => toDetail(aggregateId, row)) };
  };

  pushEvent = async (
    event: OptionalTimestamp<EventDetail>,
    { eventStoreId, force = false }: PushEventOptions,
  ): Promise<{ event: EventDetail }> => {
    const [pushed] = await this.push([{ event, eventStoreId }], force);
    return { event: pushed! };
  };

  pushEventGroup = async (
    { force = false }: { force?: boolean },
    ...groupedEvents: [GroupedEvent, ...GroupedEvent[]]
  ): Promise<{ eventGroup: { event: EventDetail }[] }> => {
    const pushes = this.checkGroup(groupedEvents).map(({ event, context: { eventStoreId } }) => ({
      event,
      eventStoreId,
    }));
    const timestamp = commonTimestamp(pushes);
    const pushed = await this.push(
      timestamp === undefined ? pushes : pushes.map((push) => ({ ...push, event: { ...push.event, timestamp } })),
      force,
    );
    return { eventGroup: pushed.map((event) => ({ event })) };
  };

  groupEvent = (event: OptionalTimestamp<EventDetail>): GroupedEvent =>
    new GroupedEvent({ event, eventStorageAdapter: this });

  listAggregateIds = async (
    { eventStoreId }: EventStoreContext,
    { pageToken, ...given }: ListAggregateIdsOptions = {},
  ): Promise<ListAggregateIdsOutput> => {
    const { lastEvaluatedKey, ...page }: PageToken = { ...given, ...parseToken(pageToken) };
    const { limit, initialEventAfter, initialEventBefore, reverse = false } = page;
    // The functions find the store by a setting or by the search path; a table must be told.
    const store = await this.pool.query<{ name: string }>('SELECT quote_ident(es_current_store()) AS name');
    const sql = listSql(`${store.rows[0]!.name}.es_events`, reverse);
    const { rows } = await this.pool.query<{ aggregateId: string; time: string }>(sql, [
      categoryOf(eventStoreId),
      toTimeText(initialEventAfter),
      toTimeText(initialEventBefore),
      toTimeText(lastEvaluatedKey?.initialEventTimestamp),
      lastEvaluatedKey ? keyOf(eventStoreId, lastEvaluatedKey.aggregateId) : null,
      // One more, to know whether there is a next page.
      limit === undefined ? null : limit + 1,
    ]);
    const aggregateIds = rows
      .slice(0, limit)
      .map(({ aggregateId, time }) => ({ aggregateId, initialEventTimestamp: toTimestamp(time) }));
    const hasNextPage = rows.length > aggregateIds.length;
    return {
      aggregateIds,
      ...(hasNextPage ? { nextPageToken: JSON.stringify({ ...page, lastEvaluatedKey: aggregateIds.at(-1) }) } : {}),
    };
  };

  /** Append all or nothing, in one call. It refuses by rows: no error in the server's log. */
  private async push(pushes: Push[], force: boolean): Promise<EventDetail[]> {
    const known = force ? await this.findEqual(pushes) : pushes.map(() => undefined);
    const missing = pushes.flatMap((push, index) => (known[index] ? [] : [{ ...push, index }]));
    const pushed: EventDetail[] = known.map((event) => event!);
    if (missing.length === 0) return pushed;

    const writes = missing.map(({ event, eventStoreId }) => ({
      key: keyOf(eventStoreId, event.aggregateId),
      expected_version: checkVersion(event.version) - 1,
      events: [toStored(event)],
    }));
    const { rows } = await this.pool.query<{ status: string; version: string; time: string }>(PUSH, [
      JSON.stringify(writes),
    ]);
    const refused = rows.findIndex(({ status }) => status !== 'appended' && status !== 'not_written');
    if (refused !== -1) throw refusal(missing[refused]!, rows[refused]!);

    missing.forEach(({ event, index }, entry) => {
      pushed[index] = { ...event, timestamp: toTimestamp(toTimeText(event.timestamp) ?? rows[entry]!.time) };
    });
    return pushed;
  }

  /** For `force`: the events that are there already, just so. Stored ones that differ are an error. */
  private findEqual(pushes: Push[]): Promise<(EventDetail | undefined)[]> {
    return Promise.all(
      pushes.map(async ({ event, eventStoreId }) => {
        const { aggregateId, version } = event;
        const { events } = await this.getEvents(
          aggregateId,
          { eventStoreId },
          { minVersion: version, maxVersion: version },
        );
        const [stored] = events;
        if (stored && !isSameEvent(stored, event)) throw new EventstoreForceError({ eventStoreId, aggregateId, version });
        return stored;
      }),
    );
  }

  private checkGroup(groupedEvents: GroupedEvent[]): ContextualEvent[] {
    return groupedEvents.map((groupedEvent, index) => {
      const { eventStorageAdapter, context } = groupedEvent;
      // One call reaches one database: an event for another one would go astray.
      if (!(eventStorageAdapter instanceof EventstoreEventStorageAdapter) || eventStorageAdapter.pool !== this.pool)
        throw new Error(`Event group event #${index} is not connected to an EventstoreEventStorageAdapter of this pool`);
      if (context === undefined) throw new Error(`Event group event #${index} misses context`);
      return groupedEvent as ContextualEvent;
    });
  }
}

const checkVersion = (version: number): number => {
  if (!Number.isSafeInteger(version) || version < 1) throw new Error(`version must be from 1, not ${version}`);
  return version;
};

const commonTimestamp = (pushes: Push[]): string | undefined => {
  const [first, ...others] = new Set(pushes.flatMap(({ event: { timestamp } }) => timestamp ?? []));
  if (others.length > 0) throw new Error(`Event group events have different timestamps: ${first}, ${others[0]}`);
  return first;
};

const refusal = ({ event, eventStoreId }: Push, { status, version }: { status: string; version: string }): Error => {
  const where = { eventStoreId, aggregateId: event.aggregateId, version: event.version };
  if (status !== 'version_conflict') return new Error(`push was refused: ${status}`);
  return Number(version) >= event.version
    ? new EventstoreEventAlreadyExistsError(where)
    : new EventstoreVersionGapError(where, Number(version));
};

/** As the store would have kept it: undefined fields gone, dates as strings. Without a timestamp, any will do. */
const isSameEvent = (stored: EventDetail, event: OptionalTimestamp<EventDetail>): boolean =>
  isDeepStrictEqual(
    stored,
    JSON.parse(JSON.stringify({ ...event, timestamp: toTimestamp(toTimeText(event.timestamp) ?? Date.parse(stored.timestamp)) })),
  );

const parseToken = (pageToken: string | undefined): PageToken => {
  if (pageToken === undefined) return {};
  try {
    return JSON.parse(pageToken) as PageToken;
  } catch {
    throw new Error('Invalid page token');
  }
};
