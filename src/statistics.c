/*-------------------------------------------------------------------------
 *
 * statistics.c
 *	  What is counted, and what the views es_stat_store and es_stat_subscription show.
 *
 * Refusals and repeats leave no row behind, and most of them end in a rollback.  So
 * they are counted in sequences, the one thing that a rollback does not take back:
 * unlogged ones, which need neither WAL nor a transaction id, and begin anew after
 * a crash.  The number is changed in the sequence's page itself, as nextval() does
 * it: nextval() would change what lastval() returns in the caller's session, and
 * keep a lock to the end of the transaction.
 *
 * Invariant: counting never fails, waits, or changes the outcome of a call.  What
 * cannot be counted, because the sequence is missing, logged or being altered, is
 * not counted.  Appends that succeed at once count nothing here.
 *
 * A monitoring role sees the numbers without rights on the tables.  What it takes
 * is read with the rights of their owner, never with those of the owner of this
 * extension: tables, casts and the like are the user's and could hide code.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

#include "eventstore.h"

PG_FUNCTION_INFO_V1(es_inspect_store);
PG_FUNCTION_INFO_V1(es_inspect_partitions);

#define CONFLICTS "es_conflicts_seq"
#define REFUSALS "es_refusals_seq"
#define REPEATS "es_repeats_seq"

/* Add to the number in the one row of a sequence. */
static void
add_to_row(Relation sequence, int64 number)
{
	Buffer		buffer = ReadBuffer(sequence, 0);
	Page		page;
	Form_pg_sequence_data row;
	HeapTupleData tuple;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	page = BufferGetPage(buffer);
	tuple.t_data = (HeapTupleHeader) PageGetItem(page, PageGetItemId(page, FirstOffsetNumber));
	row = (Form_pg_sequence_data) GETSTRUCT(&tuple);
	row->last_value += row->is_called ? number : number - 1;
	row->is_called = true;
	MarkBufferDirty(buffer);
	UnlockReleaseBuffer(buffer);
}

/*
 * Count.  The lock is nextval()'s, against ALTER SEQUENCE and DROP; it is not waited
 * for, and given back at once.
 */
static void
count_in(const EsStore *store, const char *name, int64 number)
{
	Oid			relid = number > 0 ? get_relname_relid(name, store->namespace_oid) : InvalidOid;
	Relation	sequence;

	if (!OidIsValid(relid) || !ConditionalLockRelationOid(relid, RowExclusiveLock))
		return;
	sequence = try_relation_open(relid, NoLock);
	if (sequence == NULL)
	{
		UnlockRelationOid(relid, RowExclusiveLock);
		return;
	}
	if (sequence->rd_rel->relkind == RELKIND_SEQUENCE &&
		sequence->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED)
		add_to_row(sequence, number);
	relation_close(sequence, RowExclusiveLock);
}

/* Count the entries of a call that were refused or known already. */
void
es_count_outcomes(const EsCall *call)
{
	int64		conflicts = 0;
	int64		refusals = 0;
	int64		repeats = 0;

	for (int i = 0; i < call->nwrites; i++)
	{
		EsStatus	status = call->writes[i].status;

		if (status == ES_VERSION_CONFLICT || status == ES_CONDITION_FAILED)
			conflicts++;
		else if (es_is_refusal(status))
			refusals++;
		else if (status == ES_REPEATED)
			repeats++;
	}
	count_in(call->store, CONFLICTS, conflicts);
	count_in(call->store, REFUSALS, refusals);
	count_in(call->store, REPEATS, repeats);
}

/* Count one attempt of es_execute() that has to be decided anew, or given up. */
void
es_count_conflict(const EsStore *store)
{
	count_in(store, CONFLICTS, 1);
}

/* Count one command that was carried out before. */
void
es_count_repeat(const EsStore *store)
{
	count_in(store, REPEATS, 1);
}

/* What a store consists of, as far as it is read here. */
typedef struct Inspection
{
	const char *name;
	Oid			namespace_oid;
	Oid			owner;
	EsStore		log;			/* only its name and sequence are filled in */
} Inspection;

typedef void (*Inspect) (FunctionCallInfo fcinfo, Inspection *store);

static Oid
owner_of(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
		ReleaseSysCache(tuple);
	}
	return owner;
}

