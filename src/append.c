/*-------------------------------------------------------------------------
 *
 * append.c
 *	  The append protocol, and the functions that use it.
 *
 * One append to an existing aggregate under READ COMMITTED takes a shortcut: one
 * UPDATE locks the row, checks the version and moves it, then the events go in.
 * If the UPDATE finds no such row, the general way below decides afresh what to say.
 *
 * The general way, for any number of entries:
 *
 * 1. Look at the aggregates, without a lock, with the latest snapshot.
 * 2. Decide.  What is visibly refused is refused now: no lock is taken and no
 *	  transaction id assigned.  (In the atomic forms that ends the call.)  Not so
 *	  an entry with a request id: it may be the repeat of one still in flight.
 * 3. Lock: aggregates, in the order told in lock.c, and take over what is there now;
 *	  then tags, as told in tag_lock.c.
 * 4. Look for request ids and at the conditions; decide again, now for good.
 * 5. Write: versions, tags, events, the latter in the order of the entries.
 *
 * Nothing is written before everything is decided, so a refused call leaves
 * nothing behind but its locks.  An ERROR at any line takes the whole call with
 * it; no state outlives it but caches.
 *
 * Isolation levels: under READ COMMITTED each statement has its own snapshot, and
 * a row lock gives the newest version of the row.  Above, looks and locks use the
 * latest snapshot instead of the transaction's.  If an aggregate has moved since
 * the transaction's snapshot, a wrong expectation is a version conflict as ever,
 * but a right one is 40001: the transaction could not see what it would write.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "eventstore.h"
#include "testing.h"

PG_FUNCTION_INFO_V1(es_append);
PG_FUNCTION_INFO_V1(es_try_append);
PG_FUNCTION_INFO_V1(es_append_many);
PG_FUNCTION_INFO_V1(es_try_append_many);
PG_FUNCTION_INFO_V1(es_append_each);

/* Will an entry, as decided, rely on its aggregate staying as it is? */
static bool
needs_lock(const EsWrite *write)
{
	return write->status == ES_APPENDED || (write->status == ES_CHECKED && !write->remembered);
}

/*
 * Choose the aggregates to lock: those with an entry that may be accepted, or may be
 * the repeat of one that is still in flight.
 */
static EsAggregate **
choose_aggregates(EsCall *call, int *count)
{
	EsAggregate **chosen = MemoryContextAllocHuge(CurrentMemoryContext,
												  sizeof(EsAggregate *) * call->naggregates);

	for (int i = 0; i < call->naggregates; i++)
		call->aggregates[i].settled = true;
	for (int i = 0; i < call->nwrites; i++)
	{
		if (call->writes[i].aggregate != NULL &&
			(call->atomic || needs_lock(&call->writes[i]) || call->writes[i].request_id != NULL))
			call->writes[i].aggregate->settled = false;
	}
	*count = 0;
	for (int i = 0; i < call->naggregates; i++)
	{
		if (!call->aggregates[i].settled)
			chosen[(*count)++] = &call->aggregates[i];
	}
	return chosen;
}

/* 40001 if an accepted entry relies on what the transaction cannot see. */
static void
check_moved(const EsCall *call)
{
	for (int i = 0; i < call->nwrites && !ES_MUTANT("moves not minded"); i++)
	{
		if (call->writes[i].aggregate != NULL && call->writes[i].aggregate->moved &&
			needs_lock(&call->writes[i]))
			es_report_moved(call->writes[i].aggregate);
	}
}

static void
write_accepted(EsCall *call, EsAggregate **chosen, int nchosen)
{
	EsWrite   **accepted = MemoryContextAllocHuge(CurrentMemoryContext,
												  sizeof(EsWrite *) * call->nwrites);
	int			count = 0;

	for (int i = 0; i < call->nwrites; i++)
	{
		if (call->writes[i].status == ES_APPENDED)
			accepted[count++] = &call->writes[i];
	}
	if (count == 0)
		return;
	es_write_aggregates(call->store, chosen, nchosen);
	es_write_events(call->store, accepted, count);
}

