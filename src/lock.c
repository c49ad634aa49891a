/*-------------------------------------------------------------------------
 *
 * lock.c
 *	  Locks on aggregates, held to the end of the transaction.
 *
 * What is locked
 *
 * - An aggregate with a row: its row in es_aggregates.  Writers and es_lock take
 *   it FOR NO KEY UPDATE, guards FOR SHARE.
 * - An absent aggregate has no row, so its key is locked (key_lock.c).  After that
 *   comes a second look with a new snapshot; if the row is there by now, it is
 *   locked as any other.
 *
 * In which order: absent keys in key order, rows in key order.  Every call keeps it,
 * so that calls cannot deadlock each other.  Several calls in one transaction can,
 * as with any rows.
 *
 * Fairness: PostgreSQL lets a FOR SHARE join the holders of a shared row even if a
 * writer is waiting for them, so that overlapping guards could keep a writer out
 * for ever.  A waiting writer holds the row's heavyweight tuple lock; a guard
 * therefore takes that lock first, and so queues behind the writer.
 *
 * Above READ COMMITTED rows are locked with the latest snapshot, since the
 * transaction's own cannot see rows that moved.  If a row moves while we wait for
 * it, PostgreSQL raises 40001; that is caught in a subtransaction, and the lock
 * tried again with a newer snapshot.  Whether to refuse is for the caller to say.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "eventstore.h"
#include "testing.h"

PG_FUNCTION_INFO_V1(es_lock);

/*
 * The keys whose rows this transaction has locked, by hash.  After a rollback to a
 * savepoint it may say too much, and two keys may share a hash: either costs a bit
 * of fairness, no more.
 */
static HTAB *rows_held = NULL;
static LocalTransactionId rows_held_in = InvalidLocalTransactionId;

static bool
row_is_held(const EsStore *store, const EsAggregate *aggregate)
{
	uint64		hash = es_key_hash(store, aggregate->key);

	return rows_held_in == ES_MY_LXID && hash_search(rows_held, &hash, HASH_FIND, NULL) != NULL;
}

static void
remember_row(const EsStore *store, const EsAggregate *aggregate)
{
	uint64		hash = es_key_hash(store, aggregate->key);

	if (rows_held_in != ES_MY_LXID)
	{
		HASHCTL		control = {0};

		control.keysize = sizeof(uint64);
		control.entrysize = sizeof(uint64);
		control.hcxt = TopTransactionContext;
		rows_held = hash_create("eventstore rows held", 16, &control,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		rows_held_in = ES_MY_LXID;
	}
	(void) hash_search(rows_held, &hash, HASH_ENTER, NULL);
}

/*
 * Queue behind a writer that waits for this row: see the top of this file.  Not if
 * we hold the row: the writer waits for us.  Returns whether the tag is locked.
 */
static bool
queue_for_row(const EsStore *store, const EsAggregate *aggregate, LOCKTAG *tag, bool nowait)
{
	SET_LOCKTAG_TUPLE(*tag, MyDatabaseId, aggregate->row_table,
					  ItemPointerGetBlockNumber(&aggregate->row_tid),
					  ItemPointerGetOffsetNumber(&aggregate->row_tid));
	if (LockAcquire(tag, RowShareLock, false, true) != LOCKACQUIRE_NOT_AVAIL)
		return true;
	if (row_is_held(store, aggregate))
		return false;
	if (nowait)
		es_report_busy(aggregate);
	(void) LockAcquire(tag, RowShareLock, false, false);
	return true;
}

/* Lock the rows of a run of aggregates with one statement. */
static void
run_lock_statement(EsStore *store, EsAggregate **run, int count, bool nowait)
{
	Datum		keys = es_key_array(run, count);
	EsStatement statement = !run[0]->written ? ES_SHARE_ROW :
	nowait ? ES_LOCK_ROWS_NOWAIT : ES_LOCK_ROWS;

	es_run_snapshot(store, statement, &keys, NULL, es_latest_snapshot());
	es_take_rows(run, count);
}

/* Lock the rows of a run, and take over what they say: those are then "stored". */
static void
lock_rows_once(EsStore *store, EsAggregate **run, int count, bool nowait)
{
	bool		share = !run[0]->written;
	LOCKTAG		tag;
	bool		queued = share && queue_for_row(store, run[0], &tag, nowait);

	for (int i = 0; i < count; i++)
		run[i]->stored = false;
	if (!es_lock_rows_directly(store, run, count, share, nowait))
		run_lock_statement(store, run, count, nowait);
	if (queued)
		LockRelease(&tag, RowShareLock, false);
}

/*
 * The same in a subtransaction.  Returns false if a row moved while we waited
 * (40001 from PostgreSQL); any other error goes on.
 */
static bool
try_lock_rows(EsStore *store, EsAggregate **run, int count, bool nowait, ErrorData **error)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	ResourceOwner oldowner = CurrentResourceOwner;
	volatile bool locked = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(oldcontext);
	PG_TRY();
	{
		lock_rows_once(store, run, count, nowait);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(oldcontext);
		CurrentResourceOwner = oldowner;
		locked = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(oldcontext);
		*error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(oldcontext);
		CurrentResourceOwner = oldowner;
		if ((*error)->sqlerrcode != ERRCODE_T_R_SERIALIZATION_FAILURE)
			ReThrowError(*error);
	}
	PG_END_TRY();
	return locked;
}

