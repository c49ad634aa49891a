/*-------------------------------------------------------------------------
 *
 * uuid.c
 *	  Time-ordered identifiers for events that bring none (UUID version 7,
 *	  RFC 9562).
 *
 * 48 bits of milliseconds, then 12 bits that count 1/4096 milliseconds, then 62
 * random bits.  Within a session every identifier is greater than the one
 * before, also when the clock stands still or steps back.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "port/pg_bswap.h"

#include "eventstore.h"

#define RANDOM_BYTES 8			/* of an identifier */

/*
 * Random bytes are drawn for many identifiers at once, because one call of the
 * generator costs as much for 8 bytes as for some hundred.
 */
static uint8 pool[64 * RANDOM_BYTES];
static int	pool_left = 0;

static uint64 last_tick = 0;

/* The time in units of 1/4096 millisecond, always later than the last one. */
static uint64
next_tick(void)
{
	struct timespec now;
	uint64		tick;

	clock_gettime(CLOCK_REALTIME, &now);
	tick = ((uint64) now.tv_sec * 1000 + now.tv_nsec / 1000000) << 12;
	tick |= ((uint64) (now.tv_nsec % 1000000) << 12) / 1000000;
	if (tick <= last_tick)
		tick = last_tick + 1;
	last_tick = tick;
	return tick;
}

void
es_make_uuid(pg_uuid_t *uuid)
{
	uint64		tick = next_tick();
	uint64		milliseconds = pg_hton64((tick >> 12) << 16);

	if (pool_left == 0)
	{
		if (!pg_strong_random(pool, sizeof(pool)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values")));
		pool_left = sizeof(pool);
	}
	pool_left -= RANDOM_BYTES;

	memcpy(uuid->data, &milliseconds, 6);
	uuid->data[6] = 0x70 | ((tick >> 8) & 0x0f);	/* version 7 */
	uuid->data[7] = tick & 0xff;
	memcpy(uuid->data + 8, pool + pool_left, RANDOM_BYTES);
	uuid->data[8] = (uuid->data[8] & 0x3f) | 0x80;	/* RFC variant */
}
