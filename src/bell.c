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

/* A waiter that has just been served waits so long at least, to find more at once. */
#define REST_MS 2

/* Does this transaction have to ring when it is over? */
static bool ring_at_end = false;

static MemoryContext bell_context = NULL;

static TimestampTz last_served = 0;

static void
set_bell_tag(LOCKTAG *tag)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, 0, 0, ES_LOCK_CLASS_BELL);
}

/* Wake everybody who waits for this database's logs.  Must not fail. */
static void
ring(void)
{
	MemoryContext oldcxt = MemoryContextSwitchTo(bell_context);
	VirtualTransactionId *waiters;
	LOCKTAG		tag;

	set_bell_tag(&tag);
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
	if (phase != RESOURCE_RELEASE_AFTER_LOCKS || !isTopLevel || !ring_at_end)
		return;
	ring_at_end = false;
	ring();
}

/* Once per process. */
void
es_bell_init(void)
{
	RegisterResourceReleaseCallback(ring_after_locks, NULL);
}

/* Have this transaction ring when it is over. */
void
es_bell_remember(void)
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
	ring_at_end = true;
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

/* Let a stream of events gather for a moment, whatever the clock says. */
static void
rest(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (now >= last_served && !TimestampDifferenceExceeds(last_served, now, REST_MS))
		sleep_on_latch(REST_MS);
}

/*
 * Wait on the bell until the horizon is above a position, or the time has come.
 * Returns the horizon.  Holds no snapshot while it sleeps.
 */
int64
es_wait_for_horizon(EsStore *store, int64 after, TimestampTz until)
{
	LOCKTAG		tag;
	int64		horizon;

	rest();
	set_bell_tag(&tag);
	(void) LockAcquire(&tag, ShareLock, false, false);
	for (;;)
	{
		int64		last;
		TimestampTz now;
		long		left;

		horizon = es_settled_horizon(store);
		if (horizon > after)
			break;
		now = GetCurrentTimestamp();
		left = TimestampDifferenceMilliseconds(now, until);
		if (left <= 0)
			break;
		last = es_last_position(store);
		InvalidateCatalogSnapshotConditionally();
		sleep_on_latch(Min(left, last > horizon ? BUSY_SLEEP_MS : IDLE_SLEEP_MS));
	}
	LockRelease(&tag, ShareLock, false);
	last_served = GetCurrentTimestamp();
	return horizon;
}
