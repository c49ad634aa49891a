export { EventstoreEventStorageAdapter } from './adapter.js';
export { EventstoreEventAlreadyExistsError, EventstoreForceError, EventstoreVersionGapError } from './errors.js';
