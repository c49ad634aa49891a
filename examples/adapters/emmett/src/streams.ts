import {
  ExpectedVersionConflictError,
  IllegalStateError,
  JSONParser,
  NO_CONCURRENCY_CHECK,
  STREAM_DOES_NOT_EXIST,
  STREAM_EXISTS,
  assertExpectedVersionMatchesCurrent,
  downcastRecordedMessages,
  upcastRecordedMessage,
  type AppendToStreamOptions,
  type BigIntStreamPosition,
  type Event,
  type ExpectedStreamVersion,
  type ReadEvent,
  type ReadEventMetadataWithGlobalPosition,
  type ReadStreamOptions,
  type ReadStreamResult,
} from '@event-driven-io/emmett';
import type { Queryable } from './connection.js';

export type EventstoreReadEventMetadata = ReadEventMetadataWithGlobalPosition;
export type EventstoreReadEvent<EventType extends Event = Event> = ReadEvent<
  EventType,
  EventstoreReadEventMetadata
>;

/** A row of es_read() or es_fetch(). A bigint arrives as a string, or as what the user's type parser makes of it. */
export type EventRow = {
  key: string;
  version: string;
  position: string;
  id: string;
  type: string;
  data: unknown;
  metadata: Record<string, unknown> | null;
};

export const toReadEvent = <EventType extends Event>(row: EventRow): EventstoreReadEvent<EventType> =>
  ({
    type: row.type,
    data: row.data,
    kind: 'Event',
    metadata: {
      ...row.metadata,
      messageId: row.id,
      streamName: row.key,
      streamPosition: BigInt(row.version),
      globalPosition: BigInt(row.position),
    },
  }) as unknown as EventstoreReadEvent<EventType>;

// es_version() and es_read() see the same snapshot, so one row tells both, also of a stream without events to show.
const READ = `
  SELECT v.current, e.key, e.version, e.position, e.id, e.type, e.data, e.metadata
  FROM (SELECT es_version($1) AS current) AS v
  LEFT JOIN LATERAL es_read($1, $2, $3, $4) AS e ON true
  ORDER BY e.version`;

export const readStream = async <EventType extends Event, EventPayloadType extends Event = EventType>(
  db: Queryable,
  streamName: string,
  options?: ReadStreamOptions<BigIntStreamPosition, EventType, EventPayloadType>,
): Promise<ReadStreamResult<EventType, EventstoreReadEventMetadata>> => {
  // Positions begin with 1; Emmett's other stores take 0 for the beginning, too.
  const from = options?.from && options.from > 0n ? options.from : 1n;
  const { rows } = await db.query<EventRow & { current: string }>(READ, [
    streamName,
    from.toString(),
    options?.to?.toString() ?? null,
    options?.maxCount?.toString() ?? null,
  ]);
  const current = BigInt(rows[0]!.current);

  assertExpectedVersionMatchesCurrent(current, toBigInt(options?.expectedStreamVersion), 0n);

  const events = rows
    .filter((row) => row.key !== null)
    .map((row) =>
      upcastRecordedMessage<EventType, EventPayloadType, EventstoreReadEventMetadata>(
        toReadEvent<EventPayloadType>(row),
        options?.schema?.versioning,
      ),
    ) as EventstoreReadEvent<EventType>[];

  return {
    // What a decision is based on: the last event read, not one that came later.
    currentStreamVersion: events.at(-1)?.metadata.streamPosition ?? current,
    events,
    streamExists: current > 0n,
  };
};

export const streamVersion = async (db: Queryable, streamName: string): Promise<bigint> => {
  const { rows } = await db.query<{ version: string }>('SELECT es_version($1) AS version', [streamName]);
  return BigInt(rows[0]!.version);
};

export type EventstoreAppendToStreamOptions<
  EventType extends Event = Event,
  EventPayloadType extends Event = EventType,
> = AppendToStreamOptions<BigIntStreamPosition, EventType, EventPayloadType> & {
  /** Names the request, so that repeating it after a lost answer appends nothing twice. */
  requestId?: string;
};

export type Appended = {
  version: bigint;
  lastPosition: bigint;
  /** The request id was known: the events were in already. */
  repeated: boolean;
};

export const appendToStream = async <EventType extends Event, EventPayloadType extends Event = EventType>(
  db: Queryable,
  streamName: string,
  events: EventType[],
  options?: EventstoreAppendToStreamOptions<EventType, EventPayloadType>,
): Promise<Appended> => {
  const expected = toBigInt(options?.expectedStreamVersion) ?? NO_CONCURRENCY_CHECK;
  const stored = downcastRecordedMessages<EventType, EventPayloadType>(events, options?.schema?.versioning);
  // es_try_append() refuses by a row: no error in the server's log, and a transaction around it goes on.
  const { rows } = await db.query<{ status: string; version: string; last_position: string }>(
    'SELECT status, version, last_position FROM es_try_append($1, $2, $3, $4, $5)',
    [
      streamName,
      JSONParser.stringify(stored.map(toJson)),
      expected === STREAM_DOES_NOT_EXIST ? '0' : typeof expected === 'bigint' ? expected.toString() : null,
      expected === NO_CONCURRENCY_CHECK,
      options?.requestId ?? null,
    ],
  );
  const { status, version, last_position } = rows[0]!;

  switch (status) {
    case 'appended':
    case 'repeated':
      return { version: BigInt(version), lastPosition: BigInt(last_position), repeated: status === 'repeated' };
    case 'version_conflict':
      throw new ExpectedVersionConflictError(BigInt(version), expected);
    case 'aggregate_not_found':
      throw new ExpectedVersionConflictError(0n, STREAM_EXISTS);
    default:
      throw new IllegalStateError(`append to stream "${streamName}" was refused: ${status}`);
  }
};

/** An event for es_append(). Absent data and metadata stay absent. */
const toJson = (event: Event) => ({
  type: event.type,
  data: event.data as unknown,
  metadata: 'metadata' in event ? ((event.metadata as unknown) ?? undefined) : undefined,
});

/** Callers in JavaScript give numbers, too. */
const toBigInt = <V extends ExpectedStreamVersion | undefined>(expected: V): V =>
  (typeof expected === 'number' ? BigInt(expected) : expected) as V;