/*
 * Is there such a store, may the caller see its numbers, and do the schema (owner.c) and
 * all tables that are read belong to one role?  With rights of the one, nobody else's code
 * must run.
 */
static bool
may_inspect(const char *schema, Inspection *store)
{
	static const char *const tables[] = {"es_subscriptions", "es_parked_events", "es_events", "es_watermark", "es_position_seq"};
	Oid			relid;

	memset(store, 0, sizeof(Inspection));
	store->name = schema;
	store->namespace_oid = get_namespace_oid(schema, true);
	if (!OidIsValid(store->namespace_oid))
		return false;
	relid = get_relname_relid("es_store", store->namespace_oid);
	store->owner = owner_of(relid);
	if (!OidIsValid(store->owner) ||
		(!has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS) &&
		 pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK) ||
		!es_owns_names(store->owner, store->namespace_oid))
		return false;
	for (int i = 0; i < lengthof(tables); i++)
	{
		relid = get_relname_relid(tables[i], store->namespace_oid);
		if (!OidIsValid(relid) || owner_of(relid) != store->owner)
			return false;
	}
	if (get_rel_relkind(relid) != RELKIND_SEQUENCE)
		return false;
	store->log.sequence_oid = relid;
	namestrcpy(&store->log.namespace_name, schema);
	return true;
}

/* Append a query's rows to the result of an SQL function. */
static void
put_rows(FunctionCallInfo fcinfo, const char *query, int nargs, Oid *types, Datum *values, const char *nulls)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int			rc = SPI_execute_with_args(query, nargs, types, values, nulls, true, 0);

	if (rc != SPI_OK_SELECT)
		elog(ERROR, "could not execute \"%s\": %s", query, SPI_result_code_string(rc));
	for (uint64 i = 0; i < SPI_processed; i++)
		tuplestore_puttuple(rsinfo->setResult, SPI_tuptable->vals[i]);
}

/* A counter's value, as an argument of a query: NULL if there is none. */
static void
counter_value(const Inspection *store, const char *name, Datum *value, char *isnull)
{
	EsStore		counter = store->log;

	*isnull = 'n';
	counter.sequence_oid = get_relname_relid(name, store->namespace_oid);
	/* On a standby there is nothing in unlogged relations. */
	if (!OidIsValid(counter.sequence_oid) || get_rel_relkind(counter.sequence_oid) != RELKIND_SEQUENCE ||
		owner_of(counter.sequence_oid) != store->owner || RecoveryInProgress())
		return;
	*value = Int64GetDatum(es_last_position(&counter));
	*isnull = ' ';
}

/* Whatever columns the tables have by now, the rows must be of the types that we promise. */
#define INSPECT_STORE \
	"SELECT $1, COALESCE($2, w.position::int8), $3, $4, $5, w.position::int8, w.updated_at::timestamptz " \
	"FROM (VALUES (1)) AS one LEFT JOIN %s.es_watermark AS w ON true LIMIT 1"

static void
inspect_store(FunctionCallInfo fcinfo, Inspection *store)
{
	Oid			types[5] = {INT8OID, INT8OID, INT8OID, INT8OID, INT8OID};
	Datum		values[5] = {0};
	char		nulls[5] = {' ', ' ', ' ', ' ', ' '};

	/* The horizon first: it is never beyond the last position drawn by then. */
	if (RecoveryInProgress())
		nulls[1] = 'n';
	else
		values[1] = Int64GetDatum(es_settled_horizon(&store->log));
	values[0] = Int64GetDatum(es_last_position(&store->log));
	counter_value(store, CONFLICTS, &values[2], &nulls[2]);
	counter_value(store, REFUSALS, &values[3], &nulls[3]);
	counter_value(store, REPEATS, &values[4], &nulls[4]);
	put_rows(fcinfo, psprintf(INSPECT_STORE, quote_identifier(store->name)), 5, types, values, nulls);
}

