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

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "eventstore.h"

PG_FUNCTION_INFO_V1(es_query_condition);
PG_FUNCTION_INFO_V1(es_partition);

/* Where in the input we are, for messages. */
typedef struct QueryPlace
{
	const char *where;			/* what the query belongs to, or "" */
	int			item;			/* from 1; 0 is the query itself */
	const char *everything;		/* a hint how to ask for it; NULL: one cannot */
} QueryPlace;

static void refuse_query(const QueryPlace *place, const char *hint, const char *problem,
						 const char *field) pg_attribute_noreturn();

static void
refuse_query(const QueryPlace *place, const char *hint, const char *problem, const char *field)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 place->item == 0 ? errmsg("%squery: %s", place->where, problem) :
			 field == NULL ? errmsg("%squery item %d: %s", place->where, place->item, problem) :
			 errmsg("%squery item %d: field \"%s\" %s", place->where, place->item, field, problem),
			 hint != NULL ? errhint("%s", hint) : 0));
}

/* A non-empty array of non-empty strings. */
static ArrayType *
parse_strings(const QueryPlace *place, const char *field, const JsonbValue *value)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	element;
	Datum	   *strings;
	int			count = 0;

	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data) ||
		JsonContainerSize(value->val.binary.data) == 0)
		refuse_query(place, NULL, "must be a non-empty array of non-empty strings", field);
	strings = MemoryContextAllocHuge(CurrentMemoryContext,
									 sizeof(Datum) * JsonContainerSize(value->val.binary.data));
	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		CHECK_FOR_INTERRUPTS();
		if (element.type != jbvString || element.val.string.len == 0)
			refuse_query(place, NULL, "must be a non-empty array of non-empty strings", field);
		strings[count++] = PointerGetDatum(cstring_to_text_with_len(element.val.string.val,
																	element.val.string.len));
	}
	return construct_array(strings, count, TEXTOID, -1, false, TYPALIGN_INT);
}

static void
parse_field(const QueryPlace *place, const JsonbValue *name, const JsonbValue *value, EsQueryItem *item)
{
	if (es_is_field(name, "types"))
		item->types = parse_strings(place, "types", value);
	else if (es_is_field(name, "categories"))
		item->categories = parse_strings(place, "categories", value);
	else if (es_is_field(name, "tags"))
		item->tags = parse_strings(place, "tags", value);
	else
		refuse_query(place, "An item has the fields \"types\", \"categories\" and \"tags\".", "is unknown",
					 es_field_name(name));
}

static void
parse_item(const QueryPlace *place, const JsonbValue *object, EsQueryItem *item)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	name;
	JsonbValue	value;

	if (object->type != jbvBinary || !JsonContainerIsObject(object->val.binary.data))
		refuse_query(place, NULL, "must be an object", NULL);
	if (JsonContainerSize(object->val.binary.data) == 0 && place->everything != NULL)
		refuse_query(place, place->everything, "must name types, categories or tags", NULL);
	it = JsonbIteratorInit(object->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &name, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		parse_field(place, &name, &value, item);
	}
}

static EsQuery *
parse_query(JsonbContainer *array, QueryPlace place)
{
	EsQuery    *query = palloc(sizeof(EsQuery));
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	element;

	if (!JsonContainerIsArray(array) || JsonContainerIsScalar(array))
		refuse_query(&place, NULL, "must be an array of items", NULL);
	if (JsonContainerSize(array) == 0)
		refuse_query(&place, place.everything, "must not be an empty array", NULL);
	query->items = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(EsQueryItem) * JsonContainerSize(array));
	it = JsonbIteratorInit(array);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		EsQueryItem *item;

		if (token != WJB_ELEM)
			continue;
		CHECK_FOR_INTERRUPTS();
		item = &query->items[place.item++];
		memset(item, 0, sizeof(EsQueryItem));
		parse_item(&place, &element, item);
	}
	query->nitems = place.item;
	return query;
}

/* Read a query (22023 for one that is not as documented). */
EsQuery *
es_parse_query(JsonbContainer *array)
{
	QueryPlace	place = {"", 0, "Pass no query to read everything."};

	return parse_query(array, place);
}

/*
 * The same for a query by which something is decided: every item names a tag, which
 * is what is locked and searched.  "where" begins the messages.
 */
