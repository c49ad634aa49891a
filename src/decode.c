/*-------------------------------------------------------------------------
 *
 * decode.c
 *	  From the JSON of a call to its writes and events.
 *
 * Everything that is not exactly as documented is refused with 22023, naming the
 * entry, the event and the field: a mistyped name must never lose data.  Nothing
 * here touches a table or takes a lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "eventstore.h"

/* Where in the input we are, for messages; 0 means not inside one. */
typedef struct Place
{
	int			entry;
	int			event;
} Place;

static void refuse(const Place *place, const char *hint, const char *fmt,...)
			pg_attribute_printf(3, 4) pg_attribute_noreturn();

/* The one report of bad input; the hint may be NULL. */
static void
refuse(const Place *place, const char *hint, const char *fmt,...)
{
	StringInfoData message;
	va_list		args;
	int			needed;

	initStringInfo(&message);
	if (place->entry > 0)
		appendStringInfo(&message, "entry %d", place->entry);
	if (place->event > 0)
		appendStringInfo(&message, "%sevent %d", place->entry > 0 ? ", " : "", place->event);
	if (message.len > 0)
		appendStringInfoString(&message, ": ");
	for (;;)
	{
		va_start(args, fmt);
		needed = appendStringInfoVA(&message, fmt, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&message, needed);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg_internal("%s", message.data),
			 hint != NULL ? errhint("%s", hint) : 0));
}

/*
 * The name of a field for a message.  Cut off: an unknown one may be as long as the whole
 * input, and messages go to the server's log.
 */
char *
es_field_name(const JsonbValue *name)
{
	int			length = name->val.string.len;
	int			shown = pg_mbcliplen(name->val.string.val, length, NAMEDATALEN - 1);

	return psprintf("%.*s%s", shown, name->val.string.val, shown < length ? "..." : "");
}

/* Is this the name of a field? */
bool
es_is_field(const JsonbValue *name, const char *expected)
{
	return name->val.string.len == (int) strlen(expected) &&
		memcmp(name->val.string.val, expected, name->val.string.len) == 0;
}

static bool
is_container(const JsonbValue *value, uint32 kind)
{
	return value->type == jbvBinary && (value->val.binary.data->header & kind) != 0;
}

/* A non-empty string of at most max_bytes, as text. */
static text *
decode_text(const Place *place, const char *field, const JsonbValue *value, int max_bytes)
{
	if (value->type != jbvString || value->val.string.len == 0)
		refuse(place, NULL, "field \"%s\" must be a non-empty string", field);
	if (value->val.string.len > max_bytes)
		refuse(place, NULL, "field \"%s\" must not be longer than %d bytes", field, max_bytes);
	return cstring_to_text_with_len(value->val.string.val, value->val.string.len);
}

static ArrayType *
decode_tags(const Place *place, const JsonbValue *value)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	tag;
	Datum	   *tags;
	int			count = 0;

	if (!is_container(value, JB_FARRAY))
		refuse(place, NULL, "field \"tags\" must be an array of non-empty strings");
	tags = MemoryContextAllocHuge(CurrentMemoryContext,
								  sizeof(Datum) * Max(JsonContainerSize(value->val.binary.data), 1));
	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &tag, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		CHECK_FOR_INTERRUPTS();
		if (tag.type != jbvString || tag.val.string.len == 0)
			refuse(place, NULL, "field \"tags\" must be an array of non-empty strings");
		if (tag.val.string.len > ES_MAX_KEY_BYTES)
			refuse(place, NULL, "a tag must not be longer than %d bytes", ES_MAX_KEY_BYTES);
		tags[count++] = PointerGetDatum(cstring_to_text_with_len(tag.val.string.val, tag.val.string.len));
	}
	return construct_array(tags, count, TEXTOID, -1, false, TYPALIGN_INT);
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/*
 * A uuid in any form that the type's own input takes.  Read here because that
 * function can only raise an error of its own, which names neither event nor field.
 */
static bool
parse_uuid(const char *s, int length, pg_uuid_t *uuid)
{
	const char *end = s + length;

	if (length > 2 && s[0] == '{')
	{
		if (*--end != '}')
			return false;
		s++;
	}
	for (int i = 0; i < UUID_LEN; i++)
	{
		int			high;
		int			low;

		if (end - s < 2)
			return false;
		high = hex_digit(s[0]);
		low = hex_digit(s[1]);
		if (high < 0 || low < 0)
			return false;
		uuid->data[i] = (unsigned char) (high << 4 | low);
		s += 2;
		if (i % 2 == 1 && i < UUID_LEN - 1 && s < end && *s == '-')
			s++;
	}
	return s == end;
}

