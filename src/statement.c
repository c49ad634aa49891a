/*-------------------------------------------------------------------------
 *
 * statement.c
 *	  The SQL statements over a store's tables: their texts, kept plans and
 *	  execution.
 *
 * They go through SPI, so that triggers, row-level security, partitions and
 * grants work as on any table.
 *
 * PostgreSQL replans a kept plan from its text, which names the schema.  Should
 * the schema have been renamed, and another have taken its name, between the look
 * into the cache (store.c) and the execution, the plan would use the other store.
 * So after each execution we check that it used the relation we meant; if not, the
 * error undoes what it did.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/plancache.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "eventstore.h"
#include "testing.h"

#define MAX_STATEMENT_ARGS 10

typedef enum EsTable
{
	IN_AGGREGATES,
	IN_EVENTS,
	IN_TAGS,
	IN_WATERMARK,
	IN_SUBSCRIPTIONS,
	IN_SNAPSHOTS
} EsTable;

/*
 * Events after position $2, up to $3, with the tag $1, of which the index has them in
 * order, and with all tags $4, of one of the types $5 and categories $6, if there are any.
 */
#define TAGGED \
	" FROM %1$s.es_tags AS t JOIN %1$s.es_events AS e" \
	" ON e.key OPERATOR(pg_catalog.=) t.key AND e.version OPERATOR(pg_catalog.=) t.version" \
	" WHERE t.tag OPERATOR(pg_catalog.=) $1" \
	" AND t.position OPERATOR(pg_catalog.>) $2 AND t.position OPERATOR(pg_catalog.<=) $3" \
	" AND e.tags OPERATOR(pg_catalog.@>) $4" \
	" AND (pg_catalog.cardinality($5) OPERATOR(pg_catalog.=) 0 OR e.type OPERATOR(pg_catalog.=) ANY ($5))" \
	" AND (pg_catalog.cardinality($6) OPERATOR(pg_catalog.=) 0" \
	" OR pg_catalog.split_part(e.key, '-', 1) OPERATOR(pg_catalog.=) ANY ($6))"

/*
 * The statements.  %s is the quoted schema name.  Operators are qualified, since
 * the caller's search path must not choose them.  Named tuple stores (es_batch
 * and so on) are registered by write.c.
 */
static const struct
{
	const char *text;
	EsTable		table;			/* the relation that it is about */
	CmdType		command;		/* what the guard must let through */
	bool		read_only;		/* with the calling query's snapshot */
	int			nargs;
	Oid			args[MAX_STATEMENT_ARGS];
}			statements[ES_STATEMENT_COUNT] =

