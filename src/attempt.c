/*-------------------------------------------------------------------------
 *
 * attempt.c
 *	  One attempt to carry out a command of es_execute() or es_execute_many().
 *
 * The steps, and why they are as they are, stand at the top of execute.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "execute.h"
#include "testing.h"

/*
 * What this session has met a conflict about last, by hash.  There the next command locks
 * before it decides, since to decide twice costs more.
 */
static uint64 contended = 0;

/* Did the events of the last command have tags?  They are locked after the function has run. */
static bool tagged = false;

/* The keys of the command and of the last attempt's call, in key order. */
static int
gather_aggregates(Command *command, EsAggregate ***result)
{
	const EsCall *call = &command->call;
	EsAggregate **all = MemoryContextAllocHuge(CurrentMemoryContext,
											   sizeof(EsAggregate *) * (command->nkeys + call->naggregates + 1));
	int			i = 0;
	int			j = 0;
	int			count = 0;

	while (i < command->nkeys || j < call->naggregates)
	{
		int			order = i == command->nkeys ? 1 : j == call->naggregates ? -1 :
		es_compare_keys(command->keys[i]->key, call->aggregates[j].key);

		all[count] = palloc0(sizeof(EsAggregate));
		all[count]->key = order <= 0 ? command->keys[i]->key : call->aggregates[j].key;
		all[count]->written = order <= 0 || call->aggregates[j].written;
		count++;
		if (order <= 0)
			i++;
		if (order >= 0)
			j++;
	}
	*result = all;
	return count;
}

/* Lock the aggregates that the command is about, as far as is known. */
static void
lock_aggregates(Command *command, bool nowait)
{
	EsAggregate **chosen;
	int			count = gather_aggregates(command, &chosen);

	command->call.nowait = nowait;
	command->call.locking = true;
	if (count != 1 || !es_lock_likely_row(command->store, chosen[0], nowait))
	{
		es_look(command->store, chosen, count);
		es_lock_aggregates(command->store, chosen, count, nowait);
	}
	command->call.locking = false;
	if (command->key != NULL)
		command->version = chosen[0]->stored_version;
}

/* Is the command's request id known?  Then notes what it did. */
bool
es_was_carried_out(Command *command)
{
	if (command->request_id == NULL)
		return false;
	command->repeated = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(EsWrite) * (command->nkeys + 1));
	command->nrepeated = 0;
	for (int i = 0; i < command->nkeys; i++)
	{
		EsWrite    *write = &command->repeated[command->nrepeated];

		memset(write, 0, sizeof(EsWrite));
		write->key = command->keys[i]->key;
		write->request_id = command->request_id;
		if (es_recall_request(command->store, write))
			write->entry = ++command->nrepeated;
	}
	return command->nrepeated > 0;
}

/* The same, when nobody else can be carrying it out. */
bool
es_has_landed(Command *command, bool nowait)
{
	if (command->request_id == NULL)
		return false;
	memset(&command->call, 0, sizeof(EsCall));
	lock_aggregates(command, nowait);
	return es_was_carried_out(command);
}

/*
 * A request id is looked for by the command's keys before the function is called; so it
 * must be stored with one of them (22023).
 */
static void
require_known_key(const Command *command)
{
	for (int i = 0; i < command->call.nwrites; i++)
	{
		const EsWrite *write = &command->call.writes[i];

		for (int j = 0; j < command->nkeys && write->nevents > 0; j++)
		{
			if (es_compare_keys(write->key, command->keys[j]->key) == 0)
				return;
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("a repeat of request \"%s\" would not be recognized",
					text_to_cstring(command->request_id)),
			 errdetail("The function appends to none of the given keys."),
			 errhint("Name at least one of the aggregates that the command appends to in \"keys\".")));
}

static bool
appends(const EsCall *call)
{
	for (int i = 0; i < call->nwrites; i++)
	{
		if (call->writes[i].nevents > 0)
			return true;
	}
	return false;
}

static bool
has_tags(const EsCall *call)
{
	for (int i = 0; i < call->nwrites; i++)
	{
		for (int j = 0; j < call->writes[i].nevents; j++)
		{
			if (call->writes[i].events[j].tags != NULL)
				return true;
		}
	}
	return false;
}

/* Make a call of what was decided; false if there is nothing to do. */
static bool
make_call(Command *command, Jsonb *decision)
{
	EsCall	   *call = &command->call;

	memset(call, 0, sizeof(EsCall));
	command->call_memory = CurrentMemoryContext;
	if (decision == NULL || (JsonContainerIsArray(&decision->root) &&
							 !JsonContainerIsScalar(&decision->root) &&
							 JsonContainerSize(&decision->root) == 0))
		return false;
	call->store = command->store;
	call->atomic = true;
	if (command->key == NULL)
		es_decode_writes(decision, false, call);
	else
	{
		call->nwrites = 1;
		call->writes = palloc0(sizeof(EsWrite));
		call->writes[0].entry = 1;
		call->writes[0].key = command->key;
		call->writes[0].has_expected = true;
		call->writes[0].expected_version = command->version;
		es_decode_events(decision, 0, &call->writes[0]);
	}
	if (command->request_id != NULL && appends(call))
	{
		require_known_key(command);
		es_set_request_id(call, command->request_id);
	}
	return true;
}

