import {
  projector,
  reactor,
  type AnyEvent,
  type AnyMessage,
  type Message,
  type MessageConsumer,
  type MessageProcessor,
  type MessageProcessorStartFrom,
  type ProjectorOptions,
  type ReactorOptions,
} from '@event-driven-io/emmett';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClientBase, Pool } from 'pg';
import { inTransaction, withConnection } from './connection.js';
import type { EventstoreHandlerContext, EventstoreStore } from './eventStore.js';
import { fetchPage, openSubscription, type Page } from './subscription.js';
import type { EventstoreReadEvent, EventstoreReadEventMetadata } from './streams.js';

export type EventstoreConsumerOptions = {
  consumerId?: string;
  /** Events handled in one transaction at most. */
  batchSize?: number;
  /** How long a processor that is up to date waits for an append to wake it before it looks again. */
  pollingIntervalMs?: number;
};

/** What a processor takes beside Emmett's own options. */
export type EventstoreProcessorOptions = {
  /** Which events it gets, in the store's query language. Default: all; `canHandle` then picks. Fixed once made. */
  query?: { types?: string[]; categories?: string[]; tags?: string[] }[];
  /** How many consumers can share the work. Fixed once made. */
  partitions?: number;
  /** What to do with an event whose handling failed: stop (the default), or go on without its stream for a while. */
  onError?: (error: unknown, message: EventstoreReadEvent) => 'STOP' | { retryAfter: string };
};

type Processor = MessageProcessor<any, EventstoreReadEventMetadata, EventstoreHandlerContext>;
type Registered = {
  processor: Processor;
  options: EventstoreProcessorOptions;
  startFrom: MessageProcessorStartFrom<bigint>;
};
/** What became of a batch, and where the cursor of its partition is. */
type Outcome = { kind: 'handled' | 'idle' | 'stopped'; position: bigint } | { kind: 'busy' };

export type EventstoreConsumer<ConsumerMessageType extends Message = AnyMessage> =
  MessageConsumer<ConsumerMessageType> & {
    reactor<MessageType extends AnyMessage = ConsumerMessageType>(
      options: Omit<
        ReactorOptions<MessageType, EventstoreReadEventMetadata, EventstoreHandlerContext>,
        'checkpoints' | 'processingScope' | 'eachBatch'
      > &
        EventstoreProcessorOptions,
    ): Processor;
    projector<EventType extends AnyEvent = ConsumerMessageType & AnyEvent>(
      options: Omit<
        ProjectorOptions<EventType, EventstoreReadEventMetadata, EventstoreHandlerContext>,
        'checkpoints' | 'processingScope'
      > &
        EventstoreProcessorOptions,
    ): Processor;
  };