static void
decode_event_field(const Place *place, EsEvent *event, const JsonbValue *name, JsonbValue *value)
{
	if (es_is_field(name, "type"))
		event->type = decode_text(place, "type", value, ES_MAX_KEY_BYTES);
	else if (es_is_field(name, "data"))
		event->data = JsonbValueToJsonb(value);
	else if (es_is_field(name, "metadata"))
	{
		if (!is_container(value, JB_FOBJECT))
			refuse(place, NULL, "field \"metadata\" must be an object");
		event->metadata = JsonbValueToJsonb(value);
	}
	else if (es_is_field(name, "tags"))
		event->tags = decode_tags(place, value);
	else if (es_is_field(name, "id"))
	{
		if (value->type != jbvString ||
			!parse_uuid(value->val.string.val, value->val.string.len, &event->id))
			refuse(place, NULL, "field \"id\" must be a uuid");
		event->has_id = true;
	}
	else
		refuse(place, "An event has the fields \"type\", \"data\", \"metadata\", \"tags\" and \"id\".",
			   "unknown field \"%s\"", es_field_name(name));
}

static void
decode_event(const Place *place, const JsonbValue *object, EsEvent *event)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	name;
	JsonbValue	value;

	if (!is_container(object, JB_FOBJECT))
		refuse(place, NULL, "an event must be an object");
	it = JsonbIteratorInit(object->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &name, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		decode_event_field(place, event, &name, &value);
	}
	if (event->type == NULL)
		refuse(place, NULL, "field \"type\" is missing");
}

static void
decode_event_array(Place place, JsonbContainer *array, EsWrite *write)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	element;

	if (!JsonContainerIsArray(array) || JsonContainerIsScalar(array))
		refuse(&place, NULL, "events must be an array");
	if (JsonContainerSize(array) == 0)
		refuse(&place, NULL, "events must not be an empty array");

	/* Not zeroed as a whole: a million nulls must cost no more than one. */
	write->events = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(EsEvent) * JsonContainerSize(array));
	it = JsonbIteratorInit(array);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		EsEvent    *event;

		if (token != WJB_ELEM)
			continue;
		CHECK_FOR_INTERRUPTS();
		event = &write->events[write->nevents++];
		memset(event, 0, sizeof(EsEvent));
		place.event = write->nevents;
		decode_event(&place, &element, event);
	}
}

/* The events of a single append (22023). */
void
es_decode_events(Jsonb *events, int entry, EsWrite *write)
{
	Place		place = {entry, 0};

	decode_event_array(place, &events->root, write);
}

/* A whole number from 0 on that fits bigint. */
static int64
decode_whole_number(const Place *place, const char *field, const char *hint, const JsonbValue *value)
{
	Numeric		zero;
	Numeric		number;
	Numeric		limit;
	Numeric		whole;

	if (value->type != jbvNumeric)
		refuse(place, hint, "field \"%s\" must be a whole number", field);
	number = value->val.numeric;
	zero = int64_to_numeric(0);
	limit = int64_to_numeric(PG_INT64_MAX);
	whole = DatumGetNumeric(DirectFunctionCall2(numeric_trunc, NumericGetDatum(number), Int32GetDatum(0)));
	if (DatumGetBool(DirectFunctionCall2(numeric_lt, NumericGetDatum(number), NumericGetDatum(zero))))
		refuse(place, NULL, "field \"%s\" must not be negative", field);
	if (DatumGetBool(DirectFunctionCall2(numeric_ne, NumericGetDatum(number), NumericGetDatum(whole))) ||
		DatumGetBool(DirectFunctionCall2(numeric_gt, NumericGetDatum(number), NumericGetDatum(limit))))
		refuse(place, NULL, "field \"%s\" must be a whole number in the range of bigint", field);
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(number)));
}

static void
decode_condition(const Place *place, int number, const JsonbValue *object, EsCondition *condition)
{
	const char *where = psprintf("entry %d, condition %d: ", place->entry, number);
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	name;
	JsonbValue	value;

	if (!is_container(object, JB_FOBJECT))
		refuse(place, NULL, "condition %d must be an object", number);
	it = JsonbIteratorInit(object->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &name, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		if (es_is_field(&name, "query"))
		{
			if (!is_container(&value, JB_FARRAY))
				refuse(place, NULL, "condition %d: query: must be an array of items", number);
			condition->query = es_parse_tag_query(value.val.binary.data, where);
		}
		else if (es_is_field(&name, "after"))
			condition->after = decode_whole_number(place, "after", "Give the highest position that es_query() returned.",
												   &value);
		else
			refuse(place, "A condition has the fields \"query\" and \"after\".",
				   "condition %d: unknown field \"%s\"", number, es_field_name(&name));
	}
	if (condition->query == NULL)
		refuse(place, NULL, "condition %d: field \"query\" is missing", number);
}