{
	[ES_ADVANCE] = {
		"UPDATE %s.es_aggregates SET version = version OPERATOR(pg_catalog.+) $2"
		" WHERE key OPERATOR(pg_catalog.=) $1 AND closed_at IS NULL"
		" RETURNING version",
		IN_AGGREGATES, CMD_UPDATE, false, 2, {TEXTOID, INT8OID}
	},
	[ES_ADVANCE_EXPECTED] = {
		"UPDATE %s.es_aggregates SET version = version OPERATOR(pg_catalog.+) $2"
		" WHERE key OPERATOR(pg_catalog.=) $1 AND version OPERATOR(pg_catalog.=) $3"
		" AND closed_at IS NULL"
		" RETURNING version",
		IN_AGGREGATES, CMD_UPDATE, false, 3, {TEXTOID, INT8OID, INT8OID}
	},
	[ES_INSERT_EVENT] = {
		"INSERT INTO %s.es_events (position, version, recorded_at, id, key, type, data, metadata, tags, request_id)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
		IN_EVENTS, CMD_INSERT, false, 10,
		{INT8OID, INT8OID, TIMESTAMPTZOID, UUIDOID, TEXTOID, TEXTOID, JSONBOID, JSONBOID, TEXTARRAYOID, TEXTOID}
	},
	[ES_INSERT_EVENTS] = {
		"INSERT INTO %s.es_events (position, version, recorded_at, id, key, type, data, metadata, tags, request_id)"
		" SELECT position, version, recorded_at, id, key, type, data, metadata, tags, request_id"
		" FROM es_new_events",
		IN_EVENTS, CMD_INSERT, false, 0, {0}
	},
	[ES_INSERT_TAGS] = {
		"INSERT INTO %s.es_tags (tag, position, key, version)"
		" SELECT tag, position, key, version FROM es_new_tags",
		IN_TAGS, CMD_INSERT, false, 0, {0}
	},
	[ES_INSERT_AGGREGATES] = {
		"INSERT INTO %s.es_aggregates (key, version) SELECT key, version FROM es_new_aggregates",
		IN_AGGREGATES, CMD_INSERT, false, 0, {0}
	},
	[ES_UPDATE_AGGREGATES] = {
		"UPDATE %s.es_aggregates AS a SET version = n.version FROM es_new_aggregates AS n"
		" WHERE a.key OPERATOR(pg_catalog.=) n.key",
		IN_AGGREGATES, CMD_UPDATE, false, 0, {0}
	},
	[ES_LOOK] = {
		"SELECT key, version, closed_at IS NOT NULL, tableoid, ctid FROM %s.es_aggregates"
		" WHERE key OPERATOR(pg_catalog.=) ANY ($1)",
		IN_AGGREGATES, CMD_SELECT, false, 1, {TEXTARRAYOID}
	},
	[ES_LOOK_AS_OWNER] = {
		"SELECT key, version, closed_at IS NOT NULL, tableoid, ctid FROM %s.es_aggregates"
		" WHERE key OPERATOR(pg_catalog.=) ANY ($1)",
		IN_AGGREGATES, CMD_SELECT, false, 1, {TEXTARRAYOID}
	},
	[ES_LOCK_ROWS] = {
		"SELECT key, version, closed_at IS NOT NULL, tableoid, ctid FROM %s.es_aggregates"
		" WHERE key OPERATOR(pg_catalog.=) ANY ($1) ORDER BY key FOR NO KEY UPDATE",
		IN_AGGREGATES, CMD_SELECT, false, 1, {TEXTARRAYOID}
	},
	[ES_LOCK_ROWS_NOWAIT] = {
		"SELECT key, version, closed_at IS NOT NULL, tableoid, ctid FROM %s.es_aggregates"
		" WHERE key OPERATOR(pg_catalog.=) ANY ($1) ORDER BY key FOR NO KEY UPDATE SKIP LOCKED",
		IN_AGGREGATES, CMD_SELECT, false, 1, {TEXTARRAYOID}
	},
	[ES_SHARE_ROW] = {
		"SELECT key, version, closed_at IS NOT NULL, tableoid, ctid FROM %s.es_aggregates"
		" WHERE key OPERATOR(pg_catalog.=) ANY ($1) ORDER BY key FOR SHARE",
		IN_AGGREGATES, CMD_SELECT, false, 1, {TEXTARRAYOID}
	},
	[ES_FIND_REQUEST] = {
		"SELECT version, position, recorded_at, type, data FROM %s.es_events"
		" WHERE key OPERATOR(pg_catalog.=) $1 AND request_id OPERATOR(pg_catalog.=) $2"
		" ORDER BY version",
		IN_EVENTS, CMD_SELECT, false, 2, {TEXTOID, TEXTOID}
	},
	[ES_COUNT_REQUEST_AS_OWNER] = {
		"SELECT pg_catalog.count(*) FROM %s.es_events"
		" WHERE key OPERATOR(pg_catalog.=) $1 AND request_id OPERATOR(pg_catalog.=) $2",
		IN_EVENTS, CMD_SELECT, false, 2, {TEXTOID, TEXTOID}
	},
	[ES_SELECT_VERSION] = {
		"SELECT version FROM %s.es_aggregates WHERE key OPERATOR(pg_catalog.=) $1",
		IN_AGGREGATES, CMD_SELECT, true, 1, {TEXTOID}
	},
	[ES_READ_LOG] = {
		"SELECT position, key, version, type, data, metadata, tags, id, recorded_at FROM %s.es_events"
		" WHERE position OPERATOR(pg_catalog.>) $1 AND position OPERATOR(pg_catalog.<=) $2"
		" ORDER BY position LIMIT $3",
		IN_EVENTS, CMD_SELECT, false, 3, {INT8OID, INT8OID, INT8OID}
	},
	[ES_LAST_EVENT] = {
		"SELECT position FROM %s.es_events ORDER BY position DESC LIMIT 1",
		IN_EVENTS, CMD_SELECT, false, 0, {0}
	},
	[ES_SELECT_WATERMARK] = {
		"SELECT position FROM %s.es_watermark",
		IN_WATERMARK, CMD_SELECT, false, 0, {0}
	},
	[ES_INSERT_WATERMARK] = {
		"INSERT INTO %s.es_watermark (position) VALUES ($1)",
		IN_WATERMARK, CMD_INSERT, false, 1, {INT8OID}
	},
	[ES_UPDATE_WATERMARK] = {
		"UPDATE %s.es_watermark SET position = $1, updated_at = pg_catalog.clock_timestamp()"
		" WHERE position OPERATOR(pg_catalog.<) $1",
		IN_WATERMARK, CMD_UPDATE, false, 1, {INT8OID}
	},
	[ES_SUBSCRIPTION_POSITION] = {
		"SELECT pg_catalog.min(position) FROM %s.es_subscriptions"
		" WHERE subscription OPERATOR(pg_catalog.=) $1",
		IN_SUBSCRIPTIONS, CMD_SELECT, false, 1, {TEXTOID}
	},
	[ES_READ_FORWARDS] = {
		"SELECT position, key, version, type, data, metadata, tags, id, recorded_at FROM %s.es_events"
		" WHERE key OPERATOR(pg_catalog.=) $1 AND version OPERATOR(pg_catalog.>=) $2"
		" AND version OPERATOR(pg_catalog.<=) $3 ORDER BY version LIMIT $4",
		IN_EVENTS, CMD_SELECT, true, 4, {TEXTOID, INT8OID, INT8OID, INT8OID}
	},
	[ES_READ_BACKWARDS] = {
		"SELECT position, key, version, type, data, metadata, tags, id, recorded_at FROM %s.es_events"
		" WHERE key OPERATOR(pg_catalog.=) $1 AND version OPERATOR(pg_catalog.>=) $2"
		" AND version OPERATOR(pg_catalog.<=) $3 ORDER BY version DESC LIMIT $4",
		IN_EVENTS, CMD_SELECT, true, 4, {TEXTOID, INT8OID, INT8OID, INT8OID}
	},
	[ES_COUNT_TAGGED] = {
		"SELECT pg_catalog.count(*) FROM (SELECT FROM %s.es_tags"
		" WHERE tag OPERATOR(pg_catalog.=) $1 AND position OPERATOR(pg_catalog.>) $2 LIMIT $3) AS t",
		IN_TAGS, CMD_SELECT, false, 3, {TEXTOID, INT8OID, INT8OID}
	},
	[ES_FIND_TAGGED] = {
		"SELECT e.position, e.type" TAGGED " ORDER BY t.position LIMIT 1",
		IN_EVENTS, CMD_SELECT, false, 6, {TEXTOID, INT8OID, INT8OID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID}
	},
	[ES_FIND_TAGGED_AS_OWNER] = {
		"SELECT e.position, e.type" TAGGED " ORDER BY t.position LIMIT 1",
		IN_EVENTS, CMD_SELECT, false, 6, {TEXTOID, INT8OID, INT8OID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID}
	},
	[ES_READ_TAGGED] = {
		"SELECT e.position, e.key, e.version, e.type, e.data, e.metadata, e.tags, e.id, e.recorded_at"
		TAGGED " ORDER BY t.position",
		IN_EVENTS, CMD_SELECT, false, 6, {TEXTOID, INT8OID, INT8OID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID}
	},
	[ES_LOAD] = {
		"SELECT coalesce(a.version, 0), coalesce(s.version, 0), s.state,"
		" coalesce((SELECT pg_catalog.jsonb_agg("
		"pg_catalog.jsonb_build_object('position', e.position, 'key', e.key, 'version', e.version, 'type', e.type,"
		" 'id', e.id, 'recorded_at', e.recorded_at)"
		" OPERATOR(pg_catalog.||) CASE WHEN e.data IS NULL THEN '{}' ELSE pg_catalog.jsonb_build_object('data', e.data) END"
		" OPERATOR(pg_catalog.||) CASE WHEN e.metadata IS NULL THEN '{}' ELSE pg_catalog.jsonb_build_object('metadata', e.metadata) END"
		" OPERATOR(pg_catalog.||) CASE WHEN e.tags IS NULL THEN '{}' ELSE pg_catalog.jsonb_build_object('tags', e.tags) END"
		" ORDER BY e.version) FROM %1$s.es_events AS e"
		" WHERE e.key OPERATOR(pg_catalog.=) $1 AND e.version OPERATOR(pg_catalog.>) coalesce(s.version, 0)), '[]')"
		" FROM (VALUES ($1)) AS k (key)"
		" LEFT JOIN %1$s.es_aggregates AS a ON a.key OPERATOR(pg_catalog.=) $1"
		" LEFT JOIN %1$s.es_snapshots AS s ON s.key OPERATOR(pg_catalog.=) $1"
		" AND s.version OPERATOR(pg_catalog.<=) a.version",
		IN_SNAPSHOTS, CMD_SELECT, true, 1, {TEXTOID}
	},
	[ES_SAVE_SNAPSHOT] = {
		"INSERT INTO %1$s.es_snapshots AS s (key, version, state)"
		" SELECT a.key, $2, $3 FROM %1$s.es_aggregates AS a"
		" WHERE a.key OPERATOR(pg_catalog.=) $1 AND a.version OPERATOR(pg_catalog.>=) $2"
		" ON CONFLICT (key) DO UPDATE"
		" SET version = excluded.version, state = excluded.state, recorded_at = excluded.recorded_at"
		" WHERE s.version OPERATOR(pg_catalog.<=) excluded.version",
		IN_SNAPSHOTS, CMD_INSERT, false, 3, {TEXTOID, INT8OID, JSONBOID}
	},
};

