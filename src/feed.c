/*-------------------------------------------------------------------------
 *
 * feed.c
 *	  Reading the global log.
 *
 * Invariant: no reader is given an event, a cursor or a horizon beyond the settled
 * horizon (flight.c), nor before the WAL that it rests on is on disk.  So what a
 * reader has seen is never joined by an earlier event, and survives a crash.
 *
 * The events are read with a snapshot taken after the horizon: by a statement of
 * its own under READ COMMITTED.  Above, the transaction's snapshot is older than
 * any horizon; and on a standby others' locks are not known.  There the limit is
 * the watermark: the horizon that a worker on the primary stored in a table.
 * Whoever sees the row sees every event below it, since those committed first.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "executor/tstoreReceiver.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "eventstore.h"
#include "testing.h"

PG_FUNCTION_INFO_V1(es_horizon);
PG_FUNCTION_INFO_V1(es_read_all);
PG_FUNCTION_INFO_V1(es_read_partition);
PG_FUNCTION_INFO_V1(es_check_position);

/*
 * The end of the WAL inserted so far, as a place that can be flushed to.  At the
 * start of a page the server names the place after the page's header, which is not
 * written yet and so cannot be flushed.
 */
static XLogRecPtr
inserted_wal_end(void)
{
	XLogRecPtr	end = GetXLogInsertRecPtr();

	if (XLogSegmentOffset(end, wal_segment_size) == SizeOfXLogLongPHD)
		end -= SizeOfXLogLongPHD;
	else if (end % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		end -= SizeOfXLogShortPHD;
	return end;
}

/*
 * Make sure that everything up to the horizon is on disk: the events, and also the
 * sequence, lest a crash hand out again the position of an append that was rolled
 * back.  To be called after the snapshot with which the reader reads.
 */
void
es_harden(EsStore *store, int64 horizon)
{
	if (horizon <= store->durable_horizon || RecoveryInProgress() || ES_MUTANT("no flush"))
		return;
	XLogFlush(inserted_wal_end());
	/* Own positions in flight are below the horizon, but not committed yet. */
	if (!store->own_flight)
		store->durable_horizon = horizon;
}

/*
 * Make sure that events up to a position, and whatever else has been committed so far,
 * are on disk.  Unlike a horizon the position may have others in flight below it, so it
 * is not remembered.
 */
void
es_harden_events(EsStore *store, int64 position)
{
	if (position > store->durable_horizon && !RecoveryInProgress() && !ES_MUTANT("no flush"))
		XLogFlush(inserted_wal_end());
}

/* The watermark as this transaction sees it; 55000 if there is none. */
static int64
watermark(EsStore *store)
{
	int64		position;
	bool		isnull;

	es_run(store, ES_SELECT_WATERMARK, NULL, NULL);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot read the log of an event store %s without a watermark",
						RecoveryInProgress() ? "on a standby" : "above READ COMMITTED"),
				 errhint("Call es_start_worker() on the primary to keep a watermark, or read it there under READ COMMITTED.")));
	position = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return position;
}

/* Must this reader go by the watermark? */
static bool
needs_watermark(void)
{
	if (ES_MUTANT("any isolation level"))
		return RecoveryInProgress();
	return RecoveryInProgress() || IsolationUsesXactSnapshot();
}

/*
 * How far this reader may read now.  The caller reads with a later snapshot and
 * then calls es_harden().  SPI must be connected.
 */
int64
es_readable_horizon(EsStore *store)
{
	if (!needs_watermark())
		return es_settled_horizon(store);
	store->own_flight = false;
	return watermark(store);
}

/*
 * es_horizon() RETURNS bigint
 *
 * The position up to which the log is settled: no event at or below it will appear
 * that a later query does not see.  42P01 without a store; 42501 without rights;
 * 55000 without a watermark where one is needed.
 */
Datum
es_horizon(PG_FUNCTION_ARGS)
{
	EsStore    *store;
	int64		horizon;

	SPI_connect();
	store = es_current_store();
	horizon = es_readable_horizon(store);
	es_harden(store, horizon);
	SPI_finish();
	PG_RETURN_INT64(horizon);
}

/*
 * Refuse a cursor from another copy of the log (VE007).  Not on a standby, which may
 * simply lag; a logical replica has no sequence of its own, but the watermark.
 */
void
es_check_cursor(EsStore *store, int64 after)
{
	int64		last;

	if (RecoveryInProgress() || after <= (last = es_last_position(store)))
		return;
	if (needs_watermark())
	{
		last = Max(last, 0);
		es_run(store, ES_SELECT_WATERMARK, NULL, NULL);
		if (SPI_processed > 0)
		{
			bool		isnull;
			int64		mark = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
														   1, &isnull));

			last = Max(last, mark);
		}
		SPI_freetuptable(SPI_tuptable);
	}
	if (after > last)
		ereport(ERROR,
				(errcode(ERRCODE_ES_POSITION_OUT_OF_RANGE),
				 errmsg("position " INT64_FORMAT " is beyond the end of the log, " INT64_FORMAT,
						after, last),
				 errdetail("The cursor comes from another copy of this log, perhaps from before a restore or a failover."),
				 errhint("Find the last event that the reader shares with this log, and let it go on from there."),
				 err_generic_string(PG_DIAG_SCHEMA_NAME, NameStr(store->namespace_name)),
				 err_generic_string(PG_DIAG_TABLE_NAME, "es_events"),
				 err_generic_string(PG_DIAG_CONSTRAINT_NAME, "es_position_out_of_range")));
}

