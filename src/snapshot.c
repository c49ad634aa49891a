/*-------------------------------------------------------------------------
 *
 * snapshot.c
 *	  Snapshots: the state that an aggregate's events fold to, saved so that they need
 *	  not be read again.
 *
 * Invariant: a snapshot is never ahead of its aggregate, and never replaced by an older
 * one.  It is a cache: whoever may write it may also delete it, at any time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "eventstore.h"

PG_FUNCTION_INFO_V1(es_load);
PG_FUNCTION_INFO_V1(es_save_snapshot);

#define LOAD_COLUMNS 4

/*
 * es_load(key text) RETURNS TABLE (version bigint, snapshot_version bigint, state jsonb,
 *									events jsonb)
 *
 * One row: the aggregate's version, its latest snapshot (0 and NULL if there is none), and
 * an array of the events after it, all as of one moment.  A missing aggregate is at 0.
 * 22004, 22023 for a bad key; 42P01 without a store; 42501 without rights.
 */
Datum
es_load(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		key = PointerGetDatum(es_key_argument(fcinfo, 0));
	Datum		values[LOAD_COLUMNS];
	bool		nulls[LOAD_COLUMNS];

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	SPI_connect();
	es_run(es_current_store(), ES_LOAD, &key, NULL);
	if (SPI_processed != 1)
		elog(ERROR, "aggregate was loaded as " UINT64_FORMAT " rows", SPI_processed);
	for (int i = 0; i < LOAD_COLUMNS; i++)
		values[i] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &nulls[i]);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	SPI_finish();
	return (Datum) 0;
}

/*
 * es_save_snapshot(key text, version bigint, state jsonb) RETURNS boolean
 *
 * Saves the state of an aggregate as of a version, in place of an older snapshot or one
 * of the same version.  False if there is a newer one.
 *
 * 22004, 22023 for bad arguments, and 22023 if the aggregate has not got to the version;
 * 42P01 without a store; 42501 without rights; 25006 in a read-only transaction.
 */
Datum
es_save_snapshot(PG_FUNCTION_ARGS)
{
	text	   *key = es_key_argument(fcinfo, 0);
	EsStore    *store;
	Datum		values[3];
	int64		actual;
	bool		saved;

	es_require_argument(fcinfo, 1, "version");
	es_require_argument(fcinfo, 2, "state");
	es_check_least("version", PG_GETARG_INT64(1), 1);
	PreventCommandIfReadOnly("es_save_snapshot()");
	values[0] = PointerGetDatum(key);
	values[1] = PG_GETARG_DATUM(1);
	values[2] = PG_GETARG_DATUM(2);

	SPI_connect();
	store = es_current_store();
	es_run(store, ES_SAVE_SNAPSHOT, values, NULL);
	saved = SPI_processed > 0;
	if (!saved)
	{
		EsAggregate aggregate = {.key = key};
		EsAggregate *chosen[1] = {&aggregate};

		es_look(store, chosen, 1);	/* 42501 if a policy hides it */
		CommandCounterIncrement();
		PushActiveSnapshot(GetTransactionSnapshot());
		actual = es_version_of(store, key);
		PopActiveSnapshot();
		if (actual < PG_GETARG_INT64(1))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("snapshot of version " INT64_FORMAT " is ahead of aggregate \"%s\" at version " INT64_FORMAT,
							PG_GETARG_INT64(1), text_to_cstring(key), actual),
					 errhint("Save the state that the events up to an existing version fold to.")));
	}
	SPI_finish();
	PG_RETURN_BOOL(saved);
}