static const char *const table_names[] = {
	[IN_AGGREGATES] = "es_aggregates",
	[IN_EVENTS] = "es_events",
	[IN_TAGS] = "es_tags",
	[IN_WATERMARK] = "es_watermark",
	[IN_SUBSCRIPTIONS] = "es_subscriptions",
	[IN_SNAPSHOTS] = "es_snapshots"
};

static Oid
relation_of(const EsStore *store, EsTable table)
{
	switch (table)
	{
		case IN_AGGREGATES:
			return store->aggregates_oid;
		case IN_EVENTS:
			return store->events_oid;
		case IN_TAGS:
			return store->tags_oid;
		case IN_WATERMARK:
			return store->watermark_oid;
		case IN_SUBSCRIPTIONS:
			return store->subscriptions_oid;
		case IN_SNAPSHOTS:
			return store->snapshots_oid;
	}
	return InvalidOid;			/* keep the compiler quiet */
}

static void
turn_off(const char *setting)
{
	(void) set_config_option(setting, "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Plan a statement once, for all values of its parameters, without sequential
 * scans.  All our statements go by a key, but a plan made while a table is small
 * would scan it, and would go on doing so while it grows until it is analyzed.
 * Nor with just-in-time compilation, which takes longer than any of them.
 */
static void
make_generic_plan(SPIPlanPtr plan)
{
	int			nestlevel = NewGUCNestLevel();
	CachedPlan *cplan;

	turn_off("enable_seqscan");
	turn_off("jit");
	cplan = SPI_plan_get_cached_plan(plan);
	if (cplan != NULL)
		ReleaseCachedPlan(cplan, CurrentResourceOwner);
	AtEOXact_GUC(true, nestlevel);
}

/* The kept plan of a statement; made anew if it is not there or out of date. */
static SPIPlanPtr
statement_plan(EsStore *store, EsStatement statement)
{
	SPIPlanPtr	plan = store->plans[statement];

	if (plan == NULL)
	{
		char	   *query = psprintf(statements[statement].text,
									 quote_identifier(NameStr(store->namespace_name)));

		plan = SPI_prepare_cursor(query, statements[statement].nargs,
								  (Oid *) statements[statement].args,
								  CURSOR_OPT_GENERIC_PLAN);
		if (plan == NULL)
			elog(ERROR, "could not prepare \"%s\": %s", query, SPI_result_code_string(SPI_result));
		SPI_keepplan(plan);
		store->plans[statement] = plan;
		store->planned[statement] = false;
		pfree(query);
	}
	/* If planning was interrupted, it is still to be done. */
	if (!store->planned[statement] || !SPI_plan_is_valid(plan))
	{
		store->planned[statement] = false;
		make_generic_plan(plan);
		store->planned[statement] = true;
	}
	return plan;
}

/* See the top of store.c. */
static void
check_relation_used(EsStore *store, EsStatement statement, SPIPlanPtr plan)
{
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));

	if (list_member_oid(source->relationOids, relation_of(store, statements[statement].table)))
		return;
	es_report_replaced(store);
}