/* The lag, in positions and as the time of the first event that waits. */
#define INSPECT_PARTITIONS \
	"SELECT s.subscription::text, s.partition::int4, s.position::int8, CASE WHEN h.horizon IS NOT NULL THEN GREATEST(h.horizon - s.position, 0) END::int8, " \
	"(SELECT e.recorded_at::timestamptz FROM %1$s.es_events AS e WHERE e.position > s.position AND e.position <= h.horizon " \
	"ORDER BY e.position LIMIT 1), " \
	"(SELECT count(*) FROM %1$s.es_parked_events AS p " \
	"WHERE p.subscription = s.subscription AND %2$s.es_partition(p.key, s.partitions) = s.partition), " \
	"CASE WHEN s.claimed_until > clock_timestamp() THEN s.claimed_by END::text, s.claimed_until::timestamptz, s.advanced_at::timestamptz " \
	"FROM %1$s.es_subscriptions AS s " \
	"CROSS JOIN (SELECT COALESCE($1, (SELECT w.position::int8 FROM %1$s.es_watermark AS w)) AS horizon) AS h " \
	"ORDER BY s.subscription, s.partition"

static void
inspect_partitions(FunctionCallInfo fcinfo, Inspection *store)
{
	Oid			types[1] = {INT8OID};
	Datum		values[1] = {0};
	char		nulls[1] = {' '};
	const char *functions = get_namespace_name(get_func_namespace(fcinfo->flinfo->fn_oid));

	if (RecoveryInProgress())
		nulls[0] = 'n';
	else
		values[0] = Int64GetDatum(es_settled_horizon(&store->log));
	put_rows(fcinfo, psprintf(INSPECT_PARTITIONS, quote_identifier(store->name), quote_identifier(functions)),
			 1, types, values, nulls);
}

/*
 * Run an inspection with the rights of the tables' owner, and none to do more; settings
 * that the owner's code changes, such as the search path, must not stay for the caller.
 */
static void
inspect_as_owner(FunctionCallInfo fcinfo, Inspection *store, Inspect inspect)
{
	Oid			userid;
	int			security;
	int			nestlevel = NewGUCNestLevel();

	SPI_connect();
	GetUserIdAndSecContext(&userid, &security);
	SetUserIdAndSecContext(store->owner, security | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION | SECURITY_NOFORCE_RLS);
	es_check_format(&store->log);
	inspect(fcinfo, store);
	SetUserIdAndSecContext(userid, security);
	SPI_finish();
	AtEOXact_GUC(false, nestlevel);
}

/*
 * The same in a subtransaction: the views show all stores, and one that somebody has
 * broken must not hide the others.
 */
static void
inspect_undoably(FunctionCallInfo fcinfo, Inspect inspect)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	ResourceOwner oldowner = CurrentResourceOwner;
	Inspection	store;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || !may_inspect(NameStr(*PG_GETARG_NAME(0)), &store))
		return;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(oldcontext);
	PG_TRY();
	{
		inspect_as_owner(fcinfo, &store, inspect);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(oldcontext);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(oldcontext);
		CurrentResourceOwner = oldowner;
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(error);
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("could not inspect event store \"%s\": %s", store.name, error->message)));
	}
	PG_END_TRY();
	MemoryContextSwitchTo(oldcontext);
	CurrentResourceOwner = oldowner;
}

/*
 * es_inspect_store(schema_name name) RETURNS TABLE (last_position bigint, horizon bigint,
 *		conflicts bigint, refusals bigint, repeats bigint, watermark bigint,
 *		watermark_at timestamptz)
 *
 * One row; none if there is no such store, its schema and tables have several owners, or
 * the caller is neither in pg_read_all_stats nor may read es_store.  A WARNING if its
 * tables cannot be read, or are of a later format.  On a standby the horizon is the
 * watermark, and the counters are NULL.
 */
Datum
es_inspect_store(PG_FUNCTION_ARGS)
{
	inspect_undoably(fcinfo, inspect_store);
	return (Datum) 0;
}

/*
 * es_inspect_partitions(schema_name name) RETURNS TABLE (subscription text,
 *		partition integer, position bigint, lag bigint, waiting_since timestamptz,
 *		parked bigint, claimed_by text, claimed_until timestamptz,
 *		advanced_at timestamptz)
 *
 * The same for the partitions of the subscriptions.
 */
Datum
es_inspect_partitions(PG_FUNCTION_ARGS)
{
	inspect_undoably(fcinfo, inspect_partitions);
	return (Datum) 0;
}
