/*-------------------------------------------------------------------------
 *
 * tag_lock.c
 *	  Locks on tags, in the lock manager.
 *
 * Invariant: whoever writes an event with a tag holds the tag in a mode that writers
 * share, from before its position is drawn until its transaction is over.  So who
 * holds the tag in a mode that excludes writers, and looks after that, sees every
 * event with the tag that has, or will ever have, a position up to now.
 *
 * - Writers share a tag with each other.
 * - A condition excludes everybody, to the end of its transaction: two that look and
 *   then write must not look at the same time.  If its call also writes the tag, that
 *   is the one lock it takes.
 * - An attempt of es_execute() that locks what the one before was about holds written
 *	 tags like those of a condition (es_lock_tags_beforehand).
 * - es_query() excludes writers and conditions, and gives the lock up as soon as it
 *   has its snapshot.
 *
 * An event that matches an item of a query has all of the item's tags, so its writer
 * holds each of them.  It is enough to lock one: the first.
 *
 * The root, one tag of the lock manager per store, is for those who need many locks;
 * the others hold it in an intention mode.  Of the table below only the pairs marked x
 * wait for each other:
 *
 *						writes some  reads some  writes all  reads all
 *	 writes some  RowShare							x
 *	 reads some	  Share						 x		x
 *	 writes all	  RowExclusive		 x				x
 *	 reads all	  Exclusive	   x	 x		 x		x
 *
 * The order is: the root to write, the tags by their hash, the root to read; all of it
 * after the locks on aggregates, and before the lock in flight.  A reader comes to the
 * root last, so that it does not stand in the way of a writer that it waits for and that
 * takes the root in the end.  Two tags with the same 64-bit hash wait
 * for each other without need, and nothing worse.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "eventstore.h"
#include "testing.h"

#define WRITE_MODE RowExclusiveLock
#define CONDITION_MODE ShareRowExclusiveLock
#define QUERY_MODE ShareLock

#define WRITE_INTENTION RowShareLock
#define READ_INTENTION ShareLock
#define WRITE_ALL RowExclusiveLock
#define READ_ALL ExclusiveLock

static uint64
hash_of_tag(const EsStore *store, const text *tag)
{
	return hash_bytes_extended((const unsigned char *) VARDATA_ANY(tag), VARSIZE_ANY_EXHDR(tag),
							   store->sequence_oid);
}

static void
set_root_tag(LOCKTAG *tag, const EsStore *store)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, store->sequence_oid, 0, ES_LOCK_CLASS_TAG_ROOT);
}

static void
set_tag_tag(LOCKTAG *tag, uint64 hash)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash, ES_LOCK_CLASS_TAG);
}

static int
compare_uses(const void *a, const void *b)
{
	const EsTagUse *x = a;
	const EsTagUse *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	/* Conditions first, then events in their order. */
	if (x->write == NULL || y->write == NULL)
		return (x->write != NULL) - (y->write != NULL);
	return x->write->entry - y->write->entry;
}

static void
add_use(EsTagUses *uses, EsStore *store, const text *tag, EsWrite *write, EsEvent *event)
{
	EsTagUse   *use;

	if (uses->count == uses->room)
	{
		uses->room = Max(uses->room * 2, 16);
		uses->use = uses->use == NULL ?
			MemoryContextAllocHuge(CurrentMemoryContext, sizeof(EsTagUse) * uses->room) :
			repalloc_huge(uses->use, sizeof(EsTagUse) * uses->room);
	}
	use = &uses->use[uses->count++];
	use->hash = hash_of_tag(store, tag);
	use->write = write;
	use->event = event;
}

/* The tags by which a query is locked: the first of each item. */
static void
add_query(EsTagUses *uses, EsStore *store, const EsQuery *query)
{
	for (int i = 0; i < query->nitems; i++)
	{
		Datum	   *tags;

		(void) es_array_texts(query->items[i].tags, &tags);
		add_use(uses, store, DatumGetTextPP(tags[0]), NULL, NULL);
		pfree(tags);
	}
}

static void
add_event(EsTagUses *uses, EsStore *store, EsWrite *write, EsEvent *event)
{
	Datum	   *tags;
	int			count = es_array_texts(event->tags, &tags);

	for (int i = 0; i < count; i++)
		add_use(uses, store, DatumGetTextPP(tags[i]), write, event);
	pfree(tags);
}