static ParamListInfo
make_params(EsStatement statement, Datum *values, const char *nulls)
{
	ParamListInfo params = makeParamList(statements[statement].nargs);

	for (int i = 0; i < params->numParams; i++)
	{
		params->params[i].value = values[i];
		params->params[i].isnull = nulls != NULL && nulls[i] == 'n';
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].ptype = statements[statement].args[i];
	}
	return params;
}

/* Rows go to SPI_tuptable, or to dest if there is one. */
static int
run_plan(SPIPlanPtr plan, EsStatement statement, Datum *values, const char *nulls,
		 Snapshot snapshot, DestReceiver *dest)
{
	SPIExecuteOptions options = {0};

	if (dest == NULL)
		return SPI_execute_snapshot(plan, values, nulls, snapshot, InvalidSnapshot,
									statements[statement].read_only ||
									(statement == ES_FIND_TAGGED &&
									 ES_MUTANT("condition with the snapshot of the statement")),
									true, 0);

	options.params = make_params(statement, values, nulls);
	options.read_only = statements[statement].read_only || ES_MUTANT("snapshot of the statement");
	options.dest = dest;
	return SPI_execute_plan_extended(plan, &options);
}

static void
run_statement(EsStore *store, EsStatement statement, Datum *values, const char *nulls,
			  Snapshot snapshot, DestReceiver *dest)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	SPIPlanPtr	plan = statement_plan(store, statement);
	int			rc = run_plan(plan, statement, values, nulls, snapshot, dest);

	/* SPI leaves its caller in a context that lasts until SPI_finish(). */
	MemoryContextSwitchTo(oldcontext);
	if (rc < 0)
		elog(ERROR, "could not execute \"%s\": %s",
			 statements[statement].text, SPI_result_code_string(rc));
	check_relation_used(store, statement, plan);
	if (dest == NULL)
		es_check_columns(store, statement, SPI_tuptable);
}

