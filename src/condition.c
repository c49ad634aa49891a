/*-------------------------------------------------------------------------
 *
 * condition.c
 *	  Deciding by tags: append conditions, and es_query() to read for them.
 *
 * A condition says that no event that matches a query has come after a position.
 * Under the locks of tag_lock.c nobody can write such an event while we look, with a
 * snapshot taken under the locks, nor later in our transaction.
 *
 * The position must be sound: with "the highest that I have seen" of any SELECT, an
 * event with a lower position that was still in flight would be hidden for ever.
 * es_query() waits for writers of its tags, so its highest position hides nothing.
 *
 * Entries of one call count as if they came one after the other: an event of an
 * earlier entry is newer than any position.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "eventstore.h"

PG_FUNCTION_INFO_V1(es_query);

#define TAGGED_PARAMETERS 6

static ArrayType *
array_or_empty(ArrayType *array)
{
	return array != NULL ? array : construct_empty_array(TEXTOID);
}

static int64
count_tagged(EsStore *store, Datum tag, int64 after, int64 limit, Snapshot snapshot)
{
	Datum		values[3] = {tag, Int64GetDatum(after), Int64GetDatum(limit)};
	bool		isnull;
	int64		count;

	es_run_snapshot(store, ES_COUNT_TAGGED, values, NULL, snapshot);
	count = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return count;
}

/*
 * The tag of an item that has the fewest events after a position, to search by.  Counts
 * no further than it must: costs little even if the others have millions.
 */
static Datum
rarest_tag(EsStore *store, const EsQueryItem *item, int64 after, Snapshot snapshot)
{
	Datum	   *tags;
	int			ntags = es_array_texts(item->tags, &tags);
	int64		limit = 64;

	if (ntags == 1)
		return tags[0];
	for (;; limit *= 8)
	{
		Datum		rarest = (Datum) 0;
		int64		fewest = limit;

		for (int i = 0; i < ntags && fewest > 0; i++)
		{
			int64		count = count_tagged(store, tags[i], after, fewest, snapshot);

			if (count < fewest)
			{
				fewest = count;
				rarest = tags[i];
			}
		}
		if (fewest < limit)
			return rarest;
	}
}

/* The parameters of the statements over tagged events. */
static void
set_parameters(Datum *values, EsStore *store, const EsQueryItem *item, int64 after, int64 upto,
			   Snapshot snapshot)
{
	values[0] = rarest_tag(store, item, after, snapshot);
	values[1] = Int64GetDatum(after);
	values[2] = Int64GetDatum(upto);
	values[3] = PointerGetDatum(item->tags);
	values[4] = PointerGetDatum(array_or_empty(item->types));
	values[5] = PointerGetDatum(array_or_empty(item->categories));
}

/* Note the first of the found events in the condition, if it comes before what is there. */
static void
take_found(EsCondition *condition)
{
	bool		isnull;
	int64		position;

	if (SPI_processed > 0)
	{
		position = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		if (!condition->failed || position < condition->position)
		{
			condition->position = position;
			condition->type = DatumGetTextPCopy(SPI_getbinval(SPI_tuptable->vals[0],
															  SPI_tuptable->tupdesc, 2, &isnull));
			condition->failed = true;
		}
	}
	SPI_freetuptable(SPI_tuptable);
}

/* If a policy hides the event from the caller, it must not look missing (42501). */
static void
refuse_hidden_event(EsStore *store, Datum *values)
{
	if (check_enable_rls(store->events_oid, InvalidOid, true) != RLS_ENABLED &&
		check_enable_rls(store->tags_oid, InvalidOid, true) != RLS_ENABLED)
		return;
	es_run_as_owner(store, ES_FIND_TAGGED_AS_OWNER, values, InvalidSnapshot);
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for an event that an append condition asks for"),
				 errdetail("A row-level security policy hides it.")));
	SPI_freetuptable(SPI_tuptable);
}

static void
check_condition(EsStore *store, EsCondition *condition)
{
	condition->failed = false;
	es_check_cursor(store, condition->after);
	for (int i = 0; i < condition->query->nitems; i++)
	{
		Datum		values[TAGGED_PARAMETERS];

		CHECK_FOR_INTERRUPTS();
		set_parameters(values, store, &condition->query->items[i], condition->after, PG_INT64_MAX,
					   InvalidSnapshot);
		es_run_snapshot(store, ES_FIND_TAGGED, values, NULL, InvalidSnapshot);
		take_found(condition);
		if (!condition->failed)
			refuse_hidden_event(store, values);
	}
}

bool
es_has_conditions(const EsCall *call)
{
	for (int i = 0; i < call->nwrites; i++)
	{
		if (call->writes[i].nconditions > 0)
			return true;
	}
	return false;
}

/*
 * Find out what is in the way of a call's conditions, among the events that others
 * have stored (42501 if a policy hides it).  For good under the locks of es_lock_tags();
 * without them the answer "nothing" means little.  SPI must be connected.
 */
void
es_check_conditions(EsCall *call)
{
	for (int i = 0; i < call->nwrites; i++)
	{
		EsWrite    *write = &call->writes[i];

		if (es_is_settled(write) || write->remembered)
			continue;
		for (int j = 0; j < write->nconditions; j++)
			check_condition(call->store, &write->conditions[j]);
	}
}

