/*-------------------------------------------------------------------------
 *
 * aggregate.c
 *	  The aggregates of a call: which there are, and what the table says of them.
 *
 * A look takes no lock.  Its snapshot is always the latest, also above READ
 * COMMITTED, where the transaction's own snapshot may be behind: a write must be
 * judged by what is there now.  Whether that differs from what the transaction
 * can see is remembered in "moved".
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/rls.h"

#include "eventstore.h"

/* Order keys by their bytes, as the tables do. */
int
es_compare_keys(const text *a, const text *b)
{
	int			length_a = VARSIZE_ANY_EXHDR(a);
	int			length_b = VARSIZE_ANY_EXHDR(b);
	int			order = memcmp(VARDATA_ANY(a), VARDATA_ANY(b), Min(length_a, length_b));

	if (order != 0)
		return order;
	return length_a < length_b ? -1 : length_a > length_b ? 1 : 0;
}

static int
compare_writes(const void *a, const void *b)
{
	return es_compare_keys((*(EsWrite *const *) a)->key, (*(EsWrite *const *) b)->key);
}

/* Find the distinct keys of a call and bind its writes to them, but for guards without a key. */
void
es_collect_aggregates(EsCall *call)
{
	EsWrite   **by_key = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(EsWrite *) * call->nwrites);
	int			count = 0;

	call->aggregates = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(EsAggregate) * call->nwrites);
	for (int i = 0; i < call->nwrites; i++)
	{
		if (call->writes[i].key != NULL)
			by_key[count++] = &call->writes[i];
	}
	qsort(by_key, count, sizeof(EsWrite *), compare_writes);

	for (int i = 0; i < count; i++)
	{
		EsAggregate *aggregate;

		if (i == 0 || es_compare_keys(by_key[i]->key, by_key[i - 1]->key) != 0)
		{
			aggregate = &call->aggregates[call->naggregates++];
			memset(aggregate, 0, sizeof(EsAggregate));
			aggregate->key = by_key[i]->key;
		}
		else
			aggregate = &call->aggregates[call->naggregates - 1];
		if (by_key[i]->nevents > 0)
			aggregate->written = true;
		by_key[i]->aggregate = aggregate;
	}
	pfree(by_key);
}

/* The keys of the chosen aggregates as a parameter; the number in *count. */
Datum
es_key_array(EsAggregate **chosen, int count)
{
	Datum	   *keys = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Datum) * count);
	ArrayType  *array;

	for (int i = 0; i < count; i++)
		keys[i] = PointerGetDatum(chosen[i]->key);
	array = construct_array(keys, count, TEXTOID, -1, false, TYPALIGN_INT);
	pfree(keys);
	return PointerGetDatum(array);
}

static int
compare_key_to_aggregate(const void *key, const void *element)
{
	return es_compare_keys((const text *) key, (*(EsAggregate *const *) element)->key);
}

/* Which of the aggregates (in key order) a result row is about. */
static EsAggregate *
row_aggregate(HeapTuple row, EsAggregate **chosen, int count)
{
	bool		isnull;
	Datum		key = SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull);
	EsAggregate **found = bsearch(DatumGetTextPP(key), chosen, count, sizeof(EsAggregate *),
								  compare_key_to_aggregate);

	if (found == NULL)
		elog(ERROR, "statement returned an aggregate that was not asked for");
	return *found;
}

/*
 * Take over the rows of a look or lock, key, version, closed, tableoid and ctid,
 * and free them.
 */
void
es_take_rows(EsAggregate **chosen, int count)
{
	SPITupleTable *rows = SPI_tuptable;
	int			nrows = (int) SPI_processed;
	bool		isnull;

	for (int i = 0; i < nrows; i++)
	{
		HeapTuple	row = rows->vals[i];
		EsAggregate *aggregate = row_aggregate(row, chosen, count);

		aggregate->stored = true;
		aggregate->stored_version = DatumGetInt64(SPI_getbinval(row, rows->tupdesc, 2, &isnull));
		aggregate->closed = DatumGetBool(SPI_getbinval(row, rows->tupdesc, 3, &isnull));
		aggregate->row_table = DatumGetObjectId(SPI_getbinval(row, rows->tupdesc, 4, &isnull));
		ItemPointerCopy((ItemPointer) DatumGetPointer(SPI_getbinval(row, rows->tupdesc, 5, &isnull)),
						&aggregate->row_tid);
	}
	SPI_freetuptable(rows);
}

/*
 * A row that a policy hides from the caller must not look missing to a write
 * (42501).  Looked for as the owner of the table.
 */
void
es_refuse_hidden(EsStore *store, EsAggregate **missing, int count)
{
	Datum		keys;

	if (count == 0 || check_enable_rls(store->aggregates_oid, InvalidOid, true) != RLS_ENABLED)
		return;
	keys = es_key_array(missing, count);
	es_run_as_owner(store, ES_LOOK_AS_OWNER, &keys, es_latest_snapshot());
	if (SPI_processed > 0)
		es_report_hidden(row_aggregate(SPI_tuptable->vals[0], missing, count)->key);
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Above READ COMMITTED, find out which aggregates differ from what the
 * transaction's snapshot shows.
 */
void
es_mark_moved(EsStore *store, EsAggregate **chosen, int count)
{
	EsAggregate *seen;
	EsAggregate **pointers;
	Datum		keys;

	if (!IsolationUsesXactSnapshot() || count == 0)
		return;
	seen = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(EsAggregate) * count);
	pointers = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(EsAggregate *) * count);
	for (int i = 0; i < count; i++)
	{
		memset(&seen[i], 0, sizeof(EsAggregate));
		seen[i].key = chosen[i]->key;
		pointers[i] = &seen[i];
	}
	keys = es_key_array(chosen, count);
	es_run(store, ES_LOOK, &keys, NULL);
	es_take_rows(pointers, count);
	for (int i = 0; i < count; i++)
		chosen[i]->moved = seen[i].stored != chosen[i]->stored ||
			seen[i].stored_version != chosen[i]->stored_version ||
			seen[i].closed != chosen[i]->closed;
	pfree(pointers);
	pfree(seen);
}

/*
 * See what the table says of the given aggregates (in key order), without a lock.
 * SPI must be connected.  42501 if a policy hides one.
 */
void
es_look(EsStore *store, EsAggregate **chosen, int count)
{
	Datum		keys;
	EsAggregate **missing;
	int			nmissing = 0;

	if (count == 0)
		return;
	for (int i = 0; i < count; i++)
	{
		chosen[i]->stored = false;
		chosen[i]->closed = false;
		chosen[i]->stored_version = 0;
	}
	if (es_look_directly(store, chosen, count))
		return;					/* there are no policies, then */
	keys = es_key_array(chosen, count);
	es_run_snapshot(store, ES_LOOK, &keys, NULL, es_latest_snapshot());
	es_take_rows(chosen, count);

	missing = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(EsAggregate *) * count);
	for (int i = 0; i < count; i++)
	{
		if (!chosen[i]->stored)
			missing[nmissing++] = chosen[i];
	}
	es_refuse_hidden(store, missing, nmissing);
	pfree(missing);
}