/* Steps 1 and 2: decide on what can be seen without a lock. */
static void
decide_at_first_sight(EsCall *call)
{
	EsAggregate **all = MemoryContextAllocHuge(CurrentMemoryContext,
											   sizeof(EsAggregate *) * call->naggregates);

	for (int i = 0; i < call->naggregates; i++)
		all[i] = &call->aggregates[i];
	es_look(call->store, all, call->naggregates);
	es_mark_moved(call->store, all, call->naggregates);
	pfree(all);
	es_decide(call);
}

/* Steps 3 to 5. */
static void
lock_decide_and_write(EsCall *call, bool has_request_ids, bool has_conditions)
{
	int			count;
	EsAggregate **chosen = choose_aggregates(call, &count);

	if (has_request_ids && ES_MUTANT("requests before locks"))
		es_find_repeats(call);
	call->locking = true;
	es_lock_aggregates(call->store, chosen, count, call->nowait);
	if (ES_MUTANT("condition before locks"))
		es_check_conditions(call);
	es_lock_tags(call);
	call->locking = false;
	call->locked = true;
	if (has_request_ids && !ES_MUTANT("requests before locks"))
		es_find_repeats(call);
	if (has_conditions && !ES_MUTANT("condition before locks"))
		es_check_conditions(call);
	es_decide(call);
	if (!call->atomic || es_first_refusal(call) < 0 || ES_MUTANT("some entries without the others"))
	{
		check_moved(call);
		write_accepted(call, chosen, count);
	}
}

/*
 * Carry out a call.  The outcome is in its writes; raising it as an error, or
 * returning it as rows, is for the caller.  SPI must be connected.
 */
void
es_apply(EsCall *call)
{
	bool		has_request_ids = es_has_request_ids(call);
	bool		has_conditions = es_has_conditions(call);

	if (has_conditions)
		es_require_fresh_snapshots("an append condition");
	es_collect_aggregates(call);
	if (has_request_ids && call->request_id == NULL)
		es_link_predecessors(call);

	decide_at_first_sight(call);
	if (!call->atomic || has_request_ids || es_first_refusal(call) < 0)
		lock_decide_and_write(call, has_request_ids, has_conditions);
	else if (has_conditions)
	{
		/* Refused it is, but the report shall be complete. */
		es_collect_tags(call);
		es_check_conditions(call);
		es_decide(call);
	}
	es_complete_results(call);
}

/*
 * The shortcut, for a single append whose request id, if any, is known to be new.  False if
 * the general way must decide.  SPI must be connected.
 */
bool
es_append_to_existing(EsCall *call)
{
	EsWrite    *write = &call->writes[0];

	if (IsolationUsesXactSnapshot() || (write->has_expected && write->expected_version == 0) ||
		(!write->has_expected && es_require_expected_version))
		return false;
	if (!es_advance_version(call->store, write))
		return false;
	call->locking = true;
	es_lock_tags(call);
	call->locking = false;
	es_write_events(call->store, &write, 1);
	write->status = ES_APPENDED;
	return true;
}

/* The arguments of es_append() and es_try_append(). */
static void
single_write(FunctionCallInfo fcinfo, EsWrite *write)
{
	write->entry = 1;
	write->key = es_key_argument(fcinfo, 0);
	es_require_argument(fcinfo, 1, "events");
	es_require_argument(fcinfo, 3, "allow_create");
	if (!PG_ARGISNULL(2))
	{
		write->has_expected = true;
		write->expected_version = PG_GETARG_INT64(2);
		es_check_expected_version(write->expected_version);
	}
	write->allow_create = PG_GETARG_BOOL(3);
	if (!PG_ARGISNULL(4))
	{
		write->request_id = PG_GETARG_TEXT_PP(4);
		es_check_text("request id", write->request_id, ES_MAX_REQUEST_ID_BYTES);
	}
	es_decode_events(PG_GETARG_JSONB_P(1), 0, write);
}

/* Carry out a single append; the outcome is in *write. */
static void
apply_single(FunctionCallInfo fcinfo, const char *function, EsWrite *write, EsCall *call)
{
	single_write(fcinfo, write);
	call->writes = write;
	call->nwrites = 1;
	call->atomic = true;
	call->request_id = write->request_id;
	SPI_connect();
	call->store = es_store_for_writing(function);
	es_refuse_append_inside(call->store);
	if (write->request_id != NULL || !es_append_to_existing(call))
	{
		es_apply(call);
		es_count_outcomes(call);
	}
}

