/*-------------------------------------------------------------------------
 *
 * result.c
 *	  The outcome of a call: as rows, or as one of the VE errors.
 *
 * A refusal says its facts three times, because drivers differ in what they show:
 * in the message, in DETAIL as JSON (all refusals of the call), and in the error
 * fields schema, table and constraint.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/tuplestore.h"

#include "eventstore.h"

static const char *const status_names[] = {
	[ES_APPENDED] = "appended",
	[ES_REPEATED] = "repeated",
	[ES_CHECKED] = "checked",
	[ES_NOT_WRITTEN] = "not_written",
	[ES_VERSION_CONFLICT] = "version_conflict",
	[ES_AGGREGATE_NOT_FOUND] = "aggregate_not_found",
	[ES_AGGREGATE_CLOSED] = "aggregate_closed",
	[ES_CONDITION_FAILED] = "condition_failed",
	[ES_REQUEST_ID_REUSED] = "request_id_reused"
};

const char *
es_status_name(EsStatus status)
{
	return status_names[status];
}

/* The first refused entry, or -1. */
int
es_first_refusal(const EsCall *call)
{
	for (int i = 0; i < call->nwrites; i++)
	{
		if (es_is_refusal(call->writes[i].status))
			return i;
	}
	return -1;
}

/* What is in the way of a condition, as fields of a JSON object. */
static void
append_condition_facts(StringInfo json, const EsWrite *write)
{
	const EsCondition *condition = write->obstacle;

	appendStringInfo(json, ", \"condition\": %d, \"after\": " INT64_FORMAT ", \"position\": ",
					 (int) (condition - write->conditions) + 1, condition->after);
	if (condition->position > 0)
		appendStringInfo(json, INT64_FORMAT, condition->position);
	else
		appendStringInfo(json, "null, \"earlier_entry\": %d", condition->earlier_entry);
	appendStringInfoString(json, ", \"type\": ");
	escape_json(json, text_to_cstring(condition->type));
}

static void
append_refusal(StringInfo json, const EsWrite *write)
{
	appendStringInfo(json, "{\"entry\": %d, \"key\": ", write->entry);
	if (write->key != NULL)
		escape_json(json, text_to_cstring(write->key));
	else
		appendStringInfoString(json, "null");
	appendStringInfo(json, ", \"status\": \"%s\", \"expected\": ", status_names[write->status]);
	if (write->has_expected)
		appendStringInfo(json, INT64_FORMAT, write->expected_version);
	else
		appendStringInfoString(json, "null");
	if (write->has_version)
		appendStringInfo(json, ", \"actual\": " INT64_FORMAT, write->version);
	else
		appendStringInfoString(json, ", \"actual\": null");
	if (write->status == ES_CONDITION_FAILED)
		append_condition_facts(json, write);
	appendStringInfoChar(json, '}');
}

/* All refusals of a call as one line of JSON. */
static char *
refusals_as_json(const EsCall *call)
{
	StringInfoData json;
	const char *separator = "";

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"conflicts\": [");
	for (int i = 0; i < call->nwrites; i++)
	{
		if (!es_is_refusal(call->writes[i].status))
			continue;
		appendStringInfoString(&json, separator);
		append_refusal(&json, &call->writes[i]);
		separator = ", ";
	}
	appendStringInfoString(&json, "]}");
	return json.data;
}

static int
condition_message(const EsWrite *write)
{
	const EsCondition *condition = write->obstacle;
	int			number = (int) (condition - write->conditions) + 1;
	char	   *type = text_to_cstring(condition->type);

	errcode(ERRCODE_ES_CONDITION_FAILED);
	if (condition->position == 0)
		return errmsg("event of type \"%s\" in entry %d fails condition %d of entry %d",
					  type, condition->earlier_entry, number, write->entry);
	return errmsg("event of type \"%s\" at position " INT64_FORMAT " fails condition %d of entry %d, which allows none after position " INT64_FORMAT,
				  type, condition->position, number, write->entry, condition->after);
}

static int
refusal_message(const EsWrite *write)
{
	char	   *key = write->key != NULL ? text_to_cstring(write->key) : NULL;

	switch (write->status)
	{
		case ES_VERSION_CONFLICT:
			errcode(ERRCODE_ES_VERSION_CONFLICT);
			return errmsg("aggregate \"%s\" is at version " INT64_FORMAT ", not at the expected version " INT64_FORMAT,
						  key, write->version, write->expected_version);
		case ES_AGGREGATE_NOT_FOUND:
			errcode(ERRCODE_ES_AGGREGATE_NOT_FOUND);
			return errmsg("aggregate \"%s\" does not exist", key);
		case ES_AGGREGATE_CLOSED:
			errcode(ERRCODE_ES_AGGREGATE_CLOSED);
			return errmsg("aggregate \"%s\" is closed", key);
		case ES_CONDITION_FAILED:
			return condition_message(write);
		case ES_REQUEST_ID_REUSED:
			errcode(ERRCODE_ES_REQUEST_ID_REUSED);
			return errmsg("request id \"%s\" was used for other events of aggregate \"%s\"",
						  text_to_cstring(write->request_id), key);
		default:
			return errmsg_internal("status %d is not a refusal", (int) write->status);
	}
}

