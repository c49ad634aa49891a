import { eventAlreadyExistsErrorCode, type EventAlreadyExistsError } from '@castore/core';

type Where = { eventStoreId: string; aggregateId: string; version: number };

/** Somebody was faster: read the aggregate again, and decide again. */
export class EventstoreEventAlreadyExistsError extends Error implements EventAlreadyExistsError {
  readonly code = eventAlreadyExistsErrorCode;
  readonly eventStoreId: string;
  readonly aggregateId: string;
  readonly version: number;

  constructor({ eventStoreId, aggregateId, version }: Where) {
    super(`Event already exists for ${eventStoreId} aggregate ${aggregateId} and version ${version}`);
    this.eventStoreId = eventStoreId;
    this.aggregateId = aggregateId;
    this.version = version;
  }
}

/** The event would leave a gap behind the last one of its aggregate. */
export class EventstoreVersionGapError extends Error {
  constructor({ eventStoreId, aggregateId, version }: Where, actual: number) {
    super(`${eventStoreId} aggregate ${aggregateId} is at version ${actual}: version ${version} cannot follow`);
  }
}

/** `force` cannot overwrite: stored events never change. */
export class EventstoreForceError extends Error {
  constructor({ eventStoreId, aggregateId, version }: Where) {
    super(`${eventStoreId} aggregate ${aggregateId} has another event at version ${version}, which force cannot overwrite`);
  }
}