EsQuery *
es_parse_tag_query(JsonbContainer *array, const char *where)
{
	QueryPlace	place = {where, 0, NULL};
	EsQuery    *query = parse_query(array, place);

	for (int i = 0; i < query->nitems; i++)
	{
		place.item = i + 1;
		if (query->items[i].tags == NULL)
			refuse_query(&place, "To decide by events that have no tags, read their aggregates and expect their versions.",
						 "must name at least one tag", NULL);
	}
	return query;
}

/* The texts of an array that has no nulls. */
int
es_array_texts(ArrayType *array, Datum **texts)
{
	int			count;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, texts, NULL, &count);
	return count;
}

/* Does one of the texts equal the value? */
static bool
is_among(Datum *texts, int count, const char *value, int length)
{
	for (int i = 0; i < count; i++)
	{
		if (VARSIZE_ANY_EXHDR(DatumGetPointer(texts[i])) == length &&
			memcmp(VARDATA_ANY(DatumGetPointer(texts[i])), value, length) == 0)
			return true;
	}
	return false;
}

static bool
contains_text(ArrayType *array, const char *value, int length)
{
	Datum	   *texts;
	int			count = es_array_texts(array, &texts);
	bool		found = is_among(texts, count, value, length);

	pfree(texts);
	return found;
}

static bool
contains_all(ArrayType *array, ArrayType *wanted)
{
	Datum	   *texts;
	Datum	   *wanted_texts;
	int			count = es_array_texts(array, &texts);
	int			wanted_count = es_array_texts(wanted, &wanted_texts);
	bool		missing = false;

	for (int i = 0; i < wanted_count && !missing; i++)
	{
		/* Both may have hundreds of thousands. */
		CHECK_FOR_INTERRUPTS();
		missing = !is_among(texts, count, VARDATA_ANY(DatumGetPointer(wanted_texts[i])),
							VARSIZE_ANY_EXHDR(DatumGetPointer(wanted_texts[i])));
	}
	pfree(texts);
	pfree(wanted_texts);
	return !missing;
}

/* Does an event that is not stored yet match one of the items? */
bool
es_query_matches(const EsQuery *query, const text *key, const EsEvent *event)
{
	for (int i = 0; i < query->nitems; i++)
	{
		const EsQueryItem *item = &query->items[i];

		if ((item->types == NULL ||
			 contains_text(item->types, VARDATA_ANY(event->type), VARSIZE_ANY_EXHDR(event->type))) &&
			(item->categories == NULL ||
			 contains_text(item->categories, VARDATA_ANY(key), es_category_length(key))) &&
			(item->tags == NULL || (event->tags != NULL && contains_all(event->tags, item->tags))))
			return true;
	}
	return false;
}

/* Append an array of texts as a literal. */
static void
append_texts(StringInfo sql, ArrayType *array)
{
	Datum	   *texts;
	int			count = es_array_texts(array, &texts);

	appendStringInfoString(sql, "ARRAY[");
	for (int i = 0; i < count; i++)
		appendStringInfo(sql, "%s%s", i > 0 ? ", " : "", quote_literal_cstr(TextDatumGetCString(texts[i])));
	appendStringInfoString(sql, "]::pg_catalog.text[]");
}

static void
append_item(StringInfo sql, const EsQueryItem *item)
{
	const char *separator = "(";

	if (item->tags != NULL)
	{
		appendStringInfo(sql, "%stags OPERATOR(pg_catalog.@>) ", separator);
		append_texts(sql, item->tags);
		separator = " AND ";
	}
	if (item->types != NULL)
	{
		appendStringInfo(sql, "%stype OPERATOR(pg_catalog.=) ANY (", separator);
		append_texts(sql, item->types);
		appendStringInfoChar(sql, ')');
		separator = " AND ";
	}
	if (item->categories != NULL)
	{
		appendStringInfo(sql, "%spg_catalog.split_part(key, '-', 1) OPERATOR(pg_catalog.=) ANY (", separator);
		append_texts(sql, item->categories);
		appendStringInfoChar(sql, ')');
	}
	appendStringInfoChar(sql, ')');
}

/* Append the condition of a query over the columns of es_events. */
static void
append_condition(StringInfo sql, const EsQuery *query)
{
	appendStringInfoChar(sql, '(');
	for (int i = 0; i < query->nitems; i++)
	{
		if (i > 0)
			appendStringInfoString(sql, " OR ");
		append_item(sql, &query->items[i]);
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
		append_condition(&sql, es_parse_query(&query->root));
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
	append_condition(&sql, es_parse_query(&PG_GETARG_JSONB_P(0)->root));
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