/* Every tag that an entry writes or asks for. */
static void
add_write(EsTagUses *uses, EsStore *store, EsWrite *write)
{
	for (int i = 0; i < write->nconditions; i++)
		add_query(uses, store, write->conditions[i].query);
	for (int i = 0; i < write->nevents; i++)
	{
		if (write->events[i].tags != NULL)
			add_event(uses, store, write, &write->events[i]);
	}
}

/* The end of the run of uses of one tag. */
static int
end_of_run(const EsTagUses *uses, int start)
{
	int			end = start + 1;

	while (end < uses->count && uses->use[end].hash == uses->use[start].hash)
		end++;
	return end;
}

static bool
root_is_held(const EsStore *store, LOCKMODE mode)
{
	LOCKTAG		tag;

	set_root_tag(&tag, store);
	return es_lock_held(&tag, mode);
}

/* Does what we hold stand for the lock on a tag? */
static bool
tag_is_covered(const LOCKTAG *tag, LOCKMODE mode)
{
	return es_lock_held(tag, mode) || es_lock_held(tag, CONDITION_MODE);
}

/* Take a lock; 55P03 with nowait. */
static void
take_lock(const LOCKTAG *tag, LOCKMODE mode, bool nowait)
{
	if (LockAcquire(tag, mode, false, nowait) == LOCKACQUIRE_NOT_AVAIL)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("could not obtain lock on a tag")));
}

static void
lock_root(const EsStore *store, LOCKMODE mode, bool nowait)
{
	LOCKTAG		tag;

	set_root_tag(&tag, store);
	take_lock(&tag, mode, nowait);
}

static LOCKMODE
mode_of_run(const EsTagUses *uses, int start, LOCKMODE read_mode)
{
	return uses->use[start].write == NULL ? read_mode : WRITE_MODE;
}

/* How many of the tags are not locked yet in the mode that they need; what for. */
static int
count_wanted(const EsTagUses *uses, LOCKMODE read_mode, bool *reads, bool *writes)
{
	int			wanted = 0;

	*reads = *writes = false;
	for (int i = 0; i < uses->count; i = end_of_run(uses, i))
	{
		LOCKTAG		tag;
		LOCKMODE	mode = mode_of_run(uses, i, read_mode);

		if (mode == WRITE_MODE)
			*writes = true;
		else
			*reads = true;
		set_tag_tag(&tag, uses->use[i].hash);
		if (!tag_is_covered(&tag, mode))
			wanted++;
	}
	return wanted;
}

/*
 * Lock the tags of the uses, which are sorted by hash; those that are only asked for
 * in the given mode.  Returns whether each was locked; else the root stands for them.
 *
 * What is covered by what we hold is neither locked nor counted again: it could come to the
 * root with tags in hand, and without waiting it would fail for whoever waits for us.
 */
static bool
lock_uses(const EsStore *store, const EsTagUses *uses, LOCKMODE read_mode, bool nowait)
{
	bool		reads;
	bool		writes;
	int			wanted = count_wanted(uses, read_mode, &reads, &writes);

	/* Stands for whatever is written. */
	if (!reads && root_is_held(store, READ_ALL))
		return false;
	if (root_is_held(store, READ_ALL) || (!reads && root_is_held(store, WRITE_ALL)) ||
		!es_may_lock(wanted))
	{
		lock_root(store, reads ? READ_ALL : WRITE_ALL, nowait);
		return false;
	}
	/* Who reads is in the way of the same others. */
	if (writes && !root_is_held(store, READ_INTENTION))
		lock_root(store, WRITE_INTENTION, nowait);
	for (int i = 0; i < uses->count; i = end_of_run(uses, i))
	{
		LOCKMODE	mode = mode_of_run(uses, i, read_mode);
		LOCKTAG		tag;

		if (uses->use[i].write != NULL && ES_MUTANT("written tags not locked"))
			continue;
		set_tag_tag(&tag, uses->use[i].hash);
		if (!tag_is_covered(&tag, mode))
			take_lock(&tag, mode, nowait);
	}
	es_count_locks(wanted);
	if (reads)
		lock_root(store, READ_INTENTION, nowait);
	return true;
}

/* Note which tags a call writes and asks for. */
void
es_collect_tags(EsCall *call)
{
	call->tags.count = 0;
	for (int i = 0; i < call->nwrites; i++)
	{
		if (!es_is_settled(&call->writes[i]))
			add_write(&call->tags, call->store, &call->writes[i]);
	}
	if (call->tags.count > 1)
		qsort(call->tags.use, call->tags.count, sizeof(EsTagUse), compare_uses);
}

