/*-------------------------------------------------------------------------
 *
 * execute.c
 *	  Load, decide, append and retry, in one call: es_execute(), es_execute_many().
 *
 * An attempt runs in a subtransaction of its own, so that whatever the deciding function
 * did is undone together with its decision:
 *
 * 1. From the second attempt on (or where the last command of the session met a conflict,
 *	  from the first on), lock what the one before ran into: the aggregates in
 *	  key order, then the tags of its conditions.  So nobody can come between again,
 *	  unless the function decides about something else now.
 * 2. Look for the request id.  If it is known, the command was carried out.
 * 3. Take a fresh snapshot, then read the version, then call the function.  If it reads
 *	  with later snapshots, it may know more than the version says, never less.
 * 4. Append.  On a conflict (VE001, VE004) roll back, which gives up the locks too, and
 *	  start over.  A lock that somebody else holds is a conflict as well: to wait for it
 *	  with the function's locks in hand could deadlock with who waits in step 1, and
 *	  what was decided would be stale in the end.  Only the last attempt waits.
 *
 * Where the last command of the session met a conflict, es_execute() meets no other about
 * the aggregate, but for one that the function makes itself.  Without a request id to look
 * for, and as long as the events have no tags, it then does without a subtransaction.
 *
 * An error of the function passes as it is, unless the aggregate has moved meanwhile: then
 * it was decided on stale facts, and is decided anew.
 *
 * A command with a request id may be the repeat of one that was still in flight when we
 * looked, and has changed what the function decides on.  The append finds that out.  If
 * there is none, because the function failed or has nothing to append, we wait for the
 * first one and look once more; es_execute_many(), which may come to append to other
 * aggregates than the first time, locks its keys before it looks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "eventstore.h"
#include "testing.h"

PG_FUNCTION_INFO_V1(es_execute);
PG_FUNCTION_INFO_V1(es_execute_many);

/*
 * What this session has met a conflict about last, by hash.  There the next command locks
 * before it decides, since to decide twice costs more.
 */
static uint64 contended = 0;

/* Did the events of the last command have tags?  They are locked after the function has run. */
static bool tagged = false;

typedef enum Outcome
{
	DONE,
	CONFLICT,
	REPEATED,					/* the request id is known */
	FAILED						/* with an error */
} Outcome;