/* What to make of the outcome of the call. */
static Outcome
judge(const Command *command)
{
	const EsCall *call = &command->call;
	int			first;

	for (int i = 0; i < call->nwrites; i++)
	{
		EsWrite    *write = &call->writes[i];

		if (write->status != ES_REPEATED && write->status != ES_REQUEST_ID_REUSED)
			continue;
		/* However it was decided now: what counts is the first time. */
		if (command->key != NULL)
			return REPEATED;
		/* The keys do not know it, so that was another command. */
		write->status = ES_REQUEST_ID_REUSED;
	}
	first = es_first_refusal(call);
	if (first < 0)
		return DONE;
	if (call->writes[first].status != ES_VERSION_CONFLICT &&
		call->writes[first].status != ES_CONDITION_FAILED)
	{
		es_count_outcomes(call);
		es_report_refusals(call);
	}
	return CONFLICT;
}

static uint64
hash_of_keys(const Command *command)
{
	uint64		hash = 1;

	for (int i = 0; i < command->nkeys; i++)
		hash = hash_combine64(hash, es_key_hash(command->store, command->keys[i]->key));
	return hash;
}

/*
 * Does the next attempt lock first?  Of es_execute_many() not the last one for nothing but the
 * command before: it waits for what it comes to append to, which may be more than the keys, and
 * that must not happen with some of it in hand.
 */
static bool
locks_first(const Command *command, bool last)
{
	if (command->attempts > 0 || (command->key == NULL && command->request_id != NULL))
		return true;
	return contended == hash_of_keys(command) && (command->key != NULL || !last);
}

/*
 * Will the next attempt need no undoing?  Nobody else can be in its way then, as long as its
 * events have no tags, like those of the command before, and there is no request id to look
 * for once it has failed.
 */
bool
es_attempt_is_certain(const Command *command)
{
	return command->key != NULL && command->request_id == NULL && command->attempts == 0 &&
		!tagged && locks_first(command, false);
}

/* Remember what the last attempt has met a conflict about, if it was because of others. */
void
es_note_contention(const Command *command, bool because_of_others)
{
	contended = because_of_others ? hash_of_keys(command) : 0;
}

/*
 * Make an attempt, without a subtransaction: the steps of execute.c.  Waits for what it locks
 * first; for what the call needs besides only if it is the last.
 */
Outcome
es_attempt(Command *command, bool last)
{
	bool		lock_first = locks_first(command, last);
	Jsonb	   *decision;

	CHECK_FOR_INTERRUPTS();
	command->lock_first = lock_first;
	command->call.locking = false;
	if (lock_first)
	{
		lock_aggregates(command, false);
		es_lock_tags_beforehand(&command->call, last);
	}
	if (es_was_carried_out(command))
		return REPEATED;
	command->attempts++;

	/* The function sees what was done before in this transaction. */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (command->key != NULL && !lock_first)
		command->version = es_version_of(command->store, command->key);
	decision = es_call_decider(&command->decider, command->key, command->version, command->argument);
	PopActiveSnapshot();

	if (!make_call(command, decision))
		return !lock_first && es_has_landed(command, !last) ? REPEATED : DONE;
	tagged = has_tags(&command->call);
	command->call.nowait = !last;
	/* The shortcut would wait for the row. */
	if (command->key != NULL && lock_first && es_append_to_existing(&command->call))
		return DONE;
	es_apply(&command->call);
	return judge(command);
}

/* The same in a subtransaction, which is kept only if all is done. */
Outcome
es_attempt_undoably(Command *command, bool last, ErrorData **error)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	ResourceOwner oldowner = CurrentResourceOwner;
	int			locks = es_count_locks(0);
	volatile Outcome outcome = FAILED;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(oldcontext);
	PG_TRY();
	{
		outcome = es_attempt(command, last);
		if (outcome == DONE)
			ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(oldcontext);
		*error = CopyErrorData();
		FlushErrorState();
		outcome = FAILED;
	}
	PG_END_TRY();
	if (outcome == CONFLICT && ES_MUTANT("attempts not undone"))
		ReleaseCurrentSubTransaction();
	else if (outcome != DONE)
	{
		RollbackAndReleaseCurrentSubTransaction();
		(void) es_count_locks(locks - es_count_locks(0));
	}
	MemoryContextSwitchTo(oldcontext);
	CurrentResourceOwner = oldowner;
	return outcome;
}
