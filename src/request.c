/*-------------------------------------------------------------------------
 *
 * request.c
 *	  Idempotent retries: what the log knows of a request id.
 *
 * The events of an append carry its request id, so the promise holds as long as
 * they are stored.  A request id is looked for with the latest snapshot, under
 * the aggregate's lock, before its version is checked: a first attempt that is
 * still in flight is waited for, one that landed is found.
 *
 * In the atomic forms the id belongs to the whole call, so it must be known for
 * every aggregate that the call appends to, or for none.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rls.h"
#include "utils/tuplestore.h"

#include "eventstore.h"

PG_FUNCTION_INFO_V1(es_find_request);

/* Columns of ES_FIND_REQUEST. */
#define COL_VERSION 1
#define COL_POSITION 2
#define COL_RECORDED_AT 3
#define COL_TYPE 4
#define COL_DATA 5

/* Read the events of a request id; the rows live until SPI_finish(). */
static void
fetch_request(EsStore *store, text *key, text *request_id, SPITupleTable **rows, int64 *count)
{
	Datum		values[2];

	values[0] = PointerGetDatum(key);
	values[1] = PointerGetDatum(request_id);
	es_run_snapshot(store, ES_FIND_REQUEST, values, NULL, es_latest_snapshot());
	*rows = SPI_tuptable;
	*count = (int64) SPI_processed;
}

/*
 * If a policy hides events from the caller, a repeat must not look new (42501).
 */
static void
refuse_hidden_request(EsStore *store, text *key, text *request_id, int64 seen)
{
	Datum		values[2] = {PointerGetDatum(key), PointerGetDatum(request_id)};
	bool		isnull;
	int64		stored;

	if (check_enable_rls(store->events_oid, InvalidOid, true) != RLS_ENABLED)
		return;
	es_run_as_owner(store, ES_COUNT_REQUEST_AS_OWNER, values, es_latest_snapshot());
	stored = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	if (stored != seen)
		es_report_hidden(key);
}

/* The same for a writer: see above. */
static void
fetch_own_request(EsStore *store, text *key, text *request_id, SPITupleTable **rows, int64 *count)
{
	fetch_request(store, key, request_id, rows, count);
	refuse_hidden_request(store, key, request_id, *count);
}

static int64
int_of(SPITupleTable *rows, int64 row, int column)
{
	bool		isnull;

	return DatumGetInt64(SPI_getbinval(rows->vals[row], rows->tupdesc, column, &isnull));
}

static bool
same_data(const Jsonb *a, const Jsonb *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return compareJsonbContainers(unconstify(JsonbContainer *, &a->root),
								  unconstify(JsonbContainer *, &b->root)) == 0;
}

/* Is a stored event the same as one that was sent: type and data? */
static bool
same_as_stored(SPITupleTable *rows, int64 row, const EsEvent *event)
{
	bool		isnull;
	text	   *type = DatumGetTextPP(SPI_getbinval(rows->vals[row], rows->tupdesc, COL_TYPE, &isnull));
	Datum		data = SPI_getbinval(rows->vals[row], rows->tupdesc, COL_DATA, &isnull);

	return es_compare_keys(type, event->type) == 0 &&
		same_data(isnull ? NULL : DatumGetJsonbP(data), event->data);
}

/* Do two entries of a call bring the same events? */
bool
es_same_events(const EsWrite *a, const EsWrite *b)
{
	if (a->nevents != b->nevents)
		return false;
	for (int i = 0; i < a->nevents; i++)
	{
		if (es_compare_keys(a->events[i].type, b->events[i].type) != 0 ||
			!same_data(a->events[i].data, b->events[i].data))
			return false;
	}
	return true;
}

/* Give an entry the result of rows that were stored for it. */
static void
take_result(EsWrite *write, SPITupleTable *rows, int64 first, int64 last)
{
	write->version = int_of(rows, last, COL_VERSION);
	write->has_version = true;
	write->first_position = int_of(rows, first, COL_POSITION);
	write->last_position = int_of(rows, last, COL_POSITION);
	write->recorded_at = int_of(rows, last, COL_RECORDED_AT);
}

/* Compare an entry with the stored rows from "first" on. */
static void
match_rows(EsWrite *write, SPITupleTable *rows, int64 first, int64 count)
{
	write->remembered = true;
	write->reused = first + write->nevents > count;
	for (int i = 0; i < write->nevents && !write->reused; i++)
		write->reused = !same_as_stored(rows, first + i, &write->events[i]);
	if (!write->reused)
		take_result(write, rows, first, first + write->nevents - 1);
}

static void
find_repeat_of_entry(EsStore *store, EsWrite *write)
{
	SPITupleTable *rows;
	int64		count;

	fetch_own_request(store, write->key, write->request_id, &rows, &count);
	if (count > 0)
	{
		match_rows(write, rows, 0, count);
		if (count != write->nevents)
			write->reused = true;
	}
	SPI_freetuptable(rows);
}

