/*-------------------------------------------------------------------------
 *
 * read.c
 *	  Reading one aggregate.
 *
 * Reads take no lock and use the snapshot of the calling query, as any SELECT.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "executor/tstoreReceiver.h"
#include "funcapi.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "eventstore.h"

PG_FUNCTION_INFO_V1(es_version);
PG_FUNCTION_INFO_V1(es_read);
PG_FUNCTION_INFO_V1(es_read_support);
PG_FUNCTION_INFO_V1(es_category);

/* The version of an aggregate, 0 if it does not exist.  SPI must be connected. */
int64
es_version_of(EsStore *store, text *key)
{
	Datum		value = PointerGetDatum(key);
	bool		isnull;
	int64		version = 0;

	es_run(store, ES_SELECT_VERSION, &value, NULL);
	if (SPI_processed > 0)
		version = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return version;
}

/*
 * es_version(key text) RETURNS bigint
 *
 * The aggregate's version: the number of events ever appended to it, 0 if it does
 * not exist.  22004, 22023 for a bad key; 42P01 without a store; 42501 without rights.
 */
Datum
es_version(PG_FUNCTION_ARGS)
{
	text	   *key = es_key_argument(fcinfo, 0);
	int64		version;

	SPI_connect();
	version = es_version_of(es_current_store(), key);
	SPI_finish();
	PG_RETURN_INT64(version);
}

/*
 * es_read(key text, from_version bigint, to_version bigint, max_count bigint,
 *		   backwards boolean) RETURNS SETOF es_event
 *
 * The events of an aggregate with versions in the given range, in order of version,
 * or the other way round; at most max_count, counted from where reading begins.
 * 22004, 22023 for bad arguments; 42P01 without a store; 42501 without rights.
 */
Datum
es_read(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	DestReceiver *dest;
	bool		backwards;
	Datum		values[4];
	char		nulls[4] = {' ', ' ', ' ', ' '};

	values[0] = PointerGetDatum(es_key_argument(fcinfo, 0));
	es_require_argument(fcinfo, 1, "from_version");
	es_require_argument(fcinfo, 4, "backwards");
	values[1] = PG_GETARG_DATUM(1);
	values[2] = PG_ARGISNULL(2) ? Int64GetDatum(PG_INT64_MAX) : PG_GETARG_DATUM(2);
	values[3] = PG_GETARG_DATUM(3);
	nulls[3] = PG_ARGISNULL(3) ? 'n' : ' ';
	backwards = PG_GETARG_BOOL(4);
	es_check_least("from_version", DatumGetInt64(values[1]), 1);
	es_check_least("to_version", DatumGetInt64(values[2]), 0);
	if (!PG_ARGISNULL(3))
		es_check_least("max_count", DatumGetInt64(values[3]), 0);

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	SPI_connect();
	dest = CreateTuplestoreDestReceiver();
	SetTuplestoreDestReceiverParams(dest, rsinfo->setResult, CurrentMemoryContext, false, rsinfo->setDesc,
									"columns of table \"es_events\" do not have the types of an event");
	es_run_into(es_current_store(), backwards ? ES_READ_BACKWARDS : ES_READ_FORWARDS,
				values, nulls, dest);
	dest->rDestroy(dest);
	SPI_finish();
	return (Datum) 0;
}

/* The planner's idea of the number of rows in a table; negative if it has none. */
static double
table_rows(Oid relid)
{
	HeapTuple	class = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	double		rows = -1;

	if (HeapTupleIsValid(class))
	{
		rows = ((Form_pg_class) GETSTRUCT(class))->reltuples;
		ReleaseSysCache(class);
	}
	return rows;
}

/* How many events an aggregate has on average; 0 if nothing is known. */
static double
average_events(void)
{
	EsStore    *store;
	double		result = 0;

	SPI_connect();
	store = es_find_current_store();
	if (store != NULL)
	{
		double		aggregates = table_rows(store->aggregates_oid);
		double		events = table_rows(store->events_oid);

		if (aggregates > 0 && events > 0)
			result = Max(events / aggregates, 1);
	}
	SPI_finish();
	return result;
}

/* A constant bigint argument of es_read; the default if it is none. */
static double
constant_argument(Node *call, int argno, double otherwise)
{
	Node	   *arg = list_nth(((FuncExpr *) call)->args, argno);

	if (!IsA(arg, Const) || ((Const *) arg)->constisnull)
		return otherwise;
	return (double) DatumGetInt64(((Const *) arg)->constvalue);
}

/*
 * es_read_support(internal) RETURNS internal
 *
 * Tells the planner how many rows es_read() returns: the average aggregate, within
 * the constant limits of the call.
 */
Datum
es_read_support(PG_FUNCTION_ARGS)
{
	Node	   *rawreq = (Node *) PG_GETARG_POINTER(0);
	SupportRequestRows *req;
	double		rows;

	if (!IsA(rawreq, SupportRequestRows))
		PG_RETURN_POINTER(NULL);
	req = (SupportRequestRows *) rawreq;
	if (!is_funcclause(req->node) || list_length(((FuncExpr *) req->node)->args) != 5)
		PG_RETURN_POINTER(NULL);
	rows = average_events();
	if (rows <= 0)
		PG_RETURN_POINTER(NULL);

	rows -= constant_argument(req->node, 1, 1) - 1;
	rows = Min(rows, constant_argument(req->node, 2, rows) - constant_argument(req->node, 1, 1) + 1);
	rows = Min(rows, constant_argument(req->node, 3, rows));
	req->rows = Max(rows, 1);
	PG_RETURN_POINTER(req);
}

/* How many bytes of a key are its category. */
int
es_category_length(const text *key)
{
	const char *data = VARDATA_ANY(key);
	const char *dash = memchr(data, '-', VARSIZE_ANY_EXHDR(key));

	return dash == NULL ? (int) VARSIZE_ANY_EXHDR(key) : (int) (dash - data);
}

/*
 * es_category(key text) RETURNS text
 *
 * The part of a key before its first "-", or the whole key.  Immutable, so that it
 * can be indexed.
 */
Datum
es_category(PG_FUNCTION_ARGS)
{
	text	   *key = PG_GETARG_TEXT_PP(0);

	PG_RETURN_TEXT_P(cstring_to_text_with_len(VARDATA_ANY(key), es_category_length(key)));
}