/*
 * es_append(key text, events jsonb, expected_version bigint, allow_create boolean,
 *			 request_id text) RETURNS bigint
 *
 * Appends the events, whole or not at all, and returns the aggregate's new version.
 * Locks the aggregate to the end of the transaction.
 *
 * VE001 if the aggregate is not at the expected version, VE002 if it is missing and
 * neither allow_create nor expected_version 0 asks for it, VE003 if it is closed,
 * VE005 if the request id is known with other events; 22004, 22023 for bad
 * arguments; 40001 above READ COMMITTED (see the top of this file); 42P01 without a
 * store; 42501 without rights; 25006 in a read-only transaction.
 */
Datum
es_append(PG_FUNCTION_ARGS)
{
	EsWrite		write = {0};
	EsCall		call = {0};

	apply_single(fcinfo, "es_append()", &write, &call);
	if (es_first_refusal(&call) >= 0)
		es_report_refusals(&call);
	SPI_finish();
	PG_RETURN_INT64(write.version);
}

/*
 * es_try_append(the arguments of es_append) RETURNS es_append_result
 *
 * The same, but VE001 to VE005 are a row, not an error.  A refused aggregate that
 * was locked stays locked.
 */
Datum
es_try_append(PG_FUNCTION_ARGS)
{
	EsWrite		write = {0};
	EsCall		call = {0};
	TupleDesc	desc;
	Datum		values[ES_RESULT_COLUMNS];
	bool		nulls[ES_RESULT_COLUMNS];

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	apply_single(fcinfo, "es_try_append()", &write, &call);
	SPI_finish();
	es_result_row(&write, values, nulls);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* Give a call of several writes a request id for all of it. */
void
es_set_request_id(EsCall *call, text *request_id)
{
	call->request_id = request_id;
	for (int i = 0; i < call->nwrites; i++)
	{
		if (call->writes[i].nevents > 0)
			call->writes[i].request_id = request_id;
	}
}

/* The arguments of the functions that take several writes. */
static void
several_writes(FunctionCallInfo fcinfo, bool each, EsCall *call)
{
	text	   *request_id = NULL;

	es_require_argument(fcinfo, 0, "writes");
	if (!each && !PG_ARGISNULL(1))
	{
		request_id = PG_GETARG_TEXT_PP(1);
		es_check_text("request id", request_id, ES_MAX_REQUEST_ID_BYTES);
	}
	es_decode_writes(PG_GETARG_JSONB_P(0), each, call);
	if (request_id != NULL)
		es_set_request_id(call, request_id);
	call->atomic = !each;
}

static Datum
apply_several(FunctionCallInfo fcinfo, const char *function, bool each, bool raise)
{
	EsCall		call = {0};

	several_writes(fcinfo, each, &call);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	SPI_connect();
	call.store = es_store_for_writing(function);
	es_refuse_append_inside(call.store);
	es_apply(&call);
	es_count_outcomes(&call);
	if (raise && es_first_refusal(&call) >= 0)
		es_report_refusals(&call);
	es_put_results(fcinfo, &call);
	SPI_finish();
	return (Datum) 0;
}

/*
 * es_append_many(writes jsonb, request_id text) RETURNS SETOF es_append_result
 *
 * All entries or none.  An entry without events is a guard: it checks its
 * aggregate and holds it still to the end of the transaction.  Every refusal of
 * the call is in the error's DETAIL; the code is that of the first.
 *
 * Errors and locks as es_append(); locks are taken in key order.
 */
Datum
es_append_many(PG_FUNCTION_ARGS)
{
	return apply_several(fcinfo, "es_append_many()", false, true);
}

/*
 * es_try_append_many(writes jsonb, request_id text) RETURNS SETOF es_append_result
 *
 * The same, but VE001 to VE005 are rows, not an error.
 */
Datum
es_try_append_many(PG_FUNCTION_ARGS)
{
	return apply_several(fcinfo, "es_try_append_many()", false, false);
}

/*
 * es_append_each(writes jsonb) RETURNS SETOF es_append_result
 *
 * Each entry on its own merits; VE001 to VE005 are rows.  Everything else is an
 * error of the whole call.
 */
Datum
es_append_each(PG_FUNCTION_ARGS)
{
	return apply_several(fcinfo, "es_append_each()", true, false);
}