/*
 * How far a page goes that shall end at "upto".  A reader that moves its cursor to
 * upto takes that for a horizon; if it is one that another session found, and ours is
 * behind it for the moment, events between the two would be lost: refuse (55000).
 */
static int64
end_of_page(EsStore *store, int64 upto)
{
	int64		horizon = es_readable_horizon(store);

	if (upto > horizon && upto < PG_INT64_MAX &&
		(needs_watermark() || upto <= es_last_position(store)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the log is settled up to position " INT64_FORMAT ", not yet up to " INT64_FORMAT,
						horizon, upto),
				 errhint("Try again, or take es_horizon() in the transaction that reads.")));
	return Min(upto, horizon);
}

/*
 * Give the function's result the events of a page, up to what may be read and to
 * upto.  SPI must be connected.
 */
static void
read_page(FunctionCallInfo fcinfo, int64 after, int64 upto, int64 max_count,
		  Jsonb *query, int partitions, int partition)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	EsStore    *store = es_current_store();
	DestReceiver *dest;
	Datum		values[3];
	char	   *statement = NULL;

	if (query != NULL || partitions > 1)
	{
		Oid			schema = get_func_namespace(fcinfo->flinfo->fn_oid);

		statement = es_page_statement(store, query, partitions, partition, get_namespace_name(schema));
	}
	es_check_cursor(store, after);
	if (upto > after)
		upto = end_of_page(store, upto);
	if (upto <= after)
		return;
	ES_PAUSE("before snapshot");

	values[0] = Int64GetDatum(after);
	values[1] = Int64GetDatum(upto);
	values[2] = Int64GetDatum(max_count);
	dest = CreateTuplestoreDestReceiver();
	SetTuplestoreDestReceiverParams(dest, rsinfo->setResult, CurrentMemoryContext, false, rsinfo->setDesc,
									"columns of table \"es_events\" do not have the types of an event");
	if (statement == NULL)
		es_run_into(store, ES_READ_LOG, values, NULL, dest);
	else
		es_run_page(store, statement, values, dest);
	dest->rDestroy(dest);
	es_harden(store, upto);
}

/* A position in an argument; "otherwise" if it is null (22023). */
static int64
position_argument(FunctionCallInfo fcinfo, int argno, const char *name, int64 otherwise)
{
	if (PG_ARGISNULL(argno))
		return otherwise;
	es_check_least(name, PG_GETARG_INT64(argno), 0);
	return PG_GETARG_INT64(argno);
}

/* Read a page of some partition. */
static Datum
read_log(FunctionCallInfo fcinfo, int partitions, int partition)
{
	int64		after;
	int64		upto;

	es_require_argument(fcinfo, 0, "after_position");
	es_require_argument(fcinfo, 1, "max_count");
	after = position_argument(fcinfo, 0, "after_position", 0);
	es_check_least("max_count", PG_GETARG_INT32(1), 0);
	upto = position_argument(fcinfo, 3, "to_position", PG_INT64_MAX);

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	SPI_connect();
	read_page(fcinfo, after, upto, PG_GETARG_INT32(1),
			  PG_ARGISNULL(2) ? NULL : PG_GETARG_JSONB_P(2), partitions, partition);
	SPI_finish();
	return (Datum) 0;
}

/*
 * es_read_all(after_position bigint, max_count integer, query jsonb,
 *			   to_position bigint) RETURNS SETOF es_event
 *
 * The events of the log after a position, in order, at most max_count, up to the
 * settled horizon (or to_position if that is lower), of those that match the query.
 *
 * 22004, 22023 for bad arguments; VE007 for a cursor beyond the end; 42P01 without
 * a store; 42501 without rights; 55000 without a watermark where one is needed.
 */
Datum
es_read_all(PG_FUNCTION_ARGS)
{
	return read_log(fcinfo, 1, 0);
}

/*
 * es_read_partition(the arguments of es_read_all, partitions integer,
 *					 partition integer) RETURNS SETOF es_event
 *
 * The same for the aggregates of one partition: what es_fetch() is made of.
 */
Datum
es_read_partition(PG_FUNCTION_ARGS)
{
	es_require_argument(fcinfo, 4, "partitions");
	es_require_argument(fcinfo, 5, "partition");
	es_check_least("partitions", PG_GETARG_INT32(4), 1);
	return read_log(fcinfo, PG_GETARG_INT32(4), PG_GETARG_INT32(5));
}

/*
 * es_check_position(log_position bigint) RETURNS void
 *
 * Refuses (VE007) a position beyond the end of the log.
 */
Datum
es_check_position(PG_FUNCTION_ARGS)
{
	SPI_connect();
	es_check_cursor(es_current_store(), PG_GETARG_INT64(0));
	SPI_finish();
	PG_RETURN_VOID();
}