/* Forget what an earlier look for request ids found. */
static void
forget(EsCall *call)
{
	for (int i = 0; i < call->nwrites; i++)
	{
		EsWrite    *write = &call->writes[i];

		if (es_is_settled(write))
			continue;
		write->remembered = write->reused = write->has_version = false;
		write->first_position = write->last_position = 0;
		if (write->aggregate == NULL)
			continue;
		write->aggregate->request_rows = NULL;
		write->aggregate->request_count = 0;
		write->aggregate->request_taken = 0;
	}
}

static void
find_repeat_of_call(EsCall *call)
{
	bool		known = false;
	bool		reused = false;

	for (int i = 0; i < call->nwrites; i++)
	{
		EsWrite    *write = &call->writes[i];
		EsAggregate *aggregate = write->aggregate;

		if (write->nevents == 0)
			continue;
		if (aggregate->request_rows == NULL)
			fetch_own_request(call->store, write->key, call->request_id,
							  &aggregate->request_rows, &aggregate->request_count);
		if (aggregate->request_count > 0)
			known = true;
	}
	if (!known)
		return;
	for (int i = 0; i < call->nwrites; i++)
	{
		EsWrite    *write = &call->writes[i];
		EsAggregate *aggregate = write->aggregate;

		if (write->nevents > 0)
		{
			match_rows(write, aggregate->request_rows, aggregate->request_taken, aggregate->request_count);
			aggregate->request_taken += write->nevents;
		}
		write->remembered = true;
	}
	for (int i = 0; i < call->naggregates; i++)
	{
		if (call->aggregates[i].written &&
			call->aggregates[i].request_taken != call->aggregates[i].request_count)
			reused = true;
	}
	for (int i = 0; i < call->nwrites && reused; i++)
	{
		if (call->writes[i].nevents > 0)
			call->writes[i].reused = true;
	}
}

bool
es_has_request_ids(const EsCall *call)
{
	for (int i = 0; i < call->nwrites; i++)
	{
		if (call->writes[i].request_id != NULL)
			return true;
	}
	return false;
}

/* Order entries by key, request id and entry. */
static int
compare_requests(const void *a, const void *b)
{
	const EsWrite *x = *(EsWrite *const *) a;
	const EsWrite *y = *(EsWrite *const *) b;
	int			order = es_compare_keys(x->key, y->key);

	if (order == 0)
		order = es_compare_keys(x->request_id, y->request_id);
	return order != 0 ? order : x->entry - y->entry;
}

/*
 * Link the entries of a call that have the same key and request id, so that the
 * later ones are known as repeats of an earlier one.
 */
void
es_link_predecessors(EsCall *call)
{
	EsWrite   **some = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(EsWrite *) * call->nwrites);
	int			count = 0;

	for (int i = 0; i < call->nwrites; i++)
	{
		if (call->writes[i].request_id != NULL)
			some[count++] = &call->writes[i];
	}
	qsort(some, count, sizeof(EsWrite *), compare_requests);
	for (int i = 1; i < count; i++)
	{
		if (es_compare_keys(some[i - 1]->key, some[i]->key) == 0 &&
			es_compare_keys(some[i - 1]->request_id, some[i]->request_id) == 0)
			some[i]->predecessor = some[i - 1];
	}
	pfree(some);
}

/* Find out which entries of a call are in the log already.  SPI must be connected. */
void
es_find_repeats(EsCall *call)
{
	forget(call);
	if (call->request_id != NULL)
		find_repeat_of_call(call);
	else
	{
		for (int i = 0; i < call->nwrites; i++)
		{
			if (call->writes[i].request_id != NULL && !call->writes[i].aggregate->settled)
				find_repeat_of_entry(call->store, &call->writes[i]);
		}
	}
}

/*
 * What an append with this request id did to this aggregate, for who may repeat it.
 * False if it is not known.  SPI must be connected.
 */
bool
es_recall_request(EsStore *store, EsWrite *write)
{
	SPITupleTable *rows;
	int64		count;

	fetch_own_request(store, write->key, write->request_id, &rows, &count);
	if (count > 0)
	{
		take_result(write, rows, 0, count - 1);
		write->status = ES_REPEATED;
	}
	SPI_freetuptable(rows);
	return count > 0;
}

/*
 * es_find_request(key text, request_id text) RETURNS SETOF es_append_result
 *
 * What an append with this request id did to this aggregate: one row with status
 * repeated, or none.  Takes no lock, so an append in flight is not seen.
 *
 * 22004, 22023 for bad arguments; 42P01 without a store; 42501 without rights.
 */
Datum
es_find_request(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	EsWrite		write = {.entry = 1,.status = ES_REPEATED};
	SPITupleTable *rows;
	int64		count;

	write.key = es_key_argument(fcinfo, 0);
	es_require_argument(fcinfo, 1, "request_id");
	write.request_id = PG_GETARG_TEXT_PP(1);
	es_check_text("request id", write.request_id, ES_MAX_REQUEST_ID_BYTES);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);

	SPI_connect();
	fetch_request(es_current_store(), write.key, write.request_id, &rows, &count);
	if (count > 0)
	{
		Datum		values[ES_RESULT_COLUMNS];
		bool		nulls[ES_RESULT_COLUMNS];

		take_result(&write, rows, 0, count - 1);
		es_result_row(&write, values, nulls);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	SPI_finish();
	return (Datum) 0;
}