typedef struct Command
{
	EsStore    *store;
	FmgrInfo	decider;
	text	   *key;			/* NULL in es_execute_many() */
	NullableDatum argument;		/* what decide() is told */
	text	   *request_id;		/* NULL if none */
	EsAggregate **keys;			/* to be locked on a conflict */
	int			nkeys;
	int			attempts;		/* so far */
	EsCall		call;			/* of the last attempt that came so far */
	int64		version;		/* that it was decided on */
	bool		lock_first;		/* and nobody could change meanwhile */
	EsWrite    *repeated;		/* what a known request did */
	int			nrepeated;
} Command;

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
static bool
was_carried_out(Command *command)
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
static bool
has_landed(Command *command, bool nowait)
{
	if (command->request_id == NULL)
		return false;
	memset(&command->call, 0, sizeof(EsCall));
	lock_aggregates(command, nowait);
	return was_carried_out(command);
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

/* Does the next attempt lock first? */
static bool
locks_first(const Command *command)
{
	return command->attempts > 0 || contended == hash_of_keys(command) ||
		(command->key == NULL && command->request_id != NULL);
}

/* An attempt was for nothing, because of others. */
static void
note_conflict(const Command *command)
{
	contended = hash_of_keys(command);
	es_count_conflict(command->store);
}

/* See the top of this file. */
static Outcome
attempt(Command *command, bool last)
{
	bool		lock_first = locks_first(command);
	Jsonb	   *decision;

	CHECK_FOR_INTERRUPTS();
	command->lock_first = lock_first;
	command->call.locking = false;
	if (lock_first)
	{
		lock_aggregates(command, false);
		es_lock_condition_tags(&command->call);
	}
	if (was_carried_out(command))
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
		return !lock_first && has_landed(command, !last) ? REPEATED : DONE;
	tagged = has_tags(&command->call);
	command->call.nowait = !last;
	/* The shortcut would wait for the row. */
	if (command->key != NULL && lock_first && es_append_to_existing(&command->call))
		return DONE;
	es_apply(&command->call);
	return judge(command);
}

/* The same in a subtransaction, which is kept only if all is done. */
static Outcome
attempt_undoably(Command *command, bool last, ErrorData **error)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	ResourceOwner oldowner = CurrentResourceOwner;
	volatile Outcome outcome = FAILED;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(oldcontext);
	PG_TRY();
	{
		outcome = attempt(command, last);
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
		RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(oldcontext);
	CurrentResourceOwner = oldowner;
	return outcome;
}

/* Is an error no more than a lock that the append would have had to wait for? */
static bool
was_busy(const Command *command, const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE && command->call.nowait && command->call.locking;
}

/*
 * Has the function failed on facts that were stale by then?  It may have met what the
 * other command has done, such as a row with the same key.
 */
static bool
was_stale(const Command *command)
{
	EsAggregate aggregate = {.key = command->key};
	EsAggregate *chosen[1] = {&aggregate};

	if (command->key == NULL || command->lock_first)
		return false;
	es_look(command->store, chosen, 1);
	return aggregate.stored_version != command->version;
}

/* Carry out a command: DONE or REPEATED, or an error. */
static Outcome
carry_out(Command *command, int max_retries)
{
	for (;;)
	{
		bool		stale;
		bool		certain = command->key != NULL && command->request_id == NULL &&
		command->attempts == 0 && !tagged && locks_first(command);
		ErrorData  *error = NULL;
		Outcome		outcome = certain ? attempt(command, true) :
		attempt_undoably(command, command->attempts >= max_retries, &error);

		/* One that the function has made itself is gone with the attempt. */
		if (outcome == CONFLICT)
		{
			contended = command->key == NULL || was_stale(command) ? hash_of_keys(command) : 0;
			es_count_conflict(command->store);
		}
		if (error != NULL && was_busy(command, error))
			note_conflict(command);
		if (error != NULL && was_busy(command, error))
		{
			/* Lest it be busy still, again and again. */
			es_await_tags(&command->call);
			continue;
		}
		if (error != NULL)
		{
			/* Not if there is no time to wait for it. */
			if (error->sqlerrcode == ERRCODE_QUERY_CANCELED || error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
				ReThrowError(error);
			stale = was_stale(command);
			if (has_landed(command, false))
				return REPEATED;
			if (!stale || command->attempts > max_retries)
				ReThrowError(error);
			note_conflict(command);
			continue;
		}

		/*
		 * Not if it was this attempt, which is undone, that has used the
		 * request id.
		 */
		if (outcome == REPEATED && !was_carried_out(command))
		{
			if (command->call.nwrites == 0)
				continue;
			ereport(ERROR,
					(errcode(ERRCODE_ES_REQUEST_ID_REUSED),
					 errmsg("request id \"%s\" of the command was used by its deciding function",
							text_to_cstring(command->request_id)),
					 errhint("Let the function return the events instead of appending them.")));
		}
		if (outcome != CONFLICT)
			return outcome;
		if (certain || command->attempts > max_retries)
			es_report_refusals(&command->call);
	}
}

/* The arguments that both functions have: decide, command, max_retries, request_id. */
static void
common_arguments(FunctionCallInfo fcinfo, const char *function, Command *command)
{
	es_require_argument(fcinfo, 1, "decide");
	es_require_argument(fcinfo, 3, "max_retries");
	es_check_least("max_retries", PG_GETARG_INT32(3), 0);
	command->argument.value = PG_GETARG_DATUM(2);
	command->argument.isnull = PG_ARGISNULL(2);
	if (!PG_ARGISNULL(4))
	{
		command->request_id = PG_GETARG_TEXT_PP(4);
		es_check_text("request id", command->request_id, ES_MAX_REQUEST_ID_BYTES);
	}
	es_require_fresh_snapshots(function);
	es_find_decider(&command->decider, PG_GETARG_OID(1), command->key == NULL);
}

/*
 * es_execute(key text, decide regproc, command jsonb, max_retries integer,
 *			  request_id text) RETURNS TABLE (status text, version bigint, attempts integer)
 *
 * Calls decide(key, version, command) and appends the events that it returns, if the
 * aggregate is still at that version and not locked; else locks it and starts over, up to
 * max_retries times.  What a discarded attempt has written is undone.  NULL or no
 * events: nothing to append.  With a request id that is known, decide is not called.
 *
 * Errors as es_append(), those of decide as they are; 22023 if decide is no such
 * function; 25001 above READ COMMITTED.  Locks as es_append().
 */
Datum
es_execute(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Command		command = {0};
	EsAggregate aggregate = {0};
	EsAggregate *keys[1] = {&aggregate};
	Outcome		outcome;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};

	command.key = aggregate.key = es_key_argument(fcinfo, 0);
	command.keys = keys;
	command.nkeys = 1;
	common_arguments(fcinfo, "es_execute()", &command);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	SPI_connect();
	command.store = es_store_for_writing("es_execute()");
	es_refuse_append_inside(command.store);
	outcome = carry_out(&command, PG_GETARG_INT32(3));

	if (outcome == REPEATED)
	{
		es_count_repeat(command.store);
		values[0] = CStringGetTextDatum(es_status_name(ES_REPEATED));
		values[1] = Int64GetDatum(command.repeated[0].version);
	}
	else if (command.call.nwrites == 0)
	{
		values[0] = CStringGetTextDatum(es_status_name(ES_NOT_WRITTEN));
		values[1] = Int64GetDatum(command.version);
	}
	else
	{
		values[0] = CStringGetTextDatum(es_status_name(ES_APPENDED));
		values[1] = Int64GetDatum(command.call.writes[0].version);
	}
	values[2] = Int32GetDatum(command.attempts);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	SPI_finish();
	return (Datum) 0;
}

/*
 * es_execute_many(keys text[], decide regproc, command jsonb, max_retries integer,
 *				   request_id text) RETURNS SETOF es_append_result
 *
 * The same with a function decide(command) that returns what es_append_many() takes:
 * writes, guards and conditions.  On a conflict the keys are locked, and whatever else
 * the writes were about.  With a known request id: what it did to the keys.
 */
Datum
es_execute_many(PG_FUNCTION_ARGS)
{
	Command		command = {0};

	es_require_argument(fcinfo, 0, "keys");
	command.nkeys = es_aggregates_of_keys(PG_GETARG_ARRAYTYPE_P(0), &command.keys);
	common_arguments(fcinfo, "es_execute_many()", &command);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	SPI_connect();
	command.store = es_store_for_writing("es_execute_many()");
	es_refuse_append_inside(command.store);
	if (carry_out(&command, PG_GETARG_INT32(3)) == REPEATED)
	{
		es_count_repeat(command.store);
		command.call.writes = command.repeated;
		command.call.nwrites = command.nrepeated;
	}
	es_put_results(fcinfo, &command.call);
	SPI_finish();
	return (Datum) 0;
}
