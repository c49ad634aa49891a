/*-------------------------------------------------------------------------
 *
 * aggregate_row.c
 *	  Reading, locking and writing the rows of es_aggregates below the executor.
 *
 * Does what the statements of statement.c do with a plain table (direct.c) under READ
 * COMMITTED, in the way of the executor: find the row with a fresh snapshot, and where
 * another transaction was changing it, wait and follow it to its latest version.  Above
 * READ COMMITTED everything goes through SPI.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "eventstore.h"
#include "testing.h"

static const EsColumn columns[] = {
	{"key", TEXTOID, false}, {"version", INT8OID, false}, {"first_version", INT8OID, false},
	{"closed_at", TIMESTAMPTZOID, true}
};

#define COLUMNS ((int) lengthof(columns))
#define COL_KEY 0
#define COL_VERSION 1
#define COL_FIRST_VERSION 2
#define COL_CLOSED_AT 3

/*
 * A page with less room than this is cleared of dead versions of rows.  The server's own
 * index scans do so as soon as a page is filled up to its fillfactor, which after every
 * append it is: a fifth of the whole append went into clearing away a single version.
 */
#define CROWDED (BLCKSZ / 10)

typedef struct AggregateTable
{
	EsDirect	direct;
	Relation	index;
	TupleTableSlot *row;
} AggregateTable;

/*
 * Open the table, with a fresh snapshot that sees what was done before in this
 * transaction.  False if it must be used through SPI.
 */
static bool
open_aggregates(AggregateTable *table, const EsStore *store, EsDirectUse use)
{
	Oid			index_oid;

	if (IsolationUsesXactSnapshot() ||
		!es_begin_direct(&table->direct, store->aggregates_oid, use, columns, COLUMNS))
		return false;
	index_oid = es_primary_key_index(table->direct.relation);
	table->index = OidIsValid(index_oid) ? index_open(index_oid, AccessShareLock) : NULL;
	if (table->index == NULL || !es_is_key_index(table->direct.relation, table->index))
	{
		if (table->index != NULL)
			index_close(table->index, AccessShareLock);
		es_end_direct(&table->direct);
		return false;
	}
	table->row = table_slot_create(table->direct.relation, NULL);
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	return true;
}

static void
close_aggregates(AggregateTable *table)
{
	PopActiveSnapshot();
	ExecDropSingleTupleTableSlot(table->row);
	index_close(table->index, AccessShareLock);
	es_end_direct(&table->direct);
}

/*
 * Get the version of a row that our snapshot sees, as the table access method would, but
 * for the clearing.  False if it sees none; *all_dead if nobody does.
 */
static bool
fetch_row(AggregateTable *table, ItemPointer tid, bool *all_dead)
{
	Relation	relation = table->direct.relation;
	HeapTuple	tuple = &((BufferHeapTupleTableSlot *) table->row)->base.tupdata;
	Buffer		buffer = ReadBuffer(relation, ItemPointerGetBlockNumber(tid));
	bool		found;

	if (PageGetHeapFreeSpace(BufferGetPage(buffer)) < CROWDED)
		es_prune_page(relation, buffer);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	found = heap_hot_search_buffer(tid, relation, buffer, GetActiveSnapshot(), tuple, all_dead, true);
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	if (found)
	{
		pgstat_count_heap_fetch(table->index);
		ExecStorePinnedBufferHeapTuple(tuple, table->row, buffer);
		table->row->tts_tableOid = RelationGetRelid(relation);
	}
	else
		ReleaseBuffer(buffer);
	return found;
}

/*
 * Find the row of a key.  Backwards, since the newest version of a row most often has the
 * highest place: while an old snapshot keeps the others from being cleared away, there may
 * be thousands of them.
 */
static bool
find_row(AggregateTable *table, const text *key)
{
	IndexScanDesc scan = es_index_beginscan(table->direct.relation, table->index, GetActiveSnapshot(), 1);
	ScanKeyData scankey;
	ItemPointer tid;
	bool		found = false;

	ScanKeyEntryInitialize(&scankey, 0, 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID, F_TEXTEQ,
						   PointerGetDatum(key));
	index_rescan(scan, &scankey, 1, NULL, 0);
	while (!found && (tid = index_getnext_tid(scan, BackwardScanDirection)) != NULL)
	{
		ItemPointerData place = *tid;
		bool		all_dead;

		found = fetch_row(table, &place, &all_dead);

		/*
		 * The index entry of a row that nobody sees is marked, to be passed
		 * over.
		 */
		scan->kill_prior_tuple = all_dead && !scan->xactStartedInRecovery;
	}
	index_endscan(scan);
	if (found)
		slot_getallattrs(table->row);
	return found;
}

static int64
row_version(const AggregateTable *table)
{
	return DatumGetInt64(table->row->tts_values[COL_VERSION]);
}

/* Take over what the row says. */
static void
take_row(const AggregateTable *table, EsAggregate *aggregate)
{
	aggregate->stored = true;
	aggregate->stored_version = row_version(table);
	aggregate->closed = !table->row->tts_isnull[COL_CLOSED_AT];
	aggregate->row_table = table->row->tts_tableOid;
	aggregate->row_tid = table->row->tts_tid;
}

/* ES_LOOK below the executor. */
bool
es_look_directly(EsStore *store, EsAggregate **chosen, int count)
{
	AggregateTable table;

	if (!open_aggregates(&table, store, ES_DIRECT_READ))
		return false;
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (find_row(&table, chosen[i]->key))
			take_row(&table, chosen[i]);
	}
	close_aggregates(&table);
	return true;
}

