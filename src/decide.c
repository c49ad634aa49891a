/*-------------------------------------------------------------------------
 *
 * decide.c
 *	  What becomes of each entry of a call.
 *
 * Decided on what is known of its aggregate, its request id and its conditions; reads
 * and locks nothing itself.  Entries are decided in order, each on the versions that the
 * accepted ones before it lead to.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "eventstore.h"

/* May an unconditional append go to an existing aggregate? (22023) */
static void
check_unconditional(const EsWrite *write)
{
	if (es_require_expected_version)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("append to existing aggregate \"%s\" has no expected version",
						text_to_cstring(write->key)),
				 errhint("Pass the version that was read, or set eventstore.require_expected_version to off for this transaction.")));
}

/*
 * The earlier entry of the call that this one repeats, if that one is accepted.  Where
 * the one before was refused, it knows of the nearest accepted one by now: to walk back
 * over all of them would take hours in a call of a million.
 */
static EsWrite *
accepted_predecessor(const EsWrite *write)
{
	EsWrite    *other = write->predecessor;

	return other != NULL && es_is_refusal(other->status) ? other->original : other;
}

/* The outcome of an entry by its request id; ES_NOT_WRITTEN if it says nothing. */
static EsStatus
decide_by_request(EsWrite *write)
{
	write->original = NULL;
	if (write->remembered)
	{
		if (write->nevents == 0)
			return ES_CHECKED;
		return write->reused ? ES_REQUEST_ID_REUSED : ES_REPEATED;
	}
	write->original = accepted_predecessor(write);
	if (write->original == NULL)
		return ES_NOT_WRITTEN;
	return es_same_events(write, write->original) ? ES_REPEATED : ES_REQUEST_ID_REUSED;
}

/* The outcome of an entry by the state of its aggregate. */
static EsStatus
decide_by_version(const EsCall *call, EsWrite *write)
{
	const EsAggregate *aggregate = write->aggregate;

	if (write->nevents > 0 && aggregate->closed)
		return ES_AGGREGATE_CLOSED;
	if (write->has_expected && write->expected_version != aggregate->version)
		return ES_VERSION_CONFLICT;
	if (!write->has_expected && aggregate->version == 0 && !write->allow_create)
		return ES_AGGREGATE_NOT_FOUND;
	if (!es_conditions_hold(call, write))
		return ES_CONDITION_FAILED;
	if (write->nevents == 0)
		return ES_CHECKED;
	if (call->locked && !write->has_expected && aggregate->version > 0)
		check_unconditional(write);
	return ES_APPENDED;
}

/* Decide a guard that is about no aggregate. */
static void
decide_conditions(const EsCall *call, EsWrite *write)
{
	if (write->remembered || es_conditions_hold(call, write))
		write->status = ES_CHECKED;
	else
		write->status = ES_CONDITION_FAILED;
}

static void
decide_write(const EsCall *call, EsWrite *write)
{
	EsAggregate *aggregate = write->aggregate;
	EsStatus	status;

	if (aggregate == NULL)
	{
		decide_conditions(call, write);
		return;
	}
	status = decide_by_request(write);
	if (status == ES_NOT_WRITTEN)
		status = decide_by_version(call, write);
	write->status = status;
	if (status == ES_APPENDED)
		aggregate->version = es_next_version(aggregate->version, write->nevents);
	if (status == ES_APPENDED || es_is_refusal(status) || (status == ES_CHECKED && !write->remembered))
	{
		write->version = aggregate->version;
		write->has_version = true;
	}
	if (es_is_refusal(status))
		write->first_position = 0;
}

/* Decide every entry, in order, on what is known of its aggregate. */
void
es_decide(EsCall *call)
{
	for (int i = 0; i < call->naggregates; i++)
		call->aggregates[i].version = call->aggregates[i].stored_version;
	for (int i = 0; i < call->nwrites; i++)
	{
		if (!es_is_settled(&call->writes[i]))
			decide_write(call, &call->writes[i]);
	}
}

/* Fill in the results that depend on other entries. */
void
es_complete_results(EsCall *call)
{
	bool		refused = call->atomic && es_first_refusal(call) >= 0;

	for (int i = 0; i < call->nwrites; i++)
	{
		EsWrite    *write = &call->writes[i];

		if (refused && !es_is_refusal(write->status))
		{
			write->status = ES_NOT_WRITTEN;
			write->has_version = write->aggregate != NULL;
			if (write->has_version)
				write->version = write->aggregate->stored_version;
			write->first_position = 0;
		}
		else if (write->status == ES_REPEATED && write->original != NULL)
		{
			write->version = write->original->version;
			write->has_version = true;
			write->first_position = write->original->first_position;
			write->last_position = write->original->last_position;
			write->recorded_at = write->original->recorded_at;
		}
		else if (write->status == ES_CHECKED && !write->has_version && write->has_expected)
		{
			write->version = write->expected_version;
			write->has_version = true;
		}
	}
}
