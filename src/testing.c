/*-------------------------------------------------------------------------
 *
 * testing.c
 *	  Pause points and mutants, in a build with -DES_TESTING only: see testing.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"

#include "testing.h"

#ifdef ES_TESTING

static char *pause_at = NULL;
static char *mutant = NULL;

void
es_testing_init(void)
{
	DefineCustomStringVariable("eventstore.pause_at", "Where to wait for the test.", NULL,
							   &pause_at, "", PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("eventstore.mutant", "Which step to do wrong.", NULL,
							   &mutant, "", PGC_USERSET, 0, NULL, NULL, NULL);
}

void
es_pause(const char *point)
{
	if (strcmp(pause_at, point) != 0)
		return;
	(void) DirectFunctionCall1(pg_advisory_lock_int8, Int64GetDatum(ES_PAUSE_LOCK));
	(void) DirectFunctionCall1(pg_advisory_unlock_int8, Int64GetDatum(ES_PAUSE_LOCK));
}

bool
es_mutant(const char *name)
{
	return strcmp(mutant, name) == 0;
}

#endif