/* Run a statement; the guard lets this one through. */
static void
execute(EsStore *store, EsStatement statement, Datum *values, const char *nulls,
		Snapshot snapshot, DestReceiver *dest)
{
	EsPermit	permit;

	es_push_permit(&permit, store, relation_of(store, statements[statement].table),
				   table_names[statements[statement].table], statements[statement].command);
	PG_TRY();
	{
		run_statement(store, statement, values, nulls, snapshot, dest);
	}
	PG_FINALLY();
	{
		es_pop_permit(&permit);
	}
	PG_END_TRY();
}

/*
 * Execute a statement with a snapshot of its own (READ COMMITTED) or the
 * transaction's (above).  The result is in SPI_tuptable and SPI_processed.
 * SPI must be connected.
 */
void
es_run(EsStore *store, EsStatement statement, Datum *values, const char *nulls)
{
	execute(store, statement, values, nulls, InvalidSnapshot, NULL);
}

/* The snapshot that shows what is there now, at every isolation level. */
Snapshot
es_latest_snapshot(void)
{
	/* Below REPEATABLE READ, SPI takes a new one for each statement. */
	return IsolationUsesXactSnapshot() ? GetLatestSnapshot() : InvalidSnapshot;
}

/* The same with the snapshot given. */
void
es_run_snapshot(EsStore *store, EsStatement statement, Datum *values, const char *nulls,
				Snapshot snapshot)
{
	execute(store, statement, values, nulls, snapshot, NULL);
}

