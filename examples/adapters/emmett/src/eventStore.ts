import {
  assertExpectedVersionMatchesCurrent,
  tryPublishMessagesAfterCommit,
  type AggregateStreamOptions,
  type AggregateStreamResult,
  type AnyMessage,
  type AppendToStreamResultWithGlobalPosition,
  type BigIntStreamPosition,
  type DefaultEventStoreOptions,
  type Event,
  type EventStore,
  type EventStoreSession,
  type EventStoreSessionFactory,
  type ExpectedStreamVersion,
  type Message,
  type ProjectionDefinition,
  type ProjectionRegistration,
  type ReadStreamOptions,
  type ReadStreamResult,
} from '@event-driven-io/emmett';
import type { ClientBase, Pool } from 'pg';
import { inTransaction, withConnection, type Queryable } from './connection.js';
import { eventstoreConsumer, type EventstoreConsumer, type EventstoreConsumerOptions } from './consumer.js';
import {
  appendToStream,
  readStream,
  streamVersion,
  type Appended,
  type EventstoreAppendToStreamOptions,
  type EventstoreReadEvent,
  type EventstoreReadEventMetadata,
} from './streams.js';

/** What projections and processors get: the connection whose transaction they are in, and the store in it. */
export type EventstoreHandlerContext = {
  client: ClientBase;
  eventStore: EventstoreStore;
};

export type EventstoreProjectionDefinition<EventType extends Event = Event> = ProjectionDefinition<
  EventType,
  EventstoreReadEventMetadata,
  EventstoreHandlerContext
>;

export type EventstoreOptions = DefaultEventStoreOptions<EventstoreStore> & {
  /** Run in the transaction of the append: `projections.inline([...])`. */
  projections?: ProjectionRegistration<'inline', EventstoreReadEventMetadata, EventstoreHandlerContext>[];
};

/** The store without what needs a pool: it works in a transaction, or on a connection, of somebody else. */
export interface EventstoreStore extends EventStore<EventstoreReadEventMetadata> {
  appendToStream<EventType extends Event, EventPayloadType extends Event = EventType>(
    streamName: string,
    events: EventType[],
    options?: EventstoreAppendToStreamOptions<EventType, EventPayloadType>,
  ): Promise<AppendToStreamResultWithGlobalPosition>;
}

export interface EventstoreEventStore extends EventstoreStore, EventStoreSessionFactory<EventstoreStore> {
  /** The store in the open transaction of `client`, which stays the caller's to commit. No hook is called. */
  using(client: ClientBase): EventstoreStore;
  /** Run `work` in a transaction; hooks are called after its commit. */
  withTransaction<T>(work: (context: EventstoreHandlerContext) => Promise<T>): Promise<T>;
  consumer<ConsumerMessageType extends Message = AnyMessage>(
    options?: EventstoreConsumerOptions,
  ): EventstoreConsumer<ConsumerMessageType>;
  schema: {
    /** Make the store's tables if they are missing, and call `init` of the inline projections. */
    migrate(): Promise<void>;
  };
}

/** Where the statements of a store go. */
type Target = {
  db: Queryable;
  /** Run an append with its projections as one; the client is that of the transaction. */
  atomically<T>(work: (client: ClientBase) => Promise<T>): Promise<T>;
  /** What was appended, once it is committed. */
  committed(events: EventstoreReadEvent[]): Promise<void>;
};

export const getEventstoreEventStore = (pool: Pool, options: EventstoreOptions = {}): EventstoreEventStore => {
  const projections = (options.projections ?? []).filter(({ type }) => type === 'inline').map((r) => r.projection);
  const announces = options.hooks?.onAfterCommit !== undefined;
  const publish = async (events: EventstoreReadEvent[]) => {
    if (events.length > 0) await tryPublishMessagesAfterCommit<EventstoreStore>(events, options.hooks);
  };

  const using = (client: ClientBase, committed: Target['committed'] = async () => {}): EventstoreStore =>
    storeOn({ db: client, atomically: (work) => work(client), committed }, projections, announces);

  const withTransaction: EventstoreEventStore['withTransaction'] = async (work) => {
    const appended: EventstoreReadEvent[] = [];
    const result = await withConnection(pool, (client) =>
      inTransaction(client, () =>
        work({
          client,
          eventStore: using(client, async (events) => void appended.push(...events)),
        }),
      ),
    );
    await publish(appended);
    return result;
  };

  const store = storeOn(
    {
      db: pool,
      atomically: (work) => withConnection(pool, (client) => inTransaction(client, () => work(client))),
      committed: publish,
    },
    projections,
    announces,
  );

  return {
    ...store,
    using: (client) => using(client),
    withTransaction,

    // One connection for reading and appending; the version protects what is between, not a transaction.
    withSession: <T>(callback: (session: EventStoreSession<EventstoreStore>) => Promise<T>): Promise<T> =>
      withConnection(pool, (client) =>
        callback({
          eventStore: storeOn(
            { db: client, atomically: (work) => inTransaction(client, () => work(client)), committed: publish },
            projections,
            announces,
          ),
          close: () => Promise.resolve(),
        }),
      ),

    consumer: (consumerOptions) => eventstoreConsumer(pool, using, consumerOptions),

    schema: {
      migrate: () =>
        withTransaction(async (context) => {
          await context.client.query(
            `SELECT es_create_store(coalesce(nullif(current_setting('eventstore.store', true), ''), current_schema),
                                    if_not_exists => true)`,
          );
          for (const { init, version } of projections)
            await init?.({ version: version ?? 1, status: 'active', registrationType: 'inline', context });
        }),
    },
  };
};

