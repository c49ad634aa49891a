/*-------------------------------------------------------------------------
 *
 * store.c
 *	  Which store a call uses, and the kept plans over its tables.
 *
 * Invariant: every statement of a call touches relations of one store only, the
 * one that es_current_store() found at its beginning.  A store is the one schema
 * that holds a permanent table es_store; its other relations are looked up in
 * that schema and remembered by OID.  Nothing is ever found through the search
 * path, so a temporary table cannot come between.
 *
 * Plans are kept per store.  PostgreSQL replans them when a table changes, but
 * from their text, which names the schema: if the schema was renamed and another
 * took its name, a plan would silently turn to the other store.  So a store is
 * dropped from the cache when its schema or one of its relations changed name or
 * identity, and for the moment between that check and the execution there is a
 * second check, after it: the plan must have used the relation we meant.
 *
 * The cache is bounded.  A store that leaves it may still be in use by a caller
 * further up the stack (a trigger that appends to other stores), so its memory is
 * given back in a later transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "storage/sinval.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "eventstore.h"

PG_FUNCTION_INFO_V1(es_current_store_name);

/* More stores than this in one session work, but are planned again and again. */
#define MAX_CACHED_STORES 32

static EsStore *cache[MAX_CACHED_STORES];
static int	cached = 0;
static List *retired = NIL;		/* stores that left the cache */
static uint64 clock_hand = 0;

static void
relation_changed(Datum arg, Oid relid)
{
	for (int i = 0; i < cached; i++)
	{
		EsStore    *s = cache[i];

		if (relid == InvalidOid || relid == s->store_oid || relid == s->aggregates_oid ||
			relid == s->events_oid || relid == s->tags_oid || relid == s->sequence_oid ||
			relid == s->watermark_oid || relid == s->subscriptions_oid ||
			relid == s->snapshots_oid)
			s->valid = false;
	}
}

static void
namespace_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	for (int i = 0; i < cached; i++)
		cache[i]->valid = false;
}

/* Once per process. */
void
es_store_init(void)
{
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, namespace_changed, (Datum) 0);
}

static void
free_store(EsStore *store)
{
	for (int i = 0; i < ES_STATEMENT_COUNT; i++)
	{
		if (store->plans[i] != NULL)
			SPI_freeplan(store->plans[i]);
	}
	pfree(store);
}

/*
 * Give back the stores that left the cache in an earlier transaction: no caller
 * can be using them any more.
 */
static void
free_retired_stores(void)
{
	ListCell   *lc;

	foreach(lc, retired)
	{
		EsStore    *store = (EsStore *) lfirst(lc);

		if (store->retired_in != ES_MY_LXID)
		{
			retired = foreach_delete_current(retired, lc);
			free_store(store);
		}
	}
}

/* Take the store at the given place out of the cache. */
static void
retire_store(int i)
{
	EsStore    *store = cache[i];
	MemoryContext oldcxt = MemoryContextSwitchTo(TopMemoryContext);

	retired = lappend(retired, store);
	MemoryContextSwitchTo(oldcxt);
	store->retired_in = ES_MY_LXID;
	cache[i] = cache[--cached];
}

/* The table es_store of a schema, if the schema is a store; else InvalidOid. */
static Oid
store_table(Oid namespace_oid)
{
	Oid			relid = get_relname_relid("es_store", namespace_oid);

	if (OidIsValid(relid) &&
		get_rel_relkind(relid) == RELKIND_RELATION &&
		get_rel_persistence(relid) == RELPERSISTENCE_PERMANENT)
		return relid;
	return InvalidOid;
}

/* One of the relations of a store; it must be of the right kind. */
static Oid
member_relation(const char *name, bool is_sequence, const EsStore *store)
{
	Oid			relid = get_relname_relid(name, store->namespace_oid);
	char		kind;

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("event store \"%s\" is incomplete: relation \"%s\" does not exist",
						NameStr(store->namespace_name), name),
				 errhint("Restore it from a backup, or remove the store with es_drop_store().")));
	kind = get_rel_relkind(relid);
	if (is_sequence ? kind != RELKIND_SEQUENCE :
		kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("relation \"%s\" of event store \"%s\" is not a %s",
						name, NameStr(store->namespace_name), is_sequence ? "sequence" : "table")));
	return relid;
}