static int
refusal_hint(const EsWrite *write)
{
	switch (write->status)
	{
		case ES_VERSION_CONFLICT:
			return write->version == 0 ?
				errhint("It does not exist: check the key, or expect version 0 to create it.") :
				write->aggregate->moved ?
				errhint("Start a new transaction, read the aggregate again and decide again before you retry.") :
				errhint("Read the aggregate again and decide again before you retry.");
		case ES_AGGREGATE_NOT_FOUND:
			return write->nevents > 0 ?
				errhint("To create it, pass allow_create => true, or expected_version => 0 if it must not exist.") :
				errhint("Check the key, or expect version 0 if the aggregate must not exist.");
		case ES_AGGREGATE_CLOSED:
			return errhint("A closed aggregate takes no more events.");
		case ES_CONDITION_FAILED:
			return write->obstacle->position == 0 ?
				errhint("Entries apply in the order given: put the condition on the first of them, or in a guard before it.") :
				errhint("Read with es_query() again and decide again before you retry.");
		case ES_REQUEST_ID_REUSED:
			return errhint("Use a new request id for a new request; es_find_request() shows what the old one did.");
		default:
			return 0;
	}
}

/* Raise the error of a refused call: the code is that of its first refusal. */
void
es_report_refusals(const EsCall *call)
{
	const EsWrite *first = &call->writes[es_first_refusal(call)];

	ereport(ERROR,
			(refusal_message(first),
			 errdetail_internal("%s", refusals_as_json(call)),
			 refusal_hint(first),
			 err_generic_string(PG_DIAG_SCHEMA_NAME, NameStr(call->store->namespace_name)),
			 err_generic_string(PG_DIAG_TABLE_NAME,
								first->status == ES_CONDITION_FAILED ? "es_events" : "es_aggregates"),
			 err_generic_string(PG_DIAG_CONSTRAINT_NAME,
								psprintf("es_%s", status_names[first->status]))));
	pg_unreachable();
}

/*
 * Above READ COMMITTED: the aggregate is where the caller wants it, but the
 * transaction cannot see it there, so the history would not be serializable.
 */
void
es_report_moved(const EsAggregate *aggregate)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to a concurrent append to aggregate \"%s\"",
					text_to_cstring(aggregate->key)),
			 errhint("Start a new transaction, read the aggregate again and decide again before you retry.")));
	pg_unreachable();
}

/* The aggregate is locked by somebody else (55P03). */
void
es_report_busy(const EsAggregate *aggregate)
{
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("could not obtain lock on aggregate \"%s\"", text_to_cstring(aggregate->key))));
	pg_unreachable();
}

/* A row-level security policy hides the aggregate from the caller. */
void
es_report_hidden(text *key)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for aggregate \"%s\"", text_to_cstring(key)),
			 errdetail("A row-level security policy hides it.")));
	pg_unreachable();
}

/* An es_append_result. */
void
es_result_row(const EsWrite *write, Datum *values, bool *nulls)
{
	bool		written = write->first_position > 0;

	memset(nulls, 0, sizeof(bool) * ES_RESULT_COLUMNS);
	values[0] = Int32GetDatum(write->entry);
	values[1] = PointerGetDatum(write->key);
	nulls[1] = write->key == NULL;
	values[2] = CStringGetTextDatum(status_names[write->status]);
	values[3] = Int64GetDatum(write->version);
	nulls[3] = !write->has_version;
	values[4] = Int64GetDatum(write->first_position);
	values[5] = Int64GetDatum(write->last_position);
	values[6] = TimestampTzGetDatum(write->recorded_at);
	nulls[4] = nulls[5] = nulls[6] = !written;
}

/* All entries as the set that an SQL function returns. */
void
es_put_results(FunctionCallInfo fcinfo, const EsCall *call)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		values[ES_RESULT_COLUMNS];
	bool		nulls[ES_RESULT_COLUMNS];

	for (int i = 0; i < call->nwrites; i++)
	{
		es_result_row(&call->writes[i], values, nulls);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}