static void
decode_conditions(const Place *place, const JsonbValue *array, EsWrite *write)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	element;

	if (!is_container(array, JB_FARRAY) || JsonContainerSize(array->val.binary.data) == 0)
		refuse(place, NULL, "field \"conditions\" must be a non-empty array of objects");
	write->conditions = MemoryContextAllocHuge(CurrentMemoryContext,
											   sizeof(EsCondition) * JsonContainerSize(array->val.binary.data));
	it = JsonbIteratorInit(array->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		EsCondition *condition;

		if (token != WJB_ELEM)
			continue;
		CHECK_FOR_INTERRUPTS();
		condition = &write->conditions[write->nconditions++];
		memset(condition, 0, sizeof(EsCondition));
		decode_condition(place, write->nconditions, &element, condition);
	}
}

static void
decode_write_field(const Place *place, bool each, EsWrite *write,
				   const JsonbValue *name, JsonbValue *value, bool *has_allow_create)
{
	if (es_is_field(name, "key"))
		write->key = decode_text(place, "key", value, ES_MAX_KEY_BYTES);
	else if (es_is_field(name, "events"))
	{
		if (!is_container(value, JB_FARRAY))
			refuse(place, NULL, "events must be an array");
		decode_event_array(*place, value->val.binary.data, write);
	}
	else if (es_is_field(name, "expected_version"))
	{
		write->expected_version = decode_whole_number(place, "expected_version",
													  "Leave the field out for an unconditional append.", value);
		write->has_expected = true;
	}
	else if (es_is_field(name, "allow_create"))
	{
		if (value->type != jbvBool)
			refuse(place, NULL, "field \"allow_create\" must be true or false");
		write->allow_create = value->val.boolean;
		*has_allow_create = true;
	}
	else if (es_is_field(name, "conditions"))
		decode_conditions(place, value, write);
	else if (each && es_is_field(name, "request_id"))
		write->request_id = decode_text(place, "request_id", value, ES_MAX_REQUEST_ID_BYTES);
	else
		refuse(place,
			   each ?
			   "An entry has the fields \"key\", \"events\", \"expected_version\", \"allow_create\", \"conditions\" and \"request_id\"." :
			   "An entry has the fields \"key\", \"events\", \"expected_version\", \"allow_create\" and \"conditions\".",
			   "unknown field \"%s\"", es_field_name(name));
}

static void
decode_write(const Place *place, bool each, const JsonbValue *object, EsWrite *write)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	name;
	JsonbValue	value;
	bool		has_allow_create = false;

	if (!is_container(object, JB_FOBJECT))
		refuse(place, NULL, "an entry must be an object");
	it = JsonbIteratorInit(object->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &name, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		decode_write_field(place, each, write, &name, &value, &has_allow_create);
	}
	/* A guard that checks nothing but conditions is about no aggregate. */
	if (write->key == NULL &&
		(write->nevents > 0 || write->has_expected || write->nconditions == 0 || each))
		refuse(place, NULL, "field \"key\" is missing");
	if (write->nevents == 0 && each)
		refuse(place, "A guard, an entry without events, belongs into es_append_many().",
			   "field \"events\" is missing");
	if (write->nevents == 0 && has_allow_create)
		refuse(place, "An entry without events only checks its aggregate.",
			   "field \"allow_create\" is for an entry with events");
}

/*
 * The entries of a call of several (22023).  Only es_append_each() takes a
 * request id per entry; only the atomic forms take guards.
 */
void
es_decode_writes(Jsonb *writes, bool each, EsCall *call)
{
	Place		place = {0, 0};
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	element;

	if (!JsonContainerIsArray(&writes->root) || JsonContainerIsScalar(&writes->root))
		refuse(&place, NULL, "writes must be an array");
	if (JsonContainerSize(&writes->root) == 0)
		refuse(&place, NULL, "writes must not be an empty array");

	call->writes = MemoryContextAllocHuge(CurrentMemoryContext,
										  sizeof(EsWrite) * JsonContainerSize(&writes->root));
	it = JsonbIteratorInit(&writes->root);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		EsWrite    *write;

		if (token != WJB_ELEM)
			continue;
		CHECK_FOR_INTERRUPTS();
		write = &call->writes[call->nwrites++];
		memset(write, 0, sizeof(EsWrite));
		place.entry = write->entry = call->nwrites;
		decode_write(&place, each, &element, write);
	}
}
