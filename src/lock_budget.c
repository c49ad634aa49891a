/*-------------------------------------------------------------------------
 *
 * lock_budget.c
 *	  How many locks on keys and tags one transaction may take in the lock manager.
 *
 * The lock table is shared and of fixed size: a transaction that filled it would
 * make others fail.  So who needs more locks than this takes their common root
 * instead (key_lock.c, tag_lock.c).
 *
 * The count may be too high, after a rollback to a savepoint; then the root is taken
 * without need, and others wait for it.  An attempt of es_execute() that is undone takes its
 * own share back.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/lock.h"
#include "storage/proc.h"

#include "eventstore.h"

#define MAX_LOCKS_PER_CALL 64

static LocalTransactionId counted_transaction = InvalidLocalTransactionId;
static int	locks_held = 0;

/* So many locks more (or fewer) are held: returns how many in all. */
int
es_count_locks(int count)
{
	if (counted_transaction != ES_MY_LXID)
	{
		counted_transaction = ES_MY_LXID;
		locks_held = 0;
	}
	locks_held += count;
	return locks_held;
}

/* May this call take so many locks? */
bool
es_may_lock(int count)
{
	return count <= MAX_LOCKS_PER_CALL && es_count_locks(0) + count <= max_locks_per_xact;
}