/* Has any row of a run another version since we last took it over? */
static bool
run_changed(EsStore *store, EsAggregate **run, int count)
{
	ItemPointerData *seen = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(ItemPointerData) * count);
	bool		changed = false;

	for (int i = 0; i < count; i++)
		seen[i] = run[i]->row_tid;
	es_look(store, run, count);
	for (int i = 0; i < count; i++)
	{
		if (!run[i]->stored || !ItemPointerEquals(&seen[i], &run[i]->row_tid))
			changed = true;
	}
	pfree(seen);
	return changed;
}

/* If rows that were there a moment ago could not be locked, say why. */
static void
report_unlocked(EsStore *store, EsAggregate **run, int count, bool nowait)
{
	for (int i = 0; i < count; i++)
	{
		if (run[i]->stored)
			continue;
		if (nowait)
			es_report_busy(run[i]);
		/* A policy may show a row and yet not let it be locked. */
		es_refuse_hidden(store, &run[i], 1);
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("aggregate \"%s\" was removed concurrently", text_to_cstring(run[i]->key)),
				 errhint("Try again.")));
	}
}

/*
 * Lock the rows of a run: aggregates that follow each other in key order and are
 * locked in the same mode.  A guard is a run of its own.
 */
static void
lock_run(EsStore *store, EsAggregate **run, int count, bool nowait)
{
	if (!IsolationUsesXactSnapshot())
		lock_rows_once(store, run, count, nowait);
	else
	{
		ErrorData  *error;

		/*
		 * A 40001 without any change is not about these rows but from the
		 * serializable checks, and would come again.
		 */
		while (!try_lock_rows(store, run, count, nowait, &error))
		{
			if (!run_changed(store, run, count))
				ReThrowError(error);
			FreeErrorData(error);
		}
	}

	report_unlocked(store, run, count, nowait);
	for (int i = 0; i < count; i++)
		remember_row(store, run[i]);
}

static int
run_length(EsAggregate **chosen, int count)
{
	int			length = 1;

	if (chosen[0]->written)
	{
		while (length < count && chosen[length]->written)
			length++;
	}
	return length;
}

/*
 * Lock aggregates (in key order, looked at before) and take over what the table
 * says of them under the lock.  Exclusively if "written", else shared.
 *
 * 55P03 with nowait, 42501 if a policy hides a row; SPI must be connected.
 */
