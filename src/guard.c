/*-------------------------------------------------------------------------
 *
 * guard.c
 *	  The append-only guard: direct changes to a store's tables are refused.
 *
 * Invariant: a statement that changes es_events, es_aggregates or es_tags runs
 * only if this library started it.  Just before it runs such a statement it
 * leaves a permit for one relation and one command; the guard, a BEFORE STATEMENT
 * trigger, uses the permit up.  A user's trigger that fires inside an append finds
 * no permit, or takes ours: then our own statement is refused and the whole append
 * with it, so nothing slips through either way.
 *
 * Permits form a stack, since a trigger may append in turn.  It is static state:
 * the executing function (statement.c) pops its permit on every way out, errors
 * included, so that no permit outlives its statement.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/rel.h"

#include "eventstore.h"

static EsPermit *innermost = NULL;

PG_FUNCTION_INFO_V1(es_guard);

/* Allow one statement of the given kind on the given relation. */
void
es_push_permit(EsPermit *permit, EsStore *store, Oid relid, const char *name, CmdType command)
{
	permit->store = store;
	permit->relid = relid;
	permit->name = name;
	permit->command = command;
	permit->used = false;
	permit->outer = innermost;
	innermost = permit;
}

void
es_pop_permit(EsPermit *permit)
{
	innermost = permit->outer;
}

/*
 * Refuse (55006) an append from a trigger on es_aggregates: the outer append has
 * moved a version, but has not drawn its positions yet, so ours would come before
 * it in the log and after it in the aggregate.
 */
void
es_refuse_append_inside(const EsStore *store)
{
	for (EsPermit *permit = innermost; permit != NULL; permit = permit->outer)
	{
		if (permit->relid == store->aggregates_oid && permit->command != CMD_SELECT)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("cannot append to an event store from a trigger on its table \"es_aggregates\""),
					 errhint("Append from a trigger on es_events.")));
	}
}

static CmdType
trigger_command(const TriggerData *trigdata)
{
	if (TRIGGER_FIRED_BY_INSERT(trigdata->tg_event))
		return CMD_INSERT;
	if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		return CMD_UPDATE;
	if (TRIGGER_FIRED_BY_DELETE(trigdata->tg_event))
		return CMD_DELETE;
	return CMD_UTILITY;			/* TRUNCATE */
}

/*
 * Is this our own statement, gone to another table of the same name?  Then the store
 * was replaced while the statement waited.
 */
static bool
is_namesake(Relation relation, CmdType command)
{
	return innermost != NULL && !innermost->used && innermost->command == command &&
		innermost->relid != RelationGetRelid(relation) &&
		strcmp(innermost->name, RelationGetRelationName(relation)) == 0;
}

static void
report_direct_write(Relation relation, CmdType command)
{
	const char *verb = command == CMD_INSERT ? "insert into" :
	command == CMD_UPDATE ? "update" :
	command == CMD_DELETE ? "delete from" : "truncate";

	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("cannot %s table \"%s\" of an event store directly",
					verb, RelationGetRelationName(relation)),
			 command == CMD_INSERT ?
			 errhint("Use es_append() to add events.") :
			 command == CMD_UTILITY ?
			 errhint("Use es_drop_store() to remove a whole store.") :
			 errhint("The log is append-only: use es_append() to add an event that corrects or cancels an earlier one."),
			 errtable(relation)));
}

/*
 * es_guard() RETURNS trigger
 *
 * Refuses (42501) every change that this library did not start.  Restores,
 * logical replication and maintenance get through: the trigger does not fire
 * with session_replication_role = replica, and a superuser can set
 * eventstore.allow_direct_writes.
 */
Datum
es_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	CmdType		command;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_BEFORE(trigdata->tg_event) ||
		!TRIGGER_FIRED_FOR_STATEMENT(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("es_guard() must be called as a trigger before a statement")));

	command = trigger_command(trigdata);
	if (innermost != NULL && !innermost->used &&
		innermost->relid == RelationGetRelid(trigdata->tg_relation) && innermost->command == command)
		innermost->used = true;
	else if (!es_allow_direct_writes)
	{
		if (is_namesake(trigdata->tg_relation, command))
			es_report_replaced(innermost->store);
		report_direct_write(trigdata->tg_relation, command);
	}

	return PointerGetDatum(NULL);
}
