/*-------------------------------------------------------------------------
 *
 * arguments.c
 *	  One checker per rule about arguments.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"

#include "eventstore.h"

/* Refuse a NULL (22004). */
void
es_require_argument(FunctionCallInfo fcinfo, int argno, const char *name)
{
	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name)));
}

/* Refuse a text that is empty or too long (22023). */
void
es_check_text(const char *what, text *value, int max_bytes)
{
	int			length = VARSIZE_ANY_EXHDR(value);

	if (length == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be empty", what)));
	if (length > max_bytes)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is too long: %d bytes", what, length),
				 errdetail("The limit is %d bytes.", max_bytes)));
}

/* The aggregate's key in an argument (22004, 22023). */
text *
es_key_argument(FunctionCallInfo fcinfo, int argno)
{
	text	   *key;

	es_require_argument(fcinfo, argno, "key");
	key = PG_GETARG_TEXT_PP(argno);
	es_check_text("key", key, ES_MAX_KEY_BYTES);
	return key;
}

/* Refuse a version that no aggregate can have (22023). */
void
es_check_expected_version(int64 version)
{
	if (version < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("expected version must not be negative: " INT64_FORMAT, version),
				 errhint("Pass 0 if the aggregate must not exist, NULL for an unconditional append.")));
}

/* Refuse a number below the smallest that makes sense (22023). */
void
es_check_least(const char *name, int64 value, int64 least)
{
	if (value < least)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be at least " INT64_FORMAT ", not " INT64_FORMAT,
						name, least, value)));
}

/* Refuse (25001) what decides on the newest facts where they cannot be seen. */
void
es_require_fresh_snapshots(const char *what)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s cannot be used above READ COMMITTED", what),
				 errdetail("There the transaction does not see what others have committed meanwhile."),
				 errhint("Use BEGIN ISOLATION LEVEL READ COMMITTED.")));
}
