/*-------------------------------------------------------------------------
 *
 * key_lock.c
 *	  Locks on keys that have no row, in the lock manager.
 *
 * Invariant: whoever holds the lock on an absent key and has looked after that knows
 * that the key stays absent.
 *
 * - A key's tag: creators and es_lock exclude everybody, guards share.
 * - The root, one tag per store: whoever locks keys holds it in an intention mode;
 *   whoever needs many takes it alone, in a mode that conflicts with the others'
 *   intentions, instead of the keys.  So no input can fill the lock table.
 *
 * Guards and es_lock hold their locks to the end of the transaction.  A creator gives
 * them up as soon as its row is inserted, so that a transaction can create as many
 * aggregates as it likes and creators do not wait for each other's commits.  From
 * then on the row stands for the lock: everybody who has locked a key looks for a row
 * in flight, past all snapshots, and waits for the transaction that inserted it.
 *
 * The order is: the root, then the keys in key order.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "eventstore.h"
#include "testing.h"

#define GUARD_INTENTION RowShareLock
#define CREATE_INTENTION RowExclusiveLock
#define GUARD_ALL ShareLock		/* conflicts with CREATE_INTENTION */
#define CREATE_ALL ExclusiveLock	/* conflicts with both intentions */

/* The hash by which a key is known to the lock manager. */
uint64
es_key_hash(const EsStore *store, const text *key)
{
	return hash_bytes_extended((const unsigned char *) VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key),
							   store->sequence_oid);
}

static void
set_root_tag(LOCKTAG *tag, const EsStore *store)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, store->sequence_oid, 0, ES_LOCK_CLASS_ROOT);
}

/* Two keys with the same 64-bit hash wait for each other without need, and nothing worse. */
static void
set_key_tag(LOCKTAG *tag, const EsStore *store, const EsAggregate *aggregate)
{
	uint64		hash = ES_MUTANT("keys share a hash") ? 0 : es_key_hash(store, aggregate->key);

	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash, ES_LOCK_CLASS_KEY);
}

static LOCKMODE
key_mode(const EsAggregate *aggregate)
{
	return aggregate->written ? ExclusiveLock : ShareLock;
}

static void
take_lock(const LOCKTAG *tag, LOCKMODE mode, bool nowait, const EsAggregate *aggregate)
{
	if (LockAcquire(tag, mode, false, nowait) == LOCKACQUIRE_NOT_AVAIL)
		es_report_busy(aggregate);
}

static bool
root_is_held(const EsStore *store, LOCKMODE mode)
{
	LOCKTAG		tag;

	set_root_tag(&tag, store);
	return es_lock_held(&tag, mode);
}

static void
lock_root(const EsStore *store, LOCKMODE mode, bool nowait, EsAggregate **absent, int count)
{
	LOCKTAG		tag;

	set_root_tag(&tag, store);
	take_lock(&tag, mode, nowait, absent[0]);
	for (int i = 0; i < count; i++)
		absent[i]->root_mode = mode;
}

/*
 * Has the key ever had a row, as far as its index knows?  *creator is the transaction that
 * has inserted it, if that is still open, else InvalidTransactionId.  A row that is there
 * may be missed while others update it; its entries in the index are not.
 */
