/*-------------------------------------------------------------------------
 *
 * version.c
 *	  Does this library fit the SQL that calls it?
 *
 * The two are installed by different hands: the library by a package, from then on for
 * new sessions, while old ones keep what they have loaded; the SQL by ALTER EXTENSION,
 * database by database, for all sessions at once.  So each may be newer than the other.
 *
 * Invariant: a function that uses a store runs only where the version in pg_extension is
 * one that this library serves.  An older library would not know what a newer script
 * passes and relies on; a newer one serves the scripts of the versions listed here.  An
 * update shows by the functions that it changes: each update script must change one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "eventstore.h"

/* The versions of the SQL that this library serves. */
static const char *const served[] = {ES_VERSION};

/* Counts changes of functions: an update of the extension is among them. */
static uint64 changes = 1;
static uint64 known_to_fit = 0; /* as of that change */

static void
functions_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	changes++;
}

/* Once per process. */
void
es_version_init(void)
{
	CacheRegisterSyscacheCallback(PROCOID, functions_changed, (Datum) 0);
}

/* The version of the SQL in this database; NULL if the functions belong to no extension. */
static char *
sql_version(void)
{
	Oid			extension = get_extension_oid("eventstore", true);
	Relation	catalog;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *version = NULL;

	if (!OidIsValid(extension))
		return NULL;
	catalog = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(extension));
	scan = systable_beginscan(catalog, ExtensionOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(catalog), &isnull);

		if (!isnull)
			version = TextDatumGetCString(value);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return version;
}

static bool
is_served(const char *version)
{
	for (int i = 0; i < lengthof(served); i++)
	{
		if (strcmp(version, served[i]) == 0)
			return true;
	}
	return false;
}

/* Is a version such as 1.10 later than ours? */
static bool
is_later(const char *version)
{
	const char *ours = ES_VERSION;

	for (;;)
	{
		long		a = strtol(version, unconstify(char **, &version), 10);
		long		b = strtol(ours, unconstify(char **, &ours), 10);

		if (a != b)
			return a > b;
		if (*version != '.' || *ours != '.')
			return *version == '.';
		version++;
		ours++;
	}
}

/* Raise an error of the given level (55000) if library and SQL do not fit. */
void
es_check_sql_version(int elevel)
{
	uint64		seen = changes;
	char	   *version;

	if (known_to_fit == changes)
		return;
	version = sql_version();
	if (version == NULL || is_served(version))
	{
		known_to_fit = seen;
		return;
	}
	ereport(elevel,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("extension \"eventstore\" has version %s in this database, but the library of version %s is loaded",
					version, ES_VERSION),
			 is_later(version) ?
			 errhint("Connect anew. If that does not help, install the library of version %s on this server.", version) :
			 errhint("Update the database with ALTER EXTENSION eventstore UPDATE.")));
}