const storeOn = (
  target: Target,
  projections: ProjectionDefinition<Event, EventstoreReadEventMetadata, EventstoreHandlerContext>[],
  announces: boolean,
): EventstoreStore => {
  const read = <EventType extends Event, EventPayloadType extends Event = EventType>(
    streamName: string,
    options?: ReadStreamOptions<BigIntStreamPosition, EventType, EventPayloadType>,
  ): Promise<ReadStreamResult<EventType, EventstoreReadEventMetadata>> =>
    readStream<EventType, EventPayloadType>(target.db, streamName, options);

  return {
    readStream: read,

    aggregateStream: async <State, EventType extends Event, EventPayloadType extends Event = EventType>(
      streamName: string,
      options: AggregateStreamOptions<State, EventType, EventstoreReadEventMetadata, EventPayloadType>,
    ): Promise<AggregateStreamResult<State>> => {
      const { events, currentStreamVersion, streamExists } = await read<EventType, EventPayloadType>(
        streamName,
        options.read,
      );
      const evolve = options.evolve as (state: State, event: EventstoreReadEvent<EventType>) => State;

      return { state: events.reduce(evolve, options.initialState()), currentStreamVersion, streamExists };
    },

    appendToStream: async <EventType extends Event, EventPayloadType extends Event = EventType>(
      streamName: string,
      events: EventType[],
      options?: EventstoreAppendToStreamOptions<EventType, EventPayloadType>,
    ): Promise<AppendToStreamResultWithGlobalPosition> => {
      if (events.length === 0) return nothingToAppend(target.db, streamName, options?.expectedStreamVersion);

      let recorded: EventstoreReadEvent[] = [];
      const append = async (db: Queryable): Promise<Appended> =>
        appendToStream<EventType, EventPayloadType>(db, streamName, events, options);
      const appended =
        projections.length === 0 && !announces
          ? await append(target.db)
          : await target.atomically(async (client) => {
              const result = await append(client);
              // A repeated request was projected and announced when it landed.
              if (!result.repeated) {
                recorded = await asRecorded(client, streamName, events, result);
                recorded.push(...(await project(recorded, client)));
              }
              return result;
            });

      await target.committed(recorded);
      return {
        nextExpectedStreamVersion: appended.version,
        lastEventGlobalPosition: appended.lastPosition,
        createdNewStream: appended.version === BigInt(events.length),
      };
    },

    streamExists: async (streamName) => (await streamVersion(target.db, streamName)) > 0n,
  };

  /** Run the projections; returns what they have appended themselves. */
  async function project(events: EventstoreReadEvent[], client: ClientBase): Promise<EventstoreReadEvent[]> {
    const appended: EventstoreReadEvent[] = [];
    const eventStore = storeOn(
      {
        db: client,
        atomically: (work) => work(client),
        committed: async (more) => void appended.push(...more),
      },
      projections,
      announces,
    );
    for (const { canHandle, handle } of projections) {
      const wanted = events.filter(({ type }) => canHandle.includes(type));
      if (wanted.length > 0) await handle(wanted, { client, eventStore });
    }
    return appended;
  }
};

/** The events as given, with the metadata that the store gave them. */
const asRecorded = async (
  db: Queryable,
  streamName: string,
  events: Event[],
  { version }: Appended,
): Promise<EventstoreReadEvent[]> => {
  const first = version - BigInt(events.length) + 1n;
  const { rows } = await db.query<{ id: string; version: string; position: string }>(
    'SELECT id, version, position FROM es_read($1, $2, $3) ORDER BY version',
    [streamName, first.toString(), version.toString()],
  );
  return events.map((event, index) => {
    const row = rows[index]!;
    return {
      ...event,
      kind: 'Event',
      metadata: {
        ...('metadata' in event ? (event.metadata as object) : undefined),
        messageId: row.id,
        streamName,
        streamPosition: BigInt(row.version),
        globalPosition: BigInt(row.position),
      },
    } as EventstoreReadEvent;
  });
};

/** An append of no events checks what it expects, and changes nothing. */
const nothingToAppend = async (
  db: Queryable,
  streamName: string,
  expected?: ExpectedStreamVersion,
): Promise<AppendToStreamResultWithGlobalPosition> => {
  const { rows } = await db.query<{ version: string; position: string }>(
    `SELECT es_version($1) AS version,
            coalesce((SELECT position FROM es_read($1, max_count => 1, backwards => true)), 0) AS position`,
    [streamName],
  );
  const version = BigInt(rows[0]!.version);
  assertExpectedVersionMatchesCurrent(version, expected, 0n);
  return {
    nextExpectedStreamVersion: version,
    lastEventGlobalPosition: BigInt(rows[0]!.position),
    createdNewStream: false,
  };
};
