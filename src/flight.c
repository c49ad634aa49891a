/*-------------------------------------------------------------------------
 *
 * flight.c
 *	  Appends in flight, and the horizon up to which the log is settled.
 *
 * Positions are handed out when events are written and become visible when their
 * transaction commits, in any order.  A reader that goes by "positions after the
 * last one I saw" would pass events that are still in flight, and lose them.
 *
 * Invariant: whoever draws a position holds, from before that until its
 * transaction is over, a lock that says "all my positions are above this bound".
 *
 * An appender, under the locks of its aggregates: reads the sequence's last value
 * b, takes the lock with the bound b, draws positions (each must be above b).
 * A reader: (1) reads the sequence's last value S, (2) takes the smallest bound B
 * of all such locks, (3) takes a snapshot.  Every position p <= min(S, B) is then
 * settled: visible to that snapshot, or dead for ever.  For p <= S was drawn before
 * (1), so under a lock granted before (2); if that lock was still held at (2), its
 * bound would be below p, and B too; so its transaction had left the proc array,
 * which comes before the release of its locks, and (3) sees what it committed.
 * Nothing here rests on timing, transaction ids or the activity of others.
 *
 * The lock lives in the lock manager, so savepoints, two-phase commit and crash
 * recovery need no work of ours.  Whether we hold it is always asked of the lock
 * manager: a rollback to a savepoint gives it back.  A transaction may hold several;
 * the smallest counts.
 *
 * Own positions do not count: a transaction sees its own events.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "commands/sequence.h"
#include "common/int.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/rls.h"

#include "eventstore.h"
#include "testing.h"

/*
 * The last position drawn, 0 if none; 42501 without the right to know.
 *
 * Reads the sequence's row itself, under the buffer lock that nextval() holds too:
 * the server's function would keep a lock on the sequence to the end of the
 * transaction, and a waiting reader would stand in the way of ALTER SEQUENCE and of
 * es_drop_store().
 */
int64
es_last_position(EsStore *store)
{
	Relation	sequence = try_relation_open(store->sequence_oid, AccessShareLock);
	Form_pg_sequence_data row;
	HeapTupleData tuple;
	ItemId		item;
	Buffer		buffer;
	int64		last;

	if (sequence == NULL)
		es_report_replaced(store);
	if (pg_class_aclcheck(store->sequence_oid, GetUserId(), ACL_SELECT | ACL_USAGE) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_SEQUENCE, RelationGetRelationName(sequence));

	buffer = ReadBuffer(sequence, 0);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	item = PageGetItemId(BufferGetPage(buffer), FirstOffsetNumber);
	tuple.t_data = (HeapTupleHeader) PageGetItem(BufferGetPage(buffer), item);
	row = (Form_pg_sequence_data) GETSTRUCT(&tuple);
	/* After RESTART WITH n, n is the next one. */
	last = row->is_called ? row->last_value : row->last_value - 1;
	UnlockReleaseBuffer(buffer);
	relation_close(sequence, AccessShareLock);
	return last;
}

/*
 * Read the last event of the log, whatever policies and rights say; but if that must not
 * be (owner.c), as the caller, or not at all.
 */
static bool
read_last_event(EsStore *store)
{
	if (es_may_run_as_owner(store, ES_LAST_EVENT))
		es_run_as_owner(store, ES_LAST_EVENT, NULL, es_latest_snapshot());
	else if (pg_class_aclcheck(store->events_oid, GetUserId(), ACL_SELECT) == ACLCHECK_OK &&
			 check_enable_rls(store->events_oid, InvalidOid, true) != RLS_ENABLED)
		es_run_snapshot(store, ES_LAST_EVENT, NULL, NULL, es_latest_snapshot());
	else
		return false;
	return true;
}

/*
 * Refuse (55000) a sequence that is behind the log, once a session: on a promoted
 * logical replica, or after a careless restore, positions would come twice.
 *
 * Not in a serializable transaction, which would then depend on whoever writes the
 * end of the log; there the unique position still refuses what came twice.
 */
static void
check_sequence(EsStore *store)
{
	int64		highest = 0;
	bool		isnull;

	if (store->sequence_checked || IsolationIsSerializable() || !read_last_event(store))
		return;
	if (SPI_processed > 0)
		highest = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	if (highest > es_last_position(store))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("sequence \"es_position_seq\" of event store \"%s\" is behind the log",
						NameStr(store->namespace_name)),
				 errdetail("The last event is at position " INT64_FORMAT ".", highest),
				 errhint("Call es_sync_position() to move the sequence behind the last event.")));
	store->sequence_checked = true;
}