/*
 * Refuse (55000) a store whose tables are in a format that this library does
 * not know.  SPI must be connected.
 */
void
es_check_format(const EsStore *store)
{
	char	   *query = psprintf("SELECT COALESCE(format_version, 0)::pg_catalog.int8 FROM %s.es_store",
								 quote_identifier(NameStr(store->namespace_name)));
	SPIPlanPtr	plan = SPI_prepare(query, 0, NULL);
	bool		isnull = true;
	int64		format = 0;

	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", query, SPI_result_code_string(SPI_result));
	/* The latest snapshot: the store may be younger than the caller's. */
	if (SPI_execute_snapshot(plan, NULL, NULL, GetCatalogSnapshot(InvalidOid), InvalidSnapshot,
							 true, false, 1) == SPI_OK_SELECT && SPI_processed == 1)
		format = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	if (isnull || format < 1)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("event store \"%s\" does not say which format it has",
						NameStr(store->namespace_name))));
	if (format > ES_FORMAT_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("event store \"%s\" has format " INT64_FORMAT ", but this version of eventstore knows formats up to %d",
						NameStr(store->namespace_name), format, ES_FORMAT_VERSION),
				 errhint("Install the version of eventstore that made the store, or a newer one.")));
}

static void
look_up_relations(EsStore *store, Oid namespace_oid)
{
	char	   *name = get_namespace_name(namespace_oid);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA),
				 errmsg("schema of the event store was dropped concurrently")));
	store->namespace_oid = namespace_oid;
	namestrcpy(&store->namespace_name, name);
	store->store_oid = store_table(namespace_oid);
	store->aggregates_oid = member_relation("es_aggregates", false, store);
	store->events_oid = member_relation("es_events", false, store);
	store->tags_oid = member_relation("es_tags", false, store);
	store->sequence_oid = member_relation("es_position_seq", true, store);
	store->watermark_oid = member_relation("es_watermark", false, store);
	store->subscriptions_oid = member_relation("es_subscriptions", false, store);
	store->snapshots_oid = member_relation("es_snapshots", false, store);
}

/* Find out what a store consists of, undisturbed by others' DDL. */
static void
identify_store(EsStore *store, Oid namespace_oid)
{
	uint64		seen;

	do
	{
		seen = SharedInvalidMessageCounter;
		look_up_relations(store, namespace_oid);
		es_check_format(store);
	} while (seen != SharedInvalidMessageCounter);
}

static bool
same_store(const EsStore *a, const EsStore *b)
{
	return strcmp(NameStr(a->namespace_name), NameStr(b->namespace_name)) == 0 &&
		a->store_oid == b->store_oid &&
		a->aggregates_oid == b->aggregates_oid &&
		a->events_oid == b->events_oid &&
		a->tags_oid == b->tags_oid &&
		a->sequence_oid == b->sequence_oid &&
		a->watermark_oid == b->watermark_oid &&
		a->subscriptions_oid == b->subscriptions_oid &&
		a->snapshots_oid == b->snapshots_oid;
}

/*
 * The store is no longer what we took it for (55000).  Its plans go as well, lest they
 * fail for ever: PostgreSQL would not notice a change of a relation that is not in them.
 */
void
es_report_replaced(EsStore *store)
{
	for (int i = 0; i < cached; i++)
	{
		if (cache[i] == store)
			retire_store(i);
	}
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("event store \"%s\" was renamed or replaced concurrently",
					NameStr(store->namespace_name)),
			 errhint("Try again.")));
	pg_unreachable();
}

/* Refuse what was read by the store's name if it has another by now. */
void
es_check_still_named(EsStore *store)
{
	char	   *name = get_namespace_name(store->namespace_oid);

	if (name == NULL || strcmp(name, NameStr(store->namespace_name)) != 0)
		es_report_replaced(store);
}

/* Make room for one more store. */
static void
evict_oldest(void)
{
	int			oldest = 0;

	for (int i = 1; i < cached; i++)
	{
		if (cache[i]->last_used < cache[oldest]->last_used)
			oldest = i;
	}
	retire_store(oldest);
}

/*
 * The store in a schema that is known to hold an es_store, from the cache if what
 * the cache says is still true.  SPI must be connected.
 */
