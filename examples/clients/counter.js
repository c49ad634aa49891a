#!/usr/bin/env node
/*
 * Read, decide, append, and again after a conflict: with node-postgres.
 *
 *     counter.js KEY WORKERS INCREMENTS [ATTEMPTS]
 *
 * Each worker increments the counter KEY so many times, all of them at once.  The
 * database is that of the environment variables PGHOST, PGDATABASE and so on.
 *
 * Needs the npm package pg, or the Debian packages nodejs and node-pg.
 */
'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { Pool } = require('pg');

// VE001 is ours: decide again.  40001 and 40P01 are PostgreSQL's own for "start again".
const TRY_AGAIN = new Set(['VE001', '40001', '40P01']);

/* Append what decide() makes of the aggregate; return its new version. */
async function change(pool, key, decide, { attempts = 10, onConflict = () => {} } = {}) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await transaction(pool, async (client) => {
        const { rows: events } = await client.query('SELECT version, data FROM es_read($1)', [key]);
        // A version is a bigint, and therefore a string here: let it be one.
        const version = events.at(-1)?.version ?? '0';
        const { rows: [result] } = await client.query('SELECT es_append($1, $2, $3) AS version',
          // JSON.stringify, because pg would make an SQL array of an array.
          [key, JSON.stringify(decide(events)), version]);
        return result.version;
      });
    } catch (error) {
      if (!TRY_AGAIN.has(error.code) || attempt === attempts) throw error;
      onConflict(error);
    }
    await sleep(Math.random() * Math.min(1000, 5 * 2 ** attempt));
  }
}

async function transaction(pool, work) {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    const result = await work(client);
    await client.query('COMMIT');
    return result;
  } catch (error) {
    // Without a connection there is nothing to roll back, and the first error is the one to tell.
    await client.query('ROLLBACK').catch(() => {});
    throw error;
  } finally {
    client.release();
  }
}

/* The facts of a conflict are in DETAIL, as JSON. */
function describe(error) {
  if (error.code !== 'VE001') return `conflict: SQLSTATE ${error.code}`;
  const [conflict] = JSON.parse(error.detail).conflicts;
  return `conflict: expected version ${conflict.expected}, actual ${conflict.actual}`;
}

/* The decision: it is wrong, and not only late, if the events are old. */
function increment(events) {
  const value = events.at(-1)?.data.value ?? 0;
  return [{ type: 'incremented', data: { value: value + 1 } }];
}

async function work(pool, worker, key, increments, attempts) {
  let conflicts = 0;
  const onConflict = (error) => {
    conflicts++;
    console.error(describe(error));
  };
  try {
    for (let i = 0; i < increments; i++) {
      await change(pool, key, increment, { attempts, onConflict });
    }
  } catch (error) {
    if (!TRY_AGAIN.has(error.code)) throw error;
    console.error(`worker ${worker} gives up: ${describe(error)}`);
    return false;
  }
  console.log(`worker ${worker}: ${increments} increments, ${conflicts} conflicts`);
  return true;
}

async function main(key, workers, increments, attempts = '10') {
  const pool = new Pool({ max: Number(workers) });
  try {
    const done = await Promise.all(Array.from({ length: Number(workers) }, (_, i) =>
      work(pool, i + 1, key, Number(increments), Number(attempts))));
    process.exitCode = done.every(Boolean) ? 0 : 1;
  } finally {
    await pool.end();
  }
}

if (process.argv.length !== 5 && process.argv.length !== 6) {
  console.error('usage: counter.js KEY WORKERS INCREMENTS [ATTEMPTS]');
  process.exitCode = 1;
} else {
  main(...process.argv.slice(2)).catch((error) => {
    console.error(error);
    process.exitCode = 1;
  });
}