/* Note an event that an earlier entry of the call appends and one item excludes. */
static void
find_earlier(const EsCall *call, const EsWrite *write, EsCondition *condition, const EsQueryItem *item)
{
	const EsTagUses *uses = &call->tags;
	Datum	   *tags;
	int			first;

	(void) es_array_texts(item->tags, &tags);
	first = es_first_use(call, DatumGetTextPP(tags[0]));
	for (int i = first; i < uses->count && uses->use[i].hash == uses->use[first].hash; i++)
	{
		const EsTagUse *use = &uses->use[i];

		CHECK_FOR_INTERRUPTS();
		if (use->write == NULL)
			continue;
		if (use->write->entry >= write->entry)
			break;
		if (use->write->status != ES_APPENDED ||
			!es_query_matches(condition->query, use->write->key, use->event))
			continue;
		condition->failed = true;
		condition->position = 0;
		condition->type = use->event->type;
		condition->earlier_entry = use->write->entry;
		return;
	}
}

/*
 * Do the conditions of an entry hold, as far as is known?  If not, notes the first that
 * does not.  The entries before it are decided.
 */
bool
es_conditions_hold(const EsCall *call, EsWrite *write)
{
	write->obstacle = NULL;
	for (int i = 0; i < write->nconditions && write->obstacle == NULL; i++)
	{
		EsCondition *condition = &write->conditions[i];

		for (int j = 0; j < condition->query->nitems && !condition->failed; j++)
			find_earlier(call, write, condition, &condition->query->items[j]);
		if (condition->failed)
			write->obstacle = condition;
	}
	return write->obstacle == NULL;
}

static int64
row_position(HeapTuple row, TupleDesc desc)
{
	bool		isnull;

	return DatumGetInt64(SPI_getbinval(row, desc, 1, &isnull));
}

static int
compare_rows(const void *a, const void *b, void *desc)
{
	int64		x = row_position(*(HeapTuple *) a, desc);
	int64		y = row_position(*(HeapTuple *) b, desc);

	return x < y ? -1 : x > y ? 1 : 0;
}

/* Read what matches the query, and give it to the function's result in order of position. */
static void
put_matches(FunctionCallInfo fcinfo, EsStore *store, const EsQuery *query, int64 after, int64 upto,
			Snapshot snapshot)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	HeapTuple  *rows = NULL;
	uint64		nrows = 0;
	TupleDesc	desc = NULL;

	for (int i = 0; i < query->nitems; i++)
	{
		Datum		values[TAGGED_PARAMETERS];

		set_parameters(values, store, &query->items[i], after, upto, snapshot);
		es_run_snapshot(store, ES_READ_TAGGED, values, NULL, snapshot);
		if (SPI_processed == 0)
			continue;
		desc = SPI_tuptable->tupdesc;
		rows = rows == NULL ?
			MemoryContextAllocHuge(CurrentMemoryContext, sizeof(HeapTuple) * SPI_processed) :
			repalloc_huge(rows, sizeof(HeapTuple) * (nrows + SPI_processed));
		memcpy(rows + nrows, SPI_tuptable->vals, sizeof(HeapTuple) * SPI_processed);
		nrows += SPI_processed;
	}
	/* What matches several items is there several times. */
	if (query->nitems > 1)
		qsort_arg(rows, nrows, sizeof(HeapTuple), compare_rows, desc);
	for (uint64 i = 0; i < nrows; i++)
	{
		if (i == 0 || compare_rows(&rows[i - 1], &rows[i], desc) != 0)
			tuplestore_puttuple(rsinfo->setResult, rows[i]);
	}
	if (nrows > 0)
		es_harden_events(store, row_position(rows[nrows - 1], desc));
}

/*
 * es_query(query jsonb, after_position bigint) RETURNS SETOF es_event
 *
 * The events that match a query, every item of which names a tag, after a position, in
 * order of position.  The highest position returned (or after_position, if there is
 * none) is sound for a condition with the same query: no such event will appear below.
 *
 * Waits for whoever is writing one of the query's tags, and keeps others from it until
 * it has its snapshot.  On a standby it reads up to the watermark instead.
 *
 * 22004, 22023 for bad arguments; 25001 above READ COMMITTED; VE007 for a position
 * beyond the end of the log; 42P01 without a store; 42501 without rights; 55000 on a
 * standby without a watermark.
 */
Datum
es_query(PG_FUNCTION_ARGS)
{
	EsStore    *store;
	EsQuery    *query;
	int64		after;
	int64		upto;
	Snapshot	snapshot;

	es_require_argument(fcinfo, 0, "query");
	es_require_argument(fcinfo, 1, "after_position");
	after = PG_GETARG_INT64(1);
	es_check_least("after_position", after, 0);
	query = es_parse_tag_query(&PG_GETARG_JSONB_P(0)->root, "");
	es_require_fresh_snapshots("es_query()");

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	SPI_connect();
	store = es_current_store();
	es_check_cursor(store, after);
	upto = RecoveryInProgress() ? es_readable_horizon(store) : PG_INT64_MAX;
	snapshot = es_snapshot_of_tags(store, query);
	put_matches(fcinfo, store, query, after, upto, snapshot);
	UnregisterSnapshot(snapshot);
	SPI_finish();
	return (Datum) 0;
}
