/*-------------------------------------------------------------------------
 *
 * wait.c
 *	  Procedures that wait: for the horizon, for a subscription.
 *
 * A sleeping session must not hold back vacuum.  Called by itself, a procedure may
 * end its transaction, and with it the snapshot, before it sleeps.  Inside a
 * transaction block or a function it cannot, and after a write it must not; there it
 * waits only briefly, or with its snapshot.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

#include "eventstore.h"

PG_FUNCTION_INFO_V1(es_wait);
PG_FUNCTION_INFO_V1(es_wait_for);

#define BRIEFLY_MS 100
#define POLL_MS 20

/*
 * May we end the transaction?  Not inside a transaction block or a function, and not
 * if it has written something: the caller may still want to undo that.
 */
static bool
may_end_transaction(FunctionCallInfo fcinfo)
{
	return fcinfo->context != NULL && IsA(fcinfo->context, CallContext) &&
		!castNode(CallContext, fcinfo->context)->atomic &&
		!TransactionIdIsValid(GetTopTransactionIdIfAny());
}

/* When a timeout from now on is over (22004, 22023). */
static TimestampTz
end_of_timeout(FunctionCallInfo fcinfo, int argno)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until;

	es_require_argument(fcinfo, argno, "timeout");
	until = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
													TimestampTzGetDatum(now),
													PG_GETARG_DATUM(argno)));
	if (until < now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"timeout\" must not be negative")));
	return until;
}

static void
sleep_briefly(long milliseconds)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 milliseconds, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* Where nothing rings: look at the watermark again and again. */
static int64
poll_watermark(EsStore **store, int64 after, TimestampTz until, bool may_end)
{
	for (;;)
	{
		int64		horizon = es_readable_horizon(*store);
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);

		if (horizon > after || left <= 0)
			return horizon;
		if (may_end)
			SPI_commit();
		sleep_briefly(Min(left, POLL_MS));
		if (may_end)
		{
			PushActiveSnapshot(GetTransactionSnapshot());
			*store = es_current_store();
			PopActiveSnapshot();
		}
	}
}

/*
 * es_wait(after_position bigint, timeout interval, INOUT horizon bigint)
 *
 * Sleeps until the horizon is above a position or the timeout is over, and returns
 * the horizon.  22004, 22023 for bad arguments; 42P01 without a store; 42501
 * without rights; 55000 without a watermark where one is needed.
 */
Datum
es_wait(PG_FUNCTION_ARGS)
{
	bool		may_end = may_end_transaction(fcinfo);
	EsStore    *store;
	TupleDesc	desc;
	TimestampTz until;
	int64		after;
	int64		horizon;
	Datum		value;
	bool		isnull = false;
	MemoryContext caller_cxt = CurrentMemoryContext;
	HeapTuple	result;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(desc);
	es_require_argument(fcinfo, 0, "after_position");
	after = PG_GETARG_INT64(0);
	es_check_least("after_position", after, 0);
	until = end_of_timeout(fcinfo, 1);
	if (!may_end)
		until = Min(until, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), BRIEFLY_MS));

	SPI_connect_ext(may_end ? SPI_OPT_NONATOMIC : 0);
	store = es_current_store();
	es_check_cursor(store, after);
	if (RecoveryInProgress() || IsolationUsesXactSnapshot())
		horizon = poll_watermark(&store, after, until, may_end);
	else
	{
		/* From here to the end nothing needs a snapshot. */
		if (may_end)
			SPI_commit();
		horizon = es_wait_for_horizon(store, after, until);
	}
	es_harden(store, horizon);
	SPI_finish();

	MemoryContextSwitchTo(caller_cxt);
	value = Int64GetDatum(horizon);
	result = heap_form_tuple(desc, &value, &isnull);
	PG_RETURN_DATUM(HeapTupleGetDatum(result));
}

/* How far a subscription has got; 42704 if there is none. */
static int64
subscription_position(EsStore *store, Datum name)
{
	Datum		value;
	int64		position;
	bool		isnull;

	es_run(store, ES_SUBSCRIPTION_POSITION, &name, NULL);
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("subscription \"%s\" does not exist", TextDatumGetCString(name))));
	/* Not before: where a Datum has 32 bits, an int8 is behind a pointer. */
	position = DatumGetInt64(value);
	SPI_freetuptable(SPI_tuptable);
	return position;
}

/*
 * es_wait_for(subscription text, to_position bigint, timeout interval)
 *
 * Sleeps until every partition of a subscription has got to a position.  57014 when
 * the timeout is over; 25001 above READ COMMITTED; 22004, 22023 for bad arguments;
 * 42704 without the subscription; 42P01 without a store; 42501 without rights.
 */
Datum
es_wait_for(PG_FUNCTION_ARGS)
{
	bool		may_end = may_end_transaction(fcinfo);
	TimestampTz until;
	int64		wanted;
	Datum		name;

	es_require_argument(fcinfo, 0, "subscription");
	es_require_argument(fcinfo, 1, "to_position");
	name = PointerGetDatum(PG_GETARG_TEXT_P_COPY(0));
	wanted = PG_GETARG_INT64(1);
	until = end_of_timeout(fcinfo, 2);
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("es_wait_for() must run under READ COMMITTED"),
				 errhint("The snapshot of this transaction never sees the subscription move.")));

	SPI_connect_ext(may_end ? SPI_OPT_NONATOMIC : 0);
	while (subscription_position(es_current_store(), name) < wanted)
	{
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);

		if (left <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_QUERY_CANCELED),
					 errmsg("subscription \"%s\" did not get to position " INT64_FORMAT " in time",
							TextDatumGetCString(name), wanted),
					 errhint("See es_subscription_status for how far it is and who works on it.")));
		if (may_end)
			SPI_commit();
		sleep_briefly(Min(left, POLL_MS));
	}
	SPI_finish();
	PG_RETURN_VOID();
}
