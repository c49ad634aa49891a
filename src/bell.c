/*-------------------------------------------------------------------------
 *
 * bell.c
 *	  The doorbell: waiting for the horizon to move.
 *
 * A waiter takes a share lock on the bell's tag, then computes the horizon, then
 * sleeps on its latch.  An appender, when its transaction is over and its locks are
 * gone, looks up who holds the bell's tag and sets their latches.  So no wake-up is
 * lost: whoever takes the bell after that look computes its horizon after the
 * appender's flight has ended.  An abort rings too, since it may free the horizon.
 *
 * Appenders pay a look into an empty lock queue.  Nobody NOTIFYs.
 *
 * The appender's part runs after the commit, where an error is a PANIC.  All it
 * does is ask the lock manager, which allocates its answer: that memory is set
 * aside beforehand, in a context that keeps its first block, so that nothing is
 * ever asked of malloc there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/twophase.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "eventstore.h"

/* COMMIT PREPARED rings no bell, so a sleep ends now and then while one may come. */
#define BUSY_SLEEP_MS 100
#define IDLE_SLEEP_MS 1000

/*
 * A waiter looks for a new horizon no more often than this, however often the bell
 * rings, and so finds more at once.  One that has slept for longer looks at once.
 */
#define REST_MS 5

/* A transaction that appends to more stores than this rings for all. */
#define MAX_BELLS 16

/* The stores, by sequence, for which this transaction rings when it is over. */
static Oid	bells[MAX_BELLS];
static int	bell_count = 0;
static bool ring_for_all = false;

static MemoryContext bell_context = NULL;

static TimestampTz last_look = 0;

/* The bell of a store, or with InvalidOid the one for all. */
static void
set_bell_tag(LOCKTAG *tag, Oid sequence)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, sequence, 0, ES_LOCK_CLASS_BELL);
}

/* Wake everybody who waits on a bell.  Must not fail. */
static void
ring(Oid sequence)
{
	MemoryContext oldcxt = MemoryContextSwitchTo(bell_context);
	VirtualTransactionId *waiters;
	LOCKTAG		tag;

	set_bell_tag(&tag, sequence);
	waiters = GetLockConflicts(&tag, ExclusiveLock, NULL);
	for (; VirtualTransactionIdIsValid(*waiters); waiters++)
	{
		PGPROC	   *proc = es_vxid_proc(*waiters);

		if (proc != NULL)
			SetLatch(&proc->procLatch);
	}
	MemoryContextSwitchTo(oldcxt);
	MemoryContextReset(bell_context);
}

/*
 * Ring once the locks of a top-level transaction are gone, committed or not.  The
 * transaction callbacks would come too early: the flight is still there, and the
 * woken reader would see nothing new and sleep on.
 */
static void
ring_after_locks(ResourceReleasePhase phase, bool isCommit, bool isTopLevel, void *arg)
{
	if (phase != RESOURCE_RELEASE_AFTER_LOCKS || !isTopLevel || bell_count == 0)
		return;
	for (int i = 0; i < bell_count; i++)
		ring(bells[i]);
	if (ring_for_all)
		ring(InvalidOid);
	bell_count = 0;
	ring_for_all = false;
}

/* Once per process. */
void
es_bell_init(void)
{
	RegisterResourceReleaseCallback(ring_after_locks, NULL);
}

/* Have this transaction ring for a store when it is over. */
void
es_bell_remember(Oid sequence)
{
	if (bell_context == NULL)
	{
		/*
		 * As much as the lock manager's answer can take, as one chunk of one
		 * block.
		 */
		Size		needed = (MaxBackends + max_prepared_xacts + 1) * sizeof(VirtualTransactionId) + 64;
		Size		block = Max(pg_nextpower2_64(needed * 16), 8192);

		bell_context = GenerationContextCreate(TopMemoryContext, "eventstore bell",
											   block, block, block);
	}
	for (int i = 0; i < bell_count; i++)
	{
		if (bells[i] == sequence)
			return;
	}
	if (bell_count < MAX_BELLS)
		bells[bell_count++] = sequence;
	else
		ring_for_all = true;
}

/* Sleep until the bell rings or so many milliseconds have passed. */
static void
sleep_on_latch(long milliseconds)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 milliseconds, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/*
 * Do not look again at once, whatever the clock says.  Deaf to the latch: those who
 * ring meanwhile find it set, or nobody listening, and need send no signal.
 */
static void
rest(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (now >= last_look && !TimestampDifferenceExceeds(last_look, now, REST_MS))
	{
		(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, REST_MS, PG_WAIT_EXTENSION);
		CHECK_FOR_INTERRUPTS();
		now = GetCurrentTimestamp();
	}
	last_look = now;
}

/*
 * Wait on the bell until the horizon is above a position, or the time has come.
 * Returns the horizon.  Holds no snapshot while it sleeps.
 */
int64
es_wait_for_horizon(EsStore *store, int64 after, TimestampTz until)
{
	LOCKTAG		bell;
	LOCKTAG		bell_for_all;
	int64		horizon;

	set_bell_tag(&bell, store->sequence_oid);
	set_bell_tag(&bell_for_all, InvalidOid);
	(void) LockAcquire(&bell, ShareLock, false, false);
	(void) LockAcquire(&bell_for_all, ShareLock, false, false);
	for (;;)
	{
		long		left;
		long		longest;

		rest();
		horizon = es_settled_horizon(store);
		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
		if (horizon > after || left <= 0)
			break;
		longest = es_last_position(store) > horizon ? BUSY_SLEEP_MS : IDLE_SLEEP_MS;
		InvalidateCatalogSnapshotConditionally();
		sleep_on_latch(Min(left, longest));
	}
	LockRelease(&bell, ShareLock, false);
	LockRelease(&bell_for_all, ShareLock, false);
	return horizon;
}