/*
 * The tag of a bound.  Only its lower half fits; a reader takes the value nearest
 * to the sequence's.  Frozen for ever, like the class.
 */
static void
set_flight_tag(LOCKTAG *tag, const EsStore *store, int64 bound)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, store->sequence_oid, (uint32) bound, ES_LOCK_CLASS_FLIGHT);
}

static int64
decode_bound(uint32 low, int64 near)
{
	int64		bound;

	/* A bound is below the end of bigint, whatever the sequence says by now. */
	if (pg_add_s64_overflow(near, (int32) (low - (uint32) near), &bound))
		return near;
	return Max(bound, 0);
}

/* Does this transaction hold the lock that it took last? */
static bool
has_taken_off(const EsStore *store)
{
	if (ES_MUTANT("flight remembered in a flag"))
	{
		static LocalTransactionId flag = InvalidLocalTransactionId;
		bool		raised = flag == ES_MY_LXID;

		flag = ES_MY_LXID;
		return raised;
	}
	return es_lock_held(&store->flight, ShareLock);
}

/*
 * Announce that this transaction is going to draw positions, all of them above the
 * returned bound.  To be called under the aggregates' locks, right before the first
 * position is drawn: a lock in flight holds back every reader of the log.
 */
int64
es_take_off(EsStore *store)
{
	int64		bound;

#ifdef ES_BENCH_NO_FLIGHT		/* bench/log: what the lock costs */
	return 0;
#endif
	if (has_taken_off(store))
		return store->flight_bound;
	check_sequence(store);
	bound = es_last_position(store);
	ES_PAUSE("after bound");
	set_flight_tag(&store->flight, store, bound);
	store->flight_bound = bound;
	(void) LockAcquire(&store->flight, ShareLock, false, false);
	es_bell_remember(store->sequence_oid);
	ES_PAUSE("after lock");
	return bound;
}

/* Is this a lock of a flight in the store? */
static bool
is_flight(const LockInstanceData *lock, const EsStore *store)
{
	if (ES_MUTANT("prepared transactions forgotten") && lock->pid == 0)
		return false;
	return lock->locktag.locktag_type == LOCKTAG_ADVISORY &&
		lock->locktag.locktag_field4 == ES_LOCK_CLASS_FLIGHT &&
		lock->locktag.locktag_field1 == MyDatabaseId &&
		lock->locktag.locktag_field2 == store->sequence_oid &&
		lock->holdMask != 0;
}

/*
 * The smallest bound of the others' flights, or "last" if that is smaller.  Notes
 * whether we are in flight ourselves.
 */
static int64
smallest_bound(EsStore *store, int64 last)
{
	LockData   *locks = GetLockStatusData();
	int64		smallest = last;

	store->own_flight = false;
	for (int i = 0; i < locks->nelements; i++)
	{
		if (!is_flight(&locks->locks[i], store))
			continue;
		if (locks->locks[i].pid == MyProcPid)
			store->own_flight = true;
		else
			smallest = Min(smallest, decode_bound(locks->locks[i].locktag.locktag_field3, last));
	}
	return smallest;
}

/*
 * The settled horizon.  Good for a snapshot that is taken after the call.  Must not
 * be called during recovery, where others' locks are not known.
 *
 * Who starts late may hold an older bound than one that was seen before, though all
 * its positions are above.  What was settled once stays so: within a session the
 * horizon never goes back, unless the sequence does.
 */
int64
es_settled_horizon(EsStore *store)
{
	int64		last = es_last_position(store);
	int64		horizon;

	ES_PAUSE("after last position");
	if (ES_MUTANT("no horizon"))
		return last;
	horizon = smallest_bound(store, ES_MUTANT("last position after listing") ? PG_INT64_MAX : last);
	ES_PAUSE("after listing");
	if (ES_MUTANT("last position after listing"))
		horizon = Min(horizon, last = es_last_position(store));
	if (store->settled_horizon <= last && !ES_MUTANT("horizon goes back"))
		horizon = Max(horizon, store->settled_horizon);
	/* Not with own positions in it: prepared, they are somebody else's. */
	if (!store->own_flight)
		store->settled_horizon = horizon;
	return horizon;
}