void
es_lock_aggregates(EsStore *store, EsAggregate **chosen, int count, bool nowait)
{
	EsAggregate **some;
	int			nsome = 0;

	if (count == 0)
		return;
	some = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(EsAggregate *) * count);
	for (int i = 0; i < count; i++)
	{
		if (!chosen[i]->stored)
			some[nsome++] = chosen[i];
	}
	if (nsome > 0)
	{
		int			nfound = 0;

		if (!ES_MUTANT("keys not locked"))
			es_lock_keys(store, some, nsome, nowait);
		for (int i = 0; i < nsome; i++)
		{
			if (!some[i]->absent && !ES_MUTANT("no look under the key locks"))
				some[nfound++] = some[i];
		}
		if (nfound > 0)
			es_look(store, some, nfound);
	}

	nsome = 0;
	for (int i = 0; i < count; i++)
	{
		if (chosen[i]->stored)
			some[nsome++] = chosen[i];
	}
	for (int i = 0, length; i < nsome; i += length)
	{
		length = run_length(&some[i], nsome - i);
		if (!ES_MUTANT(some[i]->written ? "written rows not locked" : "guarded rows not locked"))
			lock_run(store, &some[i], length, nowait);
	}
	pfree(some);
	es_mark_moved(store, chosen, count);
}

/*
 * The same for one aggregate that most likely has a row, without a look before.  False if
 * no row could be locked so: then go the long way, which tells why.
 */
bool
es_lock_likely_row(EsStore *store, EsAggregate *aggregate, bool nowait)
{
	if (!es_lock_rows_directly(store, &aggregate, 1, false, nowait) || !aggregate->stored)
		return false;
	remember_row(store, aggregate);
	return true;
}

static int
compare_aggregates(const void *a, const void *b)
{
	return es_compare_keys((*(EsAggregate *const *) a)->key, (*(EsAggregate *const *) b)->key);
}

/* The distinct keys of an array, in key order, as aggregates to be locked. */
int
es_aggregates_of_keys(ArrayType *array, EsAggregate ***result)
{
	Datum	   *keys;
	bool	   *nulls;
	int			nkeys;
	int			count = 0;
	EsAggregate **chosen;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &keys, &nulls, &nkeys);
	chosen = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(EsAggregate *) * Max(nkeys, 1));
	for (int i = 0; i < nkeys; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument \"keys\" must not contain nulls")));
		chosen[i] = palloc0(sizeof(EsAggregate));
		chosen[i]->key = DatumGetTextPP(keys[i]);
		chosen[i]->written = true;
		es_check_text("key", chosen[i]->key, ES_MAX_KEY_BYTES);
	}
	qsort(chosen, nkeys, sizeof(EsAggregate *), compare_aggregates);
	for (int i = 0; i < nkeys; i++)
	{
		if (count == 0 || compare_aggregates(&chosen[count - 1], &chosen[i]) != 0)
			chosen[count++] = chosen[i];
	}
	*result = chosen;
	return count;
}

/*
 * es_lock(keys text[], nowait boolean) RETURNS TABLE (key text, version bigint)
 *
 * Locks aggregates, absent ones too, to the end of the transaction, in key order.
 * Waits for others' appends, guards and locks, and they for it.
 *
 * 22004, 22023 for bad keys; 55P03 with nowait or lock_timeout; 40001 above READ
 * COMMITTED if an aggregate is newer than the transaction's snapshot; 42501 if a
 * policy hides a row; 25006 in a read-only transaction.
 */
Datum
es_lock(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	EsStore    *store;
	EsAggregate **chosen;
	int			count;

	es_require_argument(fcinfo, 0, "keys");
	es_require_argument(fcinfo, 1, "nowait");
	count = es_aggregates_of_keys(PG_GETARG_ARRAYTYPE_P(0), &chosen);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);

	SPI_connect();
	store = es_store_for_writing("es_lock()");
	es_look(store, chosen, count);
	es_lock_aggregates(store, chosen, count, PG_GETARG_BOOL(1));
	for (int i = 0; i < count; i++)
	{
		Datum		values[2];
		bool		nulls[2] = {false, false};

		if (chosen[i]->moved)
			es_report_moved(chosen[i]);
		values[0] = PointerGetDatum(chosen[i]->key);
		values[1] = Int64GetDatum(chosen[i]->stored_version);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	SPI_finish();
	return (Datum) 0;
}