/*
 * Lock the tags that a call writes and asks for, to the end of the transaction.  To be
 * called under the locks on its aggregates.
 */
void
es_lock_tags(EsCall *call)
{
	es_collect_tags(call);
	if (call->tags.count > 0 && !ES_MUTANT("conditions without locks"))
		(void) lock_uses(call->store, &call->tags, CONDITION_MODE, call->nowait);
}

/*
 * Lock the tags of a call before it is decided anew, if it has conditions, or "always".  Those
 * that it writes are then locked as those of a condition are, lest two that decide about a
 * tag that both will write wait for each other.
 */
void
es_lock_tags_beforehand(EsCall *call, bool always)
{
	EsTagUses	uses = {0};

	if (!always && !es_has_conditions(call))
		return;
	for (int i = 0; i < call->nwrites; i++)
	{
		EsWrite    *write = &call->writes[i];

		for (int j = 0; j < write->nconditions; j++)
			add_query(&uses, call->store, write->conditions[j].query);
		for (int j = 0; j < write->nevents; j++)
		{
			if (write->events[j].tags != NULL)
				add_event(&uses, call->store, NULL, &write->events[j]);
		}
	}
	if (uses.count == 0)
		return;
	qsort(uses.use, uses.count, sizeof(EsTagUse), compare_uses);
	(void) lock_uses(call->store, &uses, CONDITION_MODE, false);
	pfree(uses.use);
}

/*
 * Wait until the tags that a call has tried to lock are free.  Holds none of them then,
 * since who writes the same tags need not exclude each other while they decide.
 */
void
es_await_tags(const EsCall *call)
{
	const EsTagUses *uses = &call->tags;
	LOCKTAG		tag;

	if (uses->count == 0)
		return;
	lock_root(call->store, WRITE_INTENTION, false);
	set_root_tag(&tag, call->store);
	(void) LockRelease(&tag, WRITE_INTENTION, false);
	for (int i = 0; i < uses->count; i = end_of_run(uses, i))
	{
		LOCKMODE	mode = mode_of_run(uses, i, CONDITION_MODE);

		set_tag_tag(&tag, uses->use[i].hash);
		take_lock(&tag, mode, false);
		(void) LockRelease(&tag, mode, false);
	}
}

/* The first use of a tag by a call, as an index; the number of uses if there is none. */
int
es_first_use(const EsCall *call, const text *tag)
{
	const EsTagUses *uses = &call->tags;
	uint64		hash = hash_of_tag(call->store, tag);
	int			low = 0;
	int			high = uses->count;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (uses->use[middle].hash < hash)
			low = middle + 1;
		else
			high = middle;
	}
	return low < uses->count && uses->use[low].hash == hash ? low : uses->count;
}

/* Give up the locks of a query. */
static void
unlock_uses(const EsStore *store, const EsTagUses *uses, bool each)
{
	LOCKTAG		tag;

	for (int i = 0; i < uses->count && each; i = end_of_run(uses, i))
	{
		set_tag_tag(&tag, uses->use[i].hash);
		if (!es_lock_held(&tag, QUERY_MODE))
			continue;
		(void) LockRelease(&tag, QUERY_MODE, false);
		es_count_locks(-1);
	}
	set_root_tag(&tag, store);
	(void) LockRelease(&tag, each ? READ_INTENTION : READ_ALL, false);
}

/*
 * A snapshot that shows every event of the query's tags with a position up to now,
 * whoever was writing one.  Holds the locks only until it has the snapshot.
 */
Snapshot
es_snapshot_of_tags(EsStore *store, const EsQuery *query)
{
	bool		too_early = ES_MUTANT("query unlocks before its snapshot");
	EsTagUses	uses = {0};
	Snapshot	snapshot;
	bool		each;

	if (RecoveryInProgress() || ES_MUTANT("query without locks"))
		return RegisterSnapshot(GetTransactionSnapshot());
	add_query(&uses, store, query);
	qsort(uses.use, uses.count, sizeof(EsTagUse), compare_uses);
	each = lock_uses(store, &uses, QUERY_MODE, false);
	if (too_early)
		unlock_uses(store, &uses, each);
	ES_PAUSE("under tag locks");

	/* Own events count, too. */
	CommandCounterIncrement();
	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	if (!too_early)
		unlock_uses(store, &uses, each);
	pfree(uses.use);
	return snapshot;
}