/*
 * Lock the latest version of the row that was found, and get that.  False if it is gone,
 * or not to be had at once.
 */
static bool
lock_row(AggregateTable *table, LockTupleMode mode, bool nowait)
{
	ItemPointerData tid = table->row->tts_tid;
	TM_FailureData failure;
	TM_Result	result;

	ExecClearTuple(table->row);
	result = table_tuple_lock(table->direct.relation, &tid, GetActiveSnapshot(), table->row,
							  GetCurrentCommandId(true), mode, nowait ? LockWaitSkip : LockWaitBlock,
							  TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS | TUPLE_LOCK_FLAG_FIND_LAST_VERSION,
							  &failure);
	if (result == TM_Ok)
		slot_getallattrs(table->row);
	return result == TM_Ok;
}

/* ES_LOCK_ROWS, ES_LOCK_ROWS_NOWAIT and ES_SHARE_ROW below the executor. */
bool
es_lock_rows_directly(EsStore *store, EsAggregate **chosen, int count, bool share, bool nowait)
{
	AggregateTable table;

	if (!open_aggregates(&table, store, ES_DIRECT_LOCK))
		return false;
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (find_row(&table, chosen[i]->key) &&
			lock_row(&table, share ? LockTupleShare : LockTupleNoKeyExclusive, nowait))
			take_row(&table, chosen[i]);
	}
	close_aggregates(&table);
	return true;
}

/*
 * Give the row another version.  TM_Updated if another transaction has changed it
 * meanwhile; then the row is locked, and we have what became of it.
 */
static TM_Result
update_row(AggregateTable *table, int64 version)
{
	EsDirect   *direct = &table->direct;
	TupleTableSlot *changed = table_slot_create(direct->relation, NULL);
	ItemPointerData tid = table->row->tts_tid;
	CommandId	command = GetCurrentCommandId(true);
	TM_FailureData failure;
	LockTupleMode mode;
	EsIndexUpdate update;
	TM_Result	result;

	memcpy(changed->tts_values, table->row->tts_values, sizeof(Datum) * COLUMNS);
	memcpy(changed->tts_isnull, table->row->tts_isnull, sizeof(bool) * COLUMNS);
	changed->tts_values[COL_VERSION] = Int64GetDatum(version);
	ExecStoreVirtualTuple(changed);
	result = es_update_row(direct->relation, &tid, changed, command, GetActiveSnapshot(),
						   &failure, &mode, &update);
	if (result == TM_Ok && update != ES_NO_INDEX_UPDATE)
		es_put_index_entries(direct, changed, update);
	ExecDropSingleTupleTableSlot(changed);
	if (result == TM_Updated && !lock_row(table, mode, false))
		result = TM_Deleted;
	return result;
}

/* Is the row the one that the append is for? */
static bool
row_matches(const AggregateTable *table, const EsWrite *write)
{
	return table->row->tts_isnull[COL_CLOSED_AT] &&
		(!write->has_expected || row_version(table) == write->expected_version);
}

/*
 * ES_ADVANCE and ES_ADVANCE_EXPECTED below the executor.  Sets *advanced if there was
 * such a row, and the write's version.
 */
bool
es_advance_directly(EsStore *store, EsWrite *write, bool *advanced)
{
	AggregateTable table;
	TM_Result	result = TM_Updated;

	if (!open_aggregates(&table, store, ES_DIRECT_UPDATE))
		return false;
	if (find_row(&table, write->key) && row_matches(&table, write))
	{
		do
		{
			write->version = es_next_version(row_version(&table), write->nevents);
			result = update_row(&table, write->version);
		} while (result == TM_Updated &&
				 (row_matches(&table, write) || ES_MUTANT("moved row not looked at")));
	}
	close_aggregates(&table);
	*advanced = result == TM_Ok;
	return true;
}

/* ES_UPDATE_AGGREGATES below the executor: rows that we have locked. */
bool
es_update_aggregates_directly(EsStore *store, EsAggregate **chosen, int count)
{
	AggregateTable table;

	if (!open_aggregates(&table, store, ES_DIRECT_UPDATE))
		return false;
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!find_row(&table, chosen[i]->key) || update_row(&table, chosen[i]->version) != TM_Ok)
			elog(ERROR, "could not update aggregate \"%s\"", text_to_cstring(chosen[i]->key));
	}
	close_aggregates(&table);
	return true;
}

/* ES_INSERT_AGGREGATES below the executor. */
bool
es_insert_aggregates_directly(EsStore *store, EsAggregate **chosen, int count)
{
	EsDirect	direct;
	Datum		values[COLUMNS];
	bool		nulls[COLUMNS] = {false};

	if (!es_begin_direct(&direct, store->aggregates_oid, ES_DIRECT_INSERT, columns, COLUMNS))
		return false;
	values[COL_FIRST_VERSION] = Int64GetDatum(1);
	values[COL_CLOSED_AT] = (Datum) 0;
	nulls[COL_CLOSED_AT] = true;
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		values[COL_KEY] = PointerGetDatum(chosen[i]->key);
		values[COL_VERSION] = Int64GetDatum(chosen[i]->version);
		es_put_direct(&direct, values, nulls);
	}
	es_end_direct(&direct);
	return true;
}
