/*-------------------------------------------------------------------------
 *
 * columns.c
 *	  What the columns of a result must be before anybody reads them in C.
 *
 * The tables belong to their owner, who may change the type of a column, or let it
 * be null.  PostgreSQL replans our statements then, and the rows come in that type:
 * read as another, a number would be taken for an address.
 *
 * Invariant: no row of a store's tables is taken apart, or handed on as an es_event,
 * unless its descriptor was compared with what is expected, after the statement ran.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "eventstore.h"

#define MAX_RESULT_COLUMNS 9

typedef struct ResultColumn
{
	Oid			type;
	bool		nullable;
} ResultColumn;

#define AGGREGATE_ROW {{TEXTOID, false}, {INT8OID, false}, {BOOLOID, false}, {OIDOID, false}, {TIDOID, false}}
#define NUMBER {{INT8OID, false}}

/* The results that come as an SPI_tuptable. */
static const ResultColumn expected[ES_STATEMENT_COUNT][MAX_RESULT_COLUMNS] = {
	[ES_ADVANCE] = NUMBER,
	[ES_ADVANCE_EXPECTED] = NUMBER,
	[ES_LOOK] = AGGREGATE_ROW,
	[ES_LOOK_AS_OWNER] = AGGREGATE_ROW,
	[ES_LOCK_ROWS] = AGGREGATE_ROW,
	[ES_LOCK_ROWS_NOWAIT] = AGGREGATE_ROW,
	[ES_SHARE_ROW] = AGGREGATE_ROW,
	[ES_FIND_REQUEST] = {
		{INT8OID, false}, {INT8OID, false}, {TIMESTAMPTZOID, false}, {TEXTOID, false}, {JSONBOID, true}
	},
	[ES_COUNT_REQUEST_AS_OWNER] = NUMBER,
	[ES_SELECT_VERSION] = NUMBER,
	[ES_LAST_EVENT] = NUMBER,
	[ES_SELECT_WATERMARK] = NUMBER,
	[ES_SUBSCRIPTION_POSITION] = {{INT8OID, true}},
	[ES_COUNT_TAGGED] = NUMBER,
	[ES_FIND_TAGGED] = {{INT8OID, false}, {TEXTOID, false}},
	[ES_FIND_TAGGED_AS_OWNER] = {{INT8OID, false}, {TEXTOID, false}},
	[ES_READ_TAGGED] = {
		{INT8OID, false}, {TEXTOID, false}, {INT8OID, false}, {TEXTOID, false}, {JSONBOID, true},
		{JSONBOID, true}, {TEXTARRAYOID, true}, {UUIDOID, true}, {TIMESTAMPTZOID, true}
	},
	[ES_LOAD] = {{INT8OID, false}, {INT8OID, false}, {JSONBOID, true}, {JSONBOID, false}},
};

static void
check_type(const EsStore *store, Form_pg_attribute column, Oid type)
{
	if (column->atttypid == type)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("column \"%s\" of event store \"%s\" has type %s, not %s",
					NameStr(column->attname), NameStr(store->namespace_name),
					format_type_be(column->atttypid), format_type_be(type)),
			 errhint("The columns of a store's tables must stay as es_create_store() makes them.")));
}

static void
check_nulls(const EsStore *store, HeapTuple row, TupleDesc desc, const ResultColumn *columns)
{
	for (int i = 0; i < desc->natts; i++)
	{
		if (!columns[i].nullable && heap_attisnull(row, i + 1, desc))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("column \"%s\" of event store \"%s\" contains null values",
							NameStr(TupleDescAttr(desc, i)->attname), NameStr(store->namespace_name)),
					 errhint("The columns of a store's tables must stay as es_create_store() makes them.")));
	}
}

/* Refuse (42804, 22004) the result of a statement that is not as we read it. */
void
es_check_columns(const EsStore *store, EsStatement statement, SPITupleTable *rows)
{
	const ResultColumn *columns = expected[statement];
	TupleDesc	desc;

	if (rows == NULL)
		return;					/* it returns none */
	desc = rows->tupdesc;
	Assert(desc->natts <= MAX_RESULT_COLUMNS);
	for (int i = 0; i < desc->natts; i++)
		check_type(store, TupleDescAttr(desc, i), columns[i].type);
	for (uint64 i = 0; i < rows->numvals; i++)
	{
		if (HeapTupleHasNulls(rows->vals[i]))
			check_nulls(store, rows->vals[i], desc, columns);
	}
}
