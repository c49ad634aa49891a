/*
 * walk.c
 *	  Which aggregate, at which version, it is the turn of.
 *
 * Each client owns every so manieth aggregate and walks over them again and again, in
 * an order that looks random.  So clients never meet, and the version follows from the
 * number of steps.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

/* A prime: its multiples modulo anything smaller come to every number once. */
#define LEAP 7919
#define FIRST_NEW 100000000L
#define NEW_PER_CLIENT 1000000L

/* The same as bench_key() in SQL: 100 categories, cart00 to cart99. */
static void
make_key(long number, char *key)
{
	snprintf(key, MAX_KEY, "cart%02ld-%0*ld", number % 100, options.key_length - 7, number);
}

static long
slice(void)
{
	return options.aggregates / options.clients;
}

void
walk_key(const Walk *walk, long step, char *key)
{
	long		place = walk->client + options.clients * (step % slice() * LEAP % slice());

	make_key(options.offset + (options.hot ? 0 : options.stride * place), key);
}

long
walk_version(const Walk *walk, long step)
{
	(void) walk;
	return options.version + step / slice() * options.batch;
}

void
walk_new_key(const Walk *walk, char *key)
{
	make_key(FIRST_NEW + walk->client * NEW_PER_CLIENT + walk->step, key);
}

/* The next entries of the walk, each with the same events. */
char *
walk_writes(const Walk *walk, const char *events)
{
	size_t		entry = strlen(events) + MAX_KEY + 80;
	char	   *writes = malloc(entry * (size_t) options.writes + 3);
	char	   *to = writes;
	char		key[MAX_KEY];

	if (writes == NULL)
		die("out of memory");
	for (int i = 0; i < options.writes; i++)
	{
		walk_key(walk, walk->step + i, key);
		to += sprintf(to, "%s{\"key\": \"%s\", \"expected_version\": %ld, \"events\": %s}",
					  i == 0 ? "[" : ", ", key, walk_version(walk, walk->step + i), events);
	}
	strcpy(to, "]");
	return writes;
}

/* xorshift */
long
walk_random(Walk *walk)
{
	walk->random ^= walk->random << 13;
	walk->random ^= walk->random >> 7;
	walk->random ^= walk->random << 17;
	return (long) (walk->random % (uint64_t) options.random_below);
}