static Oid
owner_of(EsStore *store, EsStatement statement)
{
	Oid			relid = relation_of(store, statements[statement].table);
	HeapTuple	class = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner;

	if (!HeapTupleIsValid(class))
		es_report_replaced(store);
	owner = ((Form_pg_class) GETSTRUCT(class))->relowner;
	ReleaseSysCache(class);
	return owner;
}

/* See owner.c. */
bool
es_may_run_as_owner(EsStore *store, EsStatement statement)
{
	return es_owns_names(owner_of(store, statement), store->namespace_oid);
}

/*
 * The same as the owner of the table and past its row-level security, for facts
 * that do not depend on who asks (55000 if that must not be).
 */
void
es_run_as_owner(EsStore *store, EsStatement statement, Datum *values, Snapshot snapshot)
{
	Oid			userid;
	int			security;
	int			nestlevel;

	if (!es_may_run_as_owner(store, statement))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot tell hidden rows of event store \"%s\" from missing ones",
						NameStr(store->namespace_name)),
				 errdetail("Its schema and its tables belong to different roles."),
				 errhint("Give the schema to the owner of the tables with ALTER SCHEMA ... OWNER TO.")));
	es_check_still_named(store);
	/* Settings that the owner's code changes must not stay for the caller. */
	nestlevel = NewGUCNestLevel();
	GetUserIdAndSecContext(&userid, &security);
	SetUserIdAndSecContext(owner_of(store, statement),
						   security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION |
						   SECURITY_NOFORCE_RLS);
	es_run_snapshot(store, statement, values, NULL, snapshot);
	SetUserIdAndSecContext(userid, security);
	AtEOXact_GUC(false, nestlevel);
}

/* Execute a read; rows go to dest. */
void
es_run_into(EsStore *store, EsStatement statement, Datum *values, const char *nulls,
			DestReceiver *dest)
{
	execute(store, statement, values, nulls, InvalidSnapshot, dest);
}

/*
 * Execute the statement of a page (query.c) with a snapshot of its own.  Planned
 * for this one time: such statements differ from reader to reader.
 */
void
es_run_page(EsStore *store, const char *sql, Datum *values, DestReceiver *dest)
{
	SPIExecuteOptions options = {0};
	int			rc;

	options.params = make_params(ES_READ_LOG, values, NULL);
	options.dest = dest;
	rc = SPI_execute_extended(sql, &options);
	if (rc < 0)
		elog(ERROR, "could not execute \"%s\": %s", sql, SPI_result_code_string(rc));
	es_check_still_named(store);
}
