/*-------------------------------------------------------------------------
 *
 * owner.c
 *	  When something may be looked up with the rights of the tables' owner.
 *
 * Our statements name a table by its schema, and PostgreSQL resolves the name again
 * whenever it plans them.  Who owns the schema can rename it, put another one in its
 * place and code behind the names, while a call waits somewhere.  Run with the rights of
 * the tables' owner, that would be a way to become that role.
 *
 * Invariant: with those rights nothing is run unless the names are that role's own, or a
 * superuser's, who needs no such way.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_namespace.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/syscache.h"

#include "eventstore.h"

/* The owner of the database: the one member of pg_database_owner. */
static Oid
database_owner(void)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));
	Oid			owner = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_database) GETSTRUCT(tuple))->datdba;
		ReleaseSysCache(tuple);
	}
	return owner;
}

/* Can nobody but this role, and superusers, give the names in a schema another meaning? */
bool
es_owns_names(Oid role, Oid namespace_oid)
{
	HeapTuple	tuple;
	Oid			owner = InvalidOid;

	AcceptInvalidationMessages();
	tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(namespace_oid));
	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
		ReleaseSysCache(tuple);
	}
	if (owner == ROLE_PG_DATABASE_OWNER)
		owner = database_owner();
	return OidIsValid(owner) && (owner == role || superuser_arg(owner));
}
