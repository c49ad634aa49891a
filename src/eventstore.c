/*-------------------------------------------------------------------------
 *
 * eventstore.c
 *	  Module magic, initialisation and settings.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/guc.h"

#include "eventstore.h"
#include "testing.h"

ES_MODULE_MAGIC;

char	   *es_store_setting = NULL;
bool		es_require_expected_version = false;
bool		es_allow_direct_writes = false;

void		_PG_init(void);

void
_PG_init(void)
{
	DefineCustomStringVariable("eventstore.store",
							   "Schema of the event store that the functions use.",
							   "If empty, the first store on the search path is used.",
							   &es_store_setting,
							   "",
							   PGC_USERSET,
							   0,
							   NULL, NULL, NULL);
	DefineCustomBoolVariable("eventstore.require_expected_version",
							 "Refuses appends to existing aggregates without an expected version.",
							 NULL,
							 &es_require_expected_version,
							 false,
							 PGC_USERSET,
							 0,
							 NULL, NULL, NULL);

	/*
	 * For restores and maintenance only: the log is append-only for everybody
	 * else, owners of the tables included.
	 */
	DefineCustomBoolVariable("eventstore.allow_direct_writes",
							 "Lets this session change the tables of a store directly.",
							 "Meant for restoring and repairing data.",
							 &es_allow_direct_writes,
							 false,
							 PGC_SUSET,
							 0,
							 NULL, NULL, NULL);
	es_testing_init();
	MarkGUCPrefixReserved("eventstore");

	es_version_init();
	es_store_init();
	es_bell_init();
}