static bool
has_entries(Relation heap, Relation index, const EsAggregate *aggregate, TransactionId *creator)
{
	SnapshotData dirty;
	ScanKeyData key;
	IndexScanDesc scan;
	TupleTableSlot *slot = table_slot_create(heap, NULL);
	bool		entries = false;

	*creator = InvalidTransactionId;
	InitDirtySnapshot(dirty);
	ScanKeyEntryInitialize(&key, 0, 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID, F_TEXTEQ,
						   PointerGetDatum(aggregate->key));
	scan = es_index_beginscan(heap, index, &dirty, 1);
	index_rescan(scan, &key, 1, NULL, 0);
	while (index_getnext_tid(scan, ForwardScanDirection) != NULL)
	{
		entries = true;
		if (index_fetch_heap(scan, slot))
		{
			*creator = dirty.xmin;
			break;
		}
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return entries;
}

/* The table and index in which rows in flight are looked for. */
typedef struct FlightTable
{
	Relation	heap;
	Relation	index;
} FlightTable;

/* Is this the index that es_create_store() makes: a btree on the key alone? */
bool
es_is_key_index(Relation heap, Relation index)
{
	AttrNumber	key = get_attnum(RelationGetRelid(heap), "key");

	return index->rd_rel->relam == BTREE_AM_OID &&
		index->rd_index->indnkeyatts == 1 &&
		index->rd_index->indkey.values[0] == key &&
		TupleDescAttr(RelationGetDescr(heap), key - 1)->atttypid == TEXTOID &&
		index->rd_indcollation[0] == C_COLLATION_OID;
}

/*
 * Look for rows in flight below the executor, since no statement sees them; so only
 * in a plain table.  False for any other: there creators must keep their locks.
 */
static bool
open_table(const EsStore *store, FlightTable *table)
{
	Oid			index_oid;

	table->heap = table_open(store->aggregates_oid, AccessShareLock);
	index_oid = es_primary_key_index(table->heap);
	if (table->heap->rd_rel->relkind == RELKIND_RELATION && OidIsValid(index_oid))
	{
		table->index = index_open(index_oid, AccessShareLock);
		if (es_is_key_index(table->heap, table->index))
			return true;
		index_close(table->index, AccessShareLock);
	}
	table_close(table->heap, AccessShareLock);
	return false;
}

static void
close_table(FlightTable *table)
{
	index_close(table->index, AccessShareLock);
	table_close(table->heap, AccessShareLock);
}

/* Wait until no row for this key is in flight. */
static void
await_creator(const FlightTable *table, EsAggregate *aggregate, bool nowait)
{
	for (;;)
	{
		TransactionId creator;

		CHECK_FOR_INTERRUPTS();
		aggregate->absent = !has_entries(table->heap, table->index, aggregate, &creator);
		if (!TransactionIdIsValid(creator) || ES_MUTANT("creators in flight not awaited"))
			break;
		if (!nowait)
			XactLockTableWait(creator, NULL, NULL, XLTW_None);
		else if (!es_xact_wait_at_once(creator))
			es_report_busy(aggregate);
	}
}

/* Lock every key through the root. */
static void
lock_all_keys(EsStore *store, const FlightTable *table, EsAggregate **absent, int count,
			  LOCKMODE mode, bool nowait)
{
	/* Better wait now than with the root in our hands. */
	for (int i = 0; i < count && store->row_stands_for_key; i++)
		await_creator(table, absent[i], nowait);
	lock_root(store, mode, nowait, absent, count);
	for (int i = 0; i < count && store->row_stands_for_key; i++)
		await_creator(table, absent[i], nowait);
}

/* Does what we hold stand for the lock on a key? */
static bool
key_is_covered(const EsStore *store, const EsAggregate *aggregate)
{
	LOCKTAG		tag;

	set_key_tag(&tag, store, aggregate);
	return es_lock_held(&tag, key_mode(aggregate)) || es_lock_held(&tag, ExclusiveLock);
}

/* Lock the keys one by one: what comes later in key order is still free meanwhile. */
static void
lock_each_key(EsStore *store, const FlightTable *table, EsAggregate **absent, int count, bool nowait)
{
	LOCKTAG		tag;

	for (int i = 0; i < count; i++)
	{
		if (!absent[i]->key_covered)
		{
			set_key_tag(&tag, store, absent[i]);
			take_lock(&tag, key_mode(absent[i]), nowait, absent[i]);
			absent[i]->key_locked = true;
			es_count_locks(1);
		}
		if (store->row_stands_for_key)
			await_creator(table, absent[i], nowait);
	}
}

/*
 * Lock keys that have no row (in key order), and wait for creators in flight.  The
 * caller then looks again, unless "absent" says that there is nothing to be seen.
 * 55P03 with nowait.
 */
void
es_lock_keys(EsStore *store, EsAggregate **absent, int count, bool nowait)
{
	FlightTable table;
	bool		creates = false;
	bool		guards = false;
	int			wanted = 0;

	for (int i = 0; i < count; i++)
	{
		if (absent[i]->written)
			creates = true;
		else
			guards = true;

		/*
		 * Not to be asked later: two keys may share a hash, and the first be
		 * given up.
		 */
		absent[i]->key_covered = key_is_covered(store, absent[i]);
		if (!absent[i]->key_covered)
			wanted++;
	}

	store->row_stands_for_key = open_table(store, &table);
	if (!es_may_lock(wanted))
		lock_all_keys(store, &table, absent, count, creates ? CREATE_ALL : GUARD_ALL, nowait);
	else
	{
		if (guards)
			lock_root(store, root_is_held(store, CREATE_INTENTION) ? CREATE_INTENTION : GUARD_INTENTION,
					  nowait, absent, count);
		if (creates)
			lock_root(store, CREATE_INTENTION, nowait, absent, count);
		lock_each_key(store, &table, absent, count, nowait);
	}
	if (store->row_stands_for_key)
		close_table(&table);
}

/*
 * The rows of these aggregates are inserted: give up the locks on their keys.  The
 * root goes only if no guard of the call relies on it.
 */
void
es_unlock_keys(EsStore *store, EsAggregate **chosen, int count)
{
	LOCKMODE	root_mode = NoLock;
	bool		guards = false;
	LOCKTAG		tag;

	if (!store->row_stands_for_key)
		return;
	for (int i = 0; i < count; i++)
	{
		if (chosen[i]->root_mode != NoLock)
			root_mode = chosen[i]->root_mode;
		if (chosen[i]->root_mode != NoLock && !chosen[i]->created && !chosen[i]->stored)
			guards = true;
		if (!chosen[i]->key_locked || (!chosen[i]->created && !ES_MUTANT("guarded keys given up")))
			continue;
		set_key_tag(&tag, store, chosen[i]);
		(void) LockRelease(&tag, key_mode(chosen[i]), false);
		es_count_locks(-1);
	}
	if (root_mode != NoLock && !guards)
	{
		set_root_tag(&tag, store);
		(void) LockRelease(&tag, root_mode, false);
	}
}
