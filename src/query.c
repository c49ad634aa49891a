/*-------------------------------------------------------------------------
 *
 * query.c
 *	  The filter language of the log, and reading with a filter.
 *
 * A query is an array of items, any of which may match; an item names types,
 * categories and tags, and matches an event of one of the types, in one of the
 * categories and with all of the tags.  It becomes a condition in SQL whose
 * literals are quoted and whose functions and operators are qualified.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "port/pg_crc32c.h"
#include "utils/builtins.h"

#include "eventstore.h"

PG_FUNCTION_INFO_V1(es_query_condition);
PG_FUNCTION_INFO_V1(es_partition);

static void refuse_item(int item, const char *hint, const char *problem, const char *field)
			pg_attribute_noreturn();

static void
refuse_item(int item, const char *hint, const char *problem, const char *field)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 item == 0 ? errmsg("query: %s", problem) :
			 field == NULL ? errmsg("query item %d: %s", item, problem) :
			 errmsg("query item %d: field \"%s\" %s", item, field, problem),
			 hint != NULL ? errhint("%s", hint) : 0));
}

/* Append a non-empty array of non-empty strings as a literal of type text[]. */
static void
append_strings(StringInfo sql, int item, const char *field, const JsonbValue *value)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	element;
	const char *separator = "";

	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data) ||
		JsonContainerSize(value->val.binary.data) == 0)
		refuse_item(item, NULL, "must be a non-empty array of non-empty strings", field);
	appendStringInfoString(sql, "ARRAY[");
	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		char	   *string;

		if (token != WJB_ELEM)
			continue;
		if (element.type != jbvString || element.val.string.len == 0)
			refuse_item(item, NULL, "must be a non-empty array of non-empty strings", field);
		string = pnstrdup(element.val.string.val, element.val.string.len);
		appendStringInfo(sql, "%s%s", separator, quote_literal_cstr(string));
		separator = ", ";
	}
	appendStringInfoString(sql, "]::pg_catalog.text[]");
}

static bool
is_field(const JsonbValue *name, const char *expected)
{
	return name->val.string.len == (int) strlen(expected) &&
		memcmp(name->val.string.val, expected, name->val.string.len) == 0;
}

static void
append_field(StringInfo sql, int item, const JsonbValue *name, const JsonbValue *value)
{
	if (is_field(name, "types"))
	{
		appendStringInfoString(sql, "type OPERATOR(pg_catalog.=) ANY (");
		append_strings(sql, item, "types", value);
		appendStringInfoChar(sql, ')');
	}
	else if (is_field(name, "categories"))
	{
		appendStringInfoString(sql, "pg_catalog.split_part(key, '-', 1) OPERATOR(pg_catalog.=) ANY (");
		append_strings(sql, item, "categories", value);
		appendStringInfoChar(sql, ')');
	}
	else if (is_field(name, "tags"))
	{
		appendStringInfoString(sql, "tags OPERATOR(pg_catalog.@>) ");
		append_strings(sql, item, "tags", value);
	}
	else
		refuse_item(item, "An item has the fields \"types\", \"categories\" and \"tags\".", "is unknown",
					pnstrdup(name->val.string.val, name->val.string.len));
}

static void
append_item(StringInfo sql, int item, const JsonbValue *object)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	name;
	JsonbValue	value;
	const char *separator = "";

	if (object->type != jbvBinary || !JsonContainerIsObject(object->val.binary.data))
		refuse_item(item, NULL, "must be an object", NULL);
	if (JsonContainerSize(object->val.binary.data) == 0)
		refuse_item(item, "Pass no query to read everything.", "must name types, categories or tags", NULL);
	appendStringInfoChar(sql, '(');
	it = JsonbIteratorInit(object->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &name, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		appendStringInfoString(sql, separator);
		append_field(sql, item, &name, &value);
		separator = " AND ";
	}
	appendStringInfoChar(sql, ')');
}

/*
 * Append the condition of a query over the columns of es_events (22023 for a query
 * that is not as documented).
 */
void
es_append_condition(StringInfo sql, Jsonb *query)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	element;
	int			item = 0;

	if (!JsonContainerIsArray(&query->root) || JsonContainerIsScalar(&query->root))
		refuse_item(0, NULL, "must be an array of items", NULL);
	if (JsonContainerSize(&query->root) == 0)
		refuse_item(0, "Pass no query to read everything.", "must not be an empty array", NULL);
	appendStringInfoChar(sql, '(');
	it = JsonbIteratorInit(&query->root);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		if (item++ > 0)
			appendStringInfoString(sql, " OR ");
		append_item(sql, item, &element);
	}
	appendStringInfoChar(sql, ')');
}

/*
 * The statement of a page, with parameters after, upto and count: of the events
 * that match the query (NULL: all) and belong to one of several partitions.
 */
char *
es_page_statement(const EsStore *store, Jsonb *query, int partitions, int partition,
				  const char *function_schema)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "SELECT position, key, version, type, data, metadata, tags, id, recorded_at FROM %s.es_events"
					 " WHERE position OPERATOR(pg_catalog.>) $1 AND position OPERATOR(pg_catalog.<=) $2",
					 quote_identifier(NameStr(store->namespace_name)));
	if (query != NULL)
	{
		appendStringInfoString(&sql, " AND ");
		es_append_condition(&sql, query);
	}
	if (partitions > 1)
		appendStringInfo(&sql, " AND %s.es_partition(key, %d) OPERATOR(pg_catalog.=) %d",
						 quote_identifier(function_schema), partitions, partition);
	appendStringInfoString(&sql, " ORDER BY position LIMIT $3");
	return sql.data;
}

/*
 * es_query_condition(query jsonb) RETURNS text
 *
 * The condition in SQL that a query stands for; true for NULL.  22023 for a query
 * that is not as documented.
 */
Datum
es_query_condition(PG_FUNCTION_ARGS)
{
	StringInfoData sql;

	if (PG_ARGISNULL(0))
		PG_RETURN_TEXT_P(cstring_to_text("true"));
	initStringInfo(&sql);
	es_append_condition(&sql, PG_GETARG_JSONB_P(0));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(sql.data, sql.len));
}

/*
 * es_partition(key text, partitions integer) RETURNS integer
 *
 * The partition, from 0, to which an aggregate belongs: CRC-32C of the bytes of its
 * key, modulo the number of partitions.  Frozen for ever: consumers rely on an
 * aggregate staying where it is.  22023 if there are no partitions.
 */
Datum
es_partition(PG_FUNCTION_ARGS)
{
	text	   *key = PG_GETARG_TEXT_PP(0);
	int32		partitions = PG_GETARG_INT32(1);
	pg_crc32c	crc;

	es_check_least("partitions", partitions, 1);
	INIT_CRC32C(crc);
	COMP_CRC32C(crc, VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key));
	FIN_CRC32C(crc);
	PG_RETURN_INT32((int32) (crc % (uint32) partitions));
}