export const eventstoreConsumer = <ConsumerMessageType extends Message = AnyMessage>(
  pool: Pool,
  using: (client: ClientBase) => EventstoreStore,
  { consumerId = randomUUID(), batchSize = 100, pollingIntervalMs = 250 }: EventstoreConsumerOptions = {},
): EventstoreConsumer<ConsumerMessageType> => {
  const registered: Registered[] = [];
  let stopping = new AbortController();
  let running: Promise<void> | undefined;

  const contextOf = (client: ClientBase): EventstoreHandlerContext => ({ client, eventStore: using(client) });

  const register = (
    processor: Processor,
    options: EventstoreProcessorOptions,
    startFrom: MessageProcessorStartFrom<bigint>,
  ): Processor => {
    if (running) throw new Error('processors are added before the consumer starts');
    registered.push({ processor, options, startFrom });
    return processor;
  };

  // The cursor moves in the transaction that handles the events, so what that commits is done exactly once.
  const handleBatch = (entry: Registered): Promise<Outcome> =>
    withConnection(pool, (client) =>
      inTransaction(
        client,
        async () => {
          const page = await fetchPage(client, entry.processor.id, batchSize);
          if (!page) return { kind: 'busy' as const };
          return handlePage(client, entry, page, contextOf(client));
        },
        'BEGIN ISOLATION LEVEL READ COMMITTED',
      ),
    );

  const waitForMore = async (outcome: Outcome): Promise<void> => {
    if (outcome.kind === 'idle')
      await pool.query("CALL es_wait($1, $2 * interval '1 millisecond', NULL)", [
        outcome.position.toString(),
        pollingIntervalMs,
      ]);
    else await sleep(pollingIntervalMs, undefined, { signal: stopping.signal }).catch(() => {});
  };

  const run = async (entry: Registered): Promise<void> => {
    const { processor } = entry;
    await withConnection(pool, (client) =>
      inTransaction(
        client,
        async () => {
          await openSubscription(client, processor.id, entry.options, entry.startFrom);
          await processor.start(contextOf(client));
        },
        'BEGIN ISOLATION LEVEL READ COMMITTED',
      ),
    );
    while (!stopping.signal.aborted && processor.isActive) {
      const outcome = await handleBatch(entry);
      if (outcome.kind === 'stopped') break;
      if (outcome.kind !== 'handled' && !stopping.signal.aborted) await waitForMore(outcome);
    }
  };

  const close = async (): Promise<void> => {
    await stop();
    for (const { processor } of registered)
      await withConnection(pool, (client) => processor.close(contextOf(client)));
  };

  const stop = async (): Promise<void> => {
    stopping.abort();
    await running?.catch(() => {});
  };

  return {
    consumerId,
    get isRunning() {
      return running !== undefined;
    },
    get processors() {
      return registered.map(({ processor }) => processor);
    },

    reactor: (options) =>
      register(reactor(options as never) as unknown as Processor, options, options.startFrom ?? 'CURRENT'),

    projector: (options) =>
      register(
        projector(options as never) as unknown as Processor,
        options,
        // An emptied read model is filled from the beginning.
        options.startFrom ?? (options.truncateOnStart ? 'BEGINNING' : 'CURRENT'),
      ),

    // Resolves when every processor has stopped; rejects with the first error, after the others have stopped, too.
    start: () => {
      if (registered.length === 0) return Promise.reject(new Error('the consumer has no processors'));
      stopping = new AbortController();
      running ??= Promise.allSettled(
        registered.map((entry) =>
          run(entry).catch((error: unknown) => {
            stopping.abort();
            throw error;
          }),
        ),
      ).then((results) => {
        running = undefined;
        const failed = results.find((result) => result.status === 'rejected');
        if (failed) throw failed.reason;
      });
      return running;
    },
    stop,
    close,
  };
};

const handlePage = async (
  client: ClientBase,
  { processor, options: { onError } }: Registered,
  page: Page,
  context: EventstoreHandlerContext,
): Promise<Outcome> => {
  const parkedStreams = new Set<string>();

  for (const { message, parked } of page.messages) {
    const { streamName, globalPosition } = message.metadata;
    // Its stream was parked a moment ago, and with it this event.
    if (parkedStreams.has(streamName)) continue;

    if (onError) await client.query('SAVEPOINT es_event');
    try {
      // One by one: only so is it known which of them was the last when the processor stops.
      const result = await processor.handle([message], context);
      if (result?.type === 'STOP' && result.error) throw result.error;
      if (parked) await client.query('SELECT es_unpark($1, $2)', [processor.id, globalPosition.toString()]);
      if (!processor.isActive) {
        const position = parked ? page.from : globalPosition;
        await page.advance(position);
        return { kind: 'stopped', position };
      }
    } catch (error) {
      const decision = onError?.(error, message) ?? 'STOP';
      if (decision === 'STOP') throw error;
      await client.query('ROLLBACK TO SAVEPOINT es_event');
      await client.query('SELECT es_park($1, $2, $3, $4)', [
        processor.id,
        globalPosition.toString(),
        error instanceof Error ? error.message : String(error),
        decision.retryAfter,
      ]);
      parkedStreams.add(streamName);
    }
  }
  await page.advance(page.to);
  return { kind: page.messages.length > 0 || page.to > page.from ? 'handled' : 'idle', position: page.to };
};

