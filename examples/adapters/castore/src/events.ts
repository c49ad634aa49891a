import type { EventDetail, OptionalTimestamp } from '@castore/core';

// What castore knows and an event of the store has no place for goes to these fields of its metadata.
const TIME = 'castore_time';
const WRAPPED = 'castore_metadata';

/** When an event happened by castore's lights, in milliseconds: as given, or when it was recorded. */
export const TIME_SQL = `coalesce((metadata ->> '${TIME}')::numeric,
  floor(extract(epoch FROM recorded_at AT TIME ZONE 'UTC') * 1000))`;

/**
 * The key of an aggregate. Its category, the part before the first dash, is the event store, so a dash
 * in the id of the store (and what is used to tell it) must become something else.
 */
export const keyOf = (eventStoreId: string, aggregateId: string): string =>
  `${categoryOf(eventStoreId)}-${aggregateId}`;

export const categoryOf = (eventStoreId: string): string =>
  eventStoreId.replace(/[%-]/g, (character) => (character === '-' ? '%2D' : '%25'));

/** The event for es_append(). */
export const toStored = ({ type, payload, metadata, timestamp }: OptionalTimestamp<EventDetail>): object => ({
  type,
  data: payload,
  metadata: toStoredMetadata(metadata, timestamp),
});

const toStoredMetadata = (metadata: unknown, timestamp: string | undefined): object | undefined => {
  const time = timestamp === undefined ? undefined : { [TIME]: toTime(timestamp) };
  if (metadata === undefined) return time;
  // Only an object with fields can be told from none at all once the time is beside it.
  if (typeof metadata !== 'object' || metadata === null || Array.isArray(metadata) || Object.keys(metadata).length === 0)
    return { [WRAPPED]: metadata, ...time };
  if (TIME in metadata || WRAPPED in metadata)
    throw new Error(`metadata must not have the fields "${TIME}" and "${WRAPPED}"`);
  return { ...metadata, ...time };
};

const toTime = (timestamp: string): number => {
  const time = Date.parse(timestamp);
  if (Number.isNaN(time)) throw new Error(`"${timestamp}" is not a timestamp`);
  return time;
};

export const toTimeText = (timestamp: string | undefined): string | null =>
  timestamp === undefined ? null : toTime(timestamp).toString();

export const toTimestamp = (time: string | number): string => new Date(Number(time)).toISOString();

export type StoredEvent = {
  version: string;
  type: string;
  data: unknown;
  has_data: boolean;
  metadata: Record<string, unknown> | null;
  time: string;
};

export const toDetail = (aggregateId: string, row: StoredEvent): EventDetail => {
  const { [TIME]: _, ...stored } = row.metadata ?? {};
  const metadata = WRAPPED in stored ? stored[WRAPPED] : Object.keys(stored).length > 0 ? stored : undefined;
  return {
    aggregateId,
    version: Number(row.version),
    type: row.type,
    timestamp: toTimestamp(row.time),
    ...(row.has_data ? { payload: row.data } : {}),
    ...(metadata === undefined ? {} : { metadata }),
  };
};
