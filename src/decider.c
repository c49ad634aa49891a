/*-------------------------------------------------------------------------
 *
 * decider.c
 *	  The function of the user's that es_execute() and es_execute_many() call.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/objectaccess.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

#include "eventstore.h"

/* Refuse (22023) a function that is not of the expected form. */
static void
check_signature(Oid funcid, const Oid *types, int ntypes, const char *form)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(funcid));
	Form_pg_proc proc;
	bool		good;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function with OID %u does not exist", funcid)));
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	good = proc->prokind == PROKIND_FUNCTION && !proc->proretset && proc->prorettype == JSONBOID &&
		proc->pronargs == ntypes &&
		memcmp(proc->proargtypes.values, types, sizeof(Oid) * ntypes) == 0;
	ReleaseSysCache(tuple);
	if (!good)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("function %s cannot decide on a command", format_procedure(funcid)),
				 errhint("It must take the arguments %s and return jsonb.", form)));
}

/*
 * Find the function: decide(key, version, command), or decide(command) if it is to
 * decide on many aggregates.  42501 without the right to call it.
 */
void
es_find_decider(FmgrInfo *decider, Oid funcid, bool many)
{
	static const Oid one_types[] = {TEXTOID, INT8OID, JSONBOID};
	static const Oid many_types[] = {JSONBOID};

	if (many)
		check_signature(funcid, many_types, lengthof(many_types), "(command jsonb)");
	else
		check_signature(funcid, one_types, lengthof(one_types), "(key text, version bigint, command jsonb)");
	if (!es_function_usable(funcid))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION, get_func_name(funcid));
	InvokeFunctionExecuteHook(funcid);
	fmgr_info(funcid, decider);
}

/* Call it, with a key or without; NULL if it has nothing to append. */
Jsonb *
es_call_decider(FmgrInfo *decider, text *key, int64 version, NullableDatum command)
{
	LOCAL_FCINFO(fcinfo, 3);
	int			nargs = key != NULL ? 3 : 1;
	PgStat_FunctionCallUsage usage;
	Datum		result;

	InitFunctionCallInfoData(*fcinfo, decider, nargs, InvalidOid, NULL, NULL);
	if (key != NULL)
	{
		fcinfo->args[0].value = PointerGetDatum(key);
		fcinfo->args[0].isnull = false;
		fcinfo->args[1].value = Int64GetDatum(version);
		fcinfo->args[1].isnull = false;
	}
	fcinfo->args[nargs - 1] = command;
	if (decider->fn_strict && command.isnull)
		return NULL;
	pgstat_init_function_usage(fcinfo, &usage);
	result = FunctionCallInvoke(fcinfo);
	pgstat_end_function_usage(&usage, true);
	return fcinfo->isnull ? NULL : DatumGetJsonbP(result);
}
