export {
  getEventstoreEventStore,
  type EventstoreEventStore,
  type EventstoreHandlerContext,
  type EventstoreOptions,
  type EventstoreProjectionDefinition,
  type EventstoreStore,
} from './eventStore.js';
export type {
  EventstoreConsumer,
  EventstoreConsumerOptions,
  EventstoreProcessorOptions,
} from './consumer.js';
export type {
  EventstoreAppendToStreamOptions,
  EventstoreReadEvent,
  EventstoreReadEventMetadata,
} from './streams.js';
