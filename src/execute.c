/*-------------------------------------------------------------------------
 *
 * execute.c
 *	  Load, decide, append and retry, in one call: es_execute(), es_execute_many().
 *
 * An attempt (attempt.c) runs in a subtransaction of its own, so that whatever the deciding function
 * did is undone together with its decision:
 *
 * 1. From the second attempt on, lock what the one before ran into: the aggregates in
 *	  key order, then the tags, if it had conditions or this is the last attempt.  So
 *	  nobody can come between again about these, unless the function decides about
 *	  something else now.  Where the last command of the session met a conflict, the first attempt
 *	  locks the keys, too, and so it does in es_execute_many() with a request id.
 * 2. Look for the request id.  If it is known, the command was carried out.
 * 3. Take a fresh snapshot, then read the version, then call the function.  If it reads
 *	  with later snapshots, it may know more than the version says, never less.
 * 4. Append.  On a conflict (VE001, VE004) roll back, which gives up the locks too, and
 *	  start over.  A lock that somebody else holds is a conflict as well: to wait for it
 *	  with the function's locks in hand could deadlock with who waits in step 1, and
 *	  what was decided would be stale in the end.  Only the last attempt waits; of what
 *	  the one before was about, step 1 has all.
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

#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "execute.h"

PG_FUNCTION_INFO_V1(es_execute);
PG_FUNCTION_INFO_V1(es_execute_many);

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

/* An attempt was for nothing, because of others. */
static void
note_conflict(const Command *command)
{
	es_note_contention(command, true);
	es_count_conflict(command->store);
}

/*
 * An attempt ended with an error.  REPEATED if the command was carried out meanwhile, FAILED
 * if it shall be decided anew; else the error goes on.
 */
static Outcome
handle_error(Command *command, ErrorData *error, int max_retries)
{
	bool		stale;

	if (was_busy(command, error))
	{
		note_conflict(command);
		/* Lest it be busy still, again and again. */
		es_await_tags(&command->call);
		return FAILED;
	}
	/* Not if there is no time to wait for it. */
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED || error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
		ReThrowError(error);
	stale = was_stale(command);
	if (es_has_landed(command, false))
		return REPEATED;
	if (!stale || command->attempts > max_retries)
		ReThrowError(error);
	note_conflict(command);
	return FAILED;
}

/*
 * The request id is known.  Is it so still, now that the attempt is undone?  If not, it was
 * the attempt itself that has used it: VE005, unless the function has nothing to append.
 */
static bool
is_repeat(Command *command)
{
	if (es_was_carried_out(command))
		return true;
	if (command->call.nwrites > 0)
		ereport(ERROR,
				(errcode(ERRCODE_ES_REQUEST_ID_REUSED),
				 errmsg("request id \"%s\" of the command was used by its deciding function",
						text_to_cstring(command->request_id)),
				 errhint("Let the function return the events instead of appending them.")));
	return false;
}

/*
 * Memory for one more attempt, lest many leave theirs behind.  Of what was before, the last
 * call is still needed: that is what the attempt locks.
 *
 * SPI keeps the relations that a write registers in the memory of that time.  None is reset
 * with them: from the second attempt on, an error after the first write goes on.
 */
static void
switch_memory(const Command *command, MemoryContext parent, MemoryContext spare[2])
{
	int			i = spare[0] != NULL && spare[0] == command->call_memory ? 1 : 0;

	if (spare[i] == NULL)
		/* NOLINTNEXTLINE(bugprone-implicit-widening-of-multiplication-result) */
		spare[i] = AllocSetContextCreate(parent, "eventstore attempt", ALLOCSET_DEFAULT_SIZES);
	else
		MemoryContextReset(spare[i]);
	MemoryContextSwitchTo(spare[i]);
}

/* Carry out a command: DONE or REPEATED, or an error. */
static Outcome
carry_out(Command *command, int max_retries)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	MemoryContext spare[2] = {NULL, NULL};

	for (;; switch_memory(command, oldcontext, spare))
	{
		bool		certain = es_attempt_is_certain(command);
		ErrorData  *error = NULL;
		Outcome		outcome = certain ? es_attempt(command, true) :
		es_attempt_undoably(command, command->attempts >= max_retries, &error);

		if (error != NULL)
			outcome = handle_error(command, error, max_retries);
		if (outcome == DONE || (outcome == REPEATED && is_repeat(command)))
		{
			MemoryContextSwitchTo(oldcontext);
			return outcome;
		}
		if (outcome != CONFLICT)
			continue;
		/* One that the function has made itself is gone with the attempt. */
		es_note_contention(command, command->key == NULL || was_stale(command));
		es_count_conflict(command->store);
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
 * max_retries times (perhaps VE001 at once if the function has itself appended to the aggregate
 * while that was locked first).  What a discarded attempt has written is undone.  NULL or no
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