static EsStore *
open_store(Oid namespace_oid)
{
	EsStore		fresh;
	EsStore    *store;
	int			i;

	for (i = 0; i < cached; i++)
	{
		if (cache[i]->namespace_oid == namespace_oid)
			break;
	}
	if (i < cached && cache[i]->valid)
	{
		cache[i]->last_used = ++clock_hand;
		return cache[i];
	}

	free_retired_stores();
	memset(&fresh, 0, sizeof(fresh));
	identify_store(&fresh, namespace_oid);
	if (i < cached && same_store(cache[i], &fresh))
	{
		cache[i]->valid = true;
		cache[i]->last_used = ++clock_hand;
		return cache[i];
	}
	if (i < cached)
		retire_store(i);
	if (cached == MAX_CACHED_STORES)
		evict_oldest();
	store = MemoryContextAlloc(TopMemoryContext, sizeof(EsStore));
	*store = fresh;
	store->last_used = ++clock_hand;
	store->valid = true;
	cache[cached++] = store;
	return store;
}

static Oid
schema_named_by_setting(void)
{
	Oid			namespace_oid = get_namespace_oid(es_store_setting, true);

	if (!OidIsValid(namespace_oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA),
				 errmsg("schema \"%s\", named by the setting eventstore.store, does not exist",
						es_store_setting)));
	if (!es_namespace_usable(namespace_oid))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_SCHEMA, es_store_setting);
	if (!OidIsValid(store_table(namespace_oid)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("schema \"%s\", named by the setting eventstore.store, holds no event store",
						es_store_setting),
				 errhint("Call es_create_store() to make one, or correct the setting.")));
	return namespace_oid;
}

/* The first schema of the search path that is a store; InvalidOid if none is. */
static Oid
schema_on_search_path(void)
{
	Oid			short_path[16];
	Oid		   *path = short_path;
	int			count = fetch_search_path_array(path, lengthof(short_path));

	if (count > lengthof(short_path))
	{
		path = palloc_array(Oid, count);
		count = fetch_search_path_array(path, count);
	}
	for (int i = 0; i < count; i++)
	{
		if (OidIsValid(store_table(path[i])))
			return path[i];
	}
	return InvalidOid;
}

/*
 * The store that a call uses, or NULL if there is none.  A wrong setting is an
 * error all the same.  SPI must be connected.
 */
EsStore *
es_find_current_store(void)
{
	Oid			namespace_oid;

	es_check_sql_version(ERROR);
	if (es_store_setting != NULL && es_store_setting[0] != '\0')
		namespace_oid = schema_named_by_setting();
	else
		namespace_oid = schema_on_search_path();
	return OidIsValid(namespace_oid) ? open_store(namespace_oid) : NULL;
}

/* The store in a schema given by name, or NULL.  SPI must be connected. */
EsStore *
es_named_store(const char *schema)
{
	Oid			namespace_oid = get_namespace_oid(schema, true);

	if (!OidIsValid(namespace_oid) || !OidIsValid(store_table(namespace_oid)))
		return NULL;
	return open_store(namespace_oid);
}

/* The store that a call uses; 42P01 if there is none.  SPI must be connected. */
EsStore *
es_current_store(void)
{
	EsStore    *store = es_find_current_store();

	if (store == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("no event store found on the search path"),
				 errhint("Call es_create_store() to make one, or name its schema in eventstore.store or search_path.")));
	return store;
}

/*
 * The store for a function that locks or writes: refuses (25006, 25000, 42501) who
 * could not write in the end.  Locks on absent keys, in particular, are nothing that
 * a table's privileges would keep a reader from.  SPI must be connected.
 */
EsStore *
es_store_for_writing(const char *function)
{
	EsStore    *store;

	PreventCommandIfReadOnly(function);
	PreventCommandIfParallelMode(function);
	store = es_current_store();
	if (pg_class_aclcheck(store->aggregates_oid, GetUserId(), ACL_UPDATE) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, "es_aggregates");
	return store;
}

/*
 * es_current_store() RETURNS name
 *
 * The schema of the store that the functions use now.  42P01 if there is none,
 * 3F000 if the setting eventstore.store names no schema.
 */
Datum
es_current_store_name(PG_FUNCTION_ARGS)
{
	Name		result = palloc(NAMEDATALEN);

	SPI_connect();
	*result = es_current_store()->namespace_name;
	SPI_finish();
	PG_RETURN_NAME(result);
}
