import type { ClientBase, Pool, PoolClient } from 'pg';

/** What runs a statement: a pool, or one of its connections. */
export type Queryable = Pick<ClientBase, 'query'> | Pick<Pool, 'query'>;

/** Lend a connection of the pool to `work`. One that `work` could not leave clean is closed. */
export const withConnection = async <T>(
  pool: Pool,
  work: (client: PoolClient) => Promise<T>,
): Promise<T> => {
  const client = await pool.connect();
  let broken: Error | undefined;
  // A connection that is lost while nobody waits for it must not end the process.
  const onError = (error: Error) => {
    broken = error;
  };
  client.on('error', onError);
  try {
    return await work(client);
  } catch (error) {
    broken ??= error instanceof BrokenConnection ? error : undefined;
    throw error instanceof BrokenConnection ? error.cause : error;
  } finally {
    client.removeListener('error', onError);
    client.release(broken);
  }
};

/** Run `work` in a transaction on `client`: commit when it returns, roll back when it throws. */
export const inTransaction = async <T>(
  client: ClientBase,
  work: () => Promise<T>,
  begin = 'BEGIN',
): Promise<T> => {
  await client.query(begin);
  let result: T;
  try {
    result = await work();
  } catch (error) {
    // Without a connection there is nothing to roll back, and the first error is the one to tell.
    await client.query('ROLLBACK').catch(() => {
      throw new BrokenConnection(error);
    });
    throw error;
  }
  // A statement that failed inside and was caught there makes COMMIT roll back, silently.
  const { command } = await client.query('COMMIT');
  if (command !== 'COMMIT') throw new Error('the transaction was rolled back: a statement in it had failed');
  return result;
};

class BrokenConnection extends Error {
  constructor(cause: unknown) {
    super('connection lost', { cause });
  }
}
