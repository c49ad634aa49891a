# All functions of the extension with whatever values: called at random, by us and by
# sqlsmith.
#
# Each function has a stand-in in schema "smith" which calls it with the values that it
# was given and returns one value, so that all can be called alike, and so that an error
# tells by its context which function it came from.

package EventstoreSmith;

use strict;
use warnings;

use EventstoreJson;
use EventstoreTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# What a function may answer, beside a result: our own; what is wrong with its arguments
# (a null, a value out of range, a name that is too long, no such function, object, schema
# or table, or one that is there already, or of another kind, a grant to its grantor);
# that it may not do it, or not here; and what PostgreSQL says to anybody at any time
# (serialization, deadlock, lock not available, cancelled, limits).
my $DOCUMENTED = qr/^(?:VE00[1-8]
	|0LP01|22004|22003|22023|22P02|42622|42883|42704|3F000|42P01|42710|42P06|42P07|42809
	|42501|25001|25006|55000|55006
	|40001|40P01|55P03|57014|53[0-9A-Z]{3}|54[0-9A-Z]{3})$/x;

# A random row of the inputs gives each argument the value of a column of its type.
# What it leads to stays, so that later calls meet it.
my $SETUP = q(
CREATE ROLE smith LOGIN;
CREATE SCHEMA smith;
CREATE TABLE smith.inputs (
	i integer PRIMARY KEY, json jsonb, key text, number bigint, small integer, truth boolean,
	name name, decide regproc, role regrole, span interval, keys text[]);
CREATE TABLE smith.outcomes (function text, state text, message text, count bigint, PRIMARY KEY (function, state));
CREATE FUNCTION smith.decide(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT command';
CREATE FUNCTION smith.decide_many(command jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT command';

CREATE VIEW smith.functions AS
SELECT p.oid, proname, prokind, proretset, proargtypes::oid[] AS types, prorettype::regtype::text AS result,
	CASE WHEN prorettype = 'void'::regtype OR prokind = 'p' THEN 'boolean' WHEN proretset THEN 'bigint'
		 WHEN prorettype = 'es_append_result'::regtype THEN 'jsonb' ELSE prorettype::regtype::text END AS value
FROM pg_proc p JOIN pg_depend ON classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e'
WHERE refobjid = (SELECT oid FROM pg_extension WHERE extname = 'eventstore')
  AND prorettype <> ALL ('{internal,trigger}'::regtype[]);

CREATE FUNCTION smith.make_stand_in(f smith.functions) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	parameters text := (SELECT string_agg(format('a%s %s', i, t::regtype), ', ' ORDER BY i) FROM unnest(f.types) WITH ORDINALITY x (t, i));
	-- A function that always makes a conflict is called as often as it is to be tried again.
	call text := format('public.%I(%s)', f.proname, (
		SELECT string_agg(format(CASE WHEN f.proname ~ 'execute' AND t = 'integer'::regtype THEN 'least(a%s, 100)' ELSE 'a%s' END, i), ', ' ORDER BY i)
		FROM unnest(f.types) WITH ORDINALITY x (t, i)));
BEGIN
	EXECUTE format('CREATE FUNCTION smith.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', f.proname, parameters, f.value,
		CASE
			WHEN f.prokind = 'p' THEN format('BEGIN CALL %s; RETURN true; END', call)
			WHEN f.result = 'void' THEN format('BEGIN PERFORM %s; RETURN true; END', call)
			WHEN f.proretset THEN format('BEGIN RETURN (SELECT count(*) FROM %s); END', call)
			WHEN f.value <> f.result THEN format('BEGIN RETURN to_jsonb(%s); END', call)
			ELSE format('BEGIN RETURN %s; END', call)
		END);
END $$;
SELECT smith.make_stand_in(f) FROM smith.functions f;

CREATE PROCEDURE smith.call_all(rounds integer) LANGUAGE plpgsql AS $$
DECLARE
	f smith.functions;
	call text;
	inputs integer := (SELECT count(*) FROM smith.inputs);
BEGIN
	FOR round IN 1 .. rounds LOOP
		BEGIN
			PERFORM es_create_subscription('order-1', partitions => 2);
		EXCEPTION WHEN duplicate_object THEN
		END;
		FOR f IN SELECT * FROM smith.functions ORDER BY random() LOOP
			SELECT format('SELECT smith.%I(%s)', f.proname,
					string_agg(CASE WHEN random() < 0.08 THEN 'NULL::' || t::regtype
							   ELSE format('(SELECT %I FROM smith.inputs WHERE i = %s)', attname, 1 + floor(random() * inputs)) END, ', ' ORDER BY x.i))
			INTO call
			FROM unnest(f.types) WITH ORDINALITY x (t, i)
				JOIN pg_attribute ON attrelid = 'smith.inputs'::regclass AND atttypid = t AND attname <> 'i';
			BEGIN
				EXECUTE call;
				INSERT INTO smith.outcomes VALUES (f.proname, '00000', '', 1)
				ON CONFLICT ON CONSTRAINT outcomes_pkey DO UPDATE SET count = outcomes.count + 1;
			EXCEPTION WHEN OTHERS OR assert_failure OR query_canceled THEN
				INSERT INTO smith.outcomes VALUES (f.proname, SQLSTATE, SQLERRM || ': ' || call, 1)
				ON CONFLICT ON CONSTRAINT outcomes_pkey DO UPDATE SET count = outcomes.count + 1;
			END;
			COMMIT;
		END LOOP;
	END LOOP;
END $$;
);

# The rights of everybody, and things to meet.
my $CONTENT = q(
GRANT USAGE ON SCHEMA smith TO smith;
GRANT SELECT ON ALL TABLES IN SCHEMA smith TO smith;
GRANT INSERT, UPDATE ON smith.outcomes TO smith;
GRANT CREATE ON DATABASE smith TO smith;
SELECT es_grant('smith', p) FROM unnest(ARRAY['writer', 'consumer', 'admin']) p;
SELECT es_append('order-1', '[{"type": "a", "tags": ["a"]}, {"type": "b"}]', 0);
SET ROLE smith;
SELECT es_create_store('mine');
);

# Arguments: node, seed.  The database is made here, with the store "app".
sub new
{
	my ($class, %arg) = @_;
	my $self = bless {%arg}, $class;

	srand($self->{seed});
	make_database($self->{node}, 'smith', 'app');
	$self->{node}->safe_psql('smith', $SETUP);
	$self->_fill;
	$self->{node}->safe_psql('smith', $CONTENT);
	return $self;
}

# Fill the table of inputs.
sub _fill
{
	my ($self) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir('smith') . '/inputs';

	open my $fh, '>:encoding(UTF-8)', $file or die "$file: $!";
	print $fh "CREATE TEMPORARY TABLE raw (i integer, json jsonb, key text);\nCOPY raw FROM STDIN;\n";
	foreach my $i (1 .. 600)
	{
		my ($valid, $json, $key);

		# More right ones, to get further.
		(undef, $valid, $json, $key) = EventstoreJson::input() until $valid && ($valid eq 't' || $i % 4 == 0);
		print $fh join("\t", $i, map { EventstoreJson::copied($_) } $json, $key), "\n";
	}
	print $fh q(\.
		INSERT INTO smith.inputs
		SELECT i, json, word, n, greatest(least(n, 2147483647), -2147483648), i % 2 = 0,
			CASE i % 12 WHEN 0 THEN 'another' WHEN 1 THEN left(word, 20) WHEN 2 THEN 'mine' ELSE 'app' END,
			(ARRAY['smith.decide', 'smith.decide_many', 'pg_catalog.now', 'pg_catalog.int4in'])[i % 4 + 1]::regproc,
			(ARRAY['smith', 'pg_monitor'])[i % 2 + 1]::regrole,
			CASE WHEN i % 17 = 0 THEN interval '-1 day' ELSE i % 5 * interval '1 ms' END, ARRAY[key, 'order-1', word]
		FROM raw
			CROSS JOIN LATERAL (SELECT CASE WHEN i % 4 = 0 THEN (ARRAY['reader', 'writer', 'consumer', 'admin'])[i / 4 % 4 + 1]
											WHEN i % 4 < 3 THEN 'order-1' ELSE key END AS word) w
			CROSS JOIN LATERAL (SELECT CASE WHEN i % 5 = 0 THEN (ARRAY[-1, 0, 9223372036854775807, 2147483648, -9223372036854775808])[i / 5 % 5 + 1]
											ELSE i % 7 END AS n) n;
	);
	close $fh;
	IPC::Run::run([ program($self->{node}, 'psql'), '-Xqq', '-v', 'ON_ERROR_STOP=1', '-d', $self->{node}->connstr('smith'), '-f', $file ])
	  or die 'no inputs';
	return;
}

# Call every function so often; returns what did not end as it should.
sub call_all
{
	my ($self, $rounds) = @_;
	my $node = $self->{node};
	my ($state, undef, $messages) = run_sql(
		$node, 'smith', "CALL smith.call_all($rounds)",
		extra_params => [ '-U', 'smith', '-v', 'VERBOSITY=verbose' ],
		timeout => 10 * $PostgreSQL::Test::Utils::timeout_default);

	return "the caller ended: $state $messages" if $state ne '00000';
	return join "\n", grep { (split /\|/)[1] !~ /^00000$|$DOCUMENTED/ }
	  split /\n/, $node->safe_psql('smith', q(
		SELECT function, state, count, left(regexp_replace(message, '\s+', ' ', 'g'), 1000) FROM smith.outcomes ORDER BY 1, 2));
}

# How often each function answered with each state.
sub outcomes
{
	my ($self) = @_;
	return $self->{node}->safe_psql('smith', q(
		SELECT function || ': ' || string_agg(state || ' ' || count, ', ' ORDER BY state) FROM smith.outcomes GROUP BY function ORDER BY 1));
}

# The functions that were called, and those that came to a result.
sub tried
{
	my ($self) = @_;
	return split / /, $self->{node}->safe_psql('smith', q(SELECT string_agg(DISTINCT function, ' ' ORDER BY function) FROM smith.outcomes));
}

sub done
{
	my ($self) = @_;
	return split / /, $self->{node}->safe_psql('smith', q(SELECT string_agg(function, ' ' ORDER BY function) FROM smith.outcomes WHERE state = '00000'));
}

sub functions
{
	my ($self) = @_;
	return split / /, $self->{node}->safe_psql('smith', q(SELECT string_agg(proname, ' ' ORDER BY proname) FROM smith.functions));
}

# Is the store sound?  What the caller gave the same id is not our business.
sub findings
{
	my ($self) = @_;
	return join "\n", grep { !/^id \S+ is used/ } split /\n/, store_findings($self->{node}, 'smith', 'app');
}

# Let sqlsmith run so many queries; returns what it said.  It takes each function and
# table that it finds as often as any other.  So it is a role that sees the table of
# inputs only, and it is shown the stand-ins only, beside the server's operators and
# those of its aggregates that take one type.  The stand-ins run with the rights of
# before.
sub let_sqlsmith
{
	my ($self, $queries) = @_;
	my $node = $self->{node};
	my $target = $node->connstr('smith') . " user=guest options='-c search_path=shown,pg_catalog,public'";
	my $output;

	$node->safe_psql('smith', q(
		CREATE ROLE guest LOGIN;
		CREATE SCHEMA shown;
		CREATE VIEW shown.pg_proc AS SELECT * FROM pg_catalog.pg_proc
		WHERE (pronamespace = 'smith'::regnamespace AND proname ~ '^es_')
		   OR (prokind IN ('a', 'w') AND NOT EXISTS (SELECT FROM pg_type t WHERE t.oid = ANY (proargtypes::oid[] || prorettype) AND typtype = 'p'));
		GRANT USAGE ON SCHEMA shown, smith TO guest;
		GRANT SELECT ON shown.pg_proc TO guest;
		GRANT SELECT, INSERT, UPDATE, DELETE ON smith.inputs TO guest;
		GRANT CREATE ON SCHEMA smith TO smith;
		DO $$
		DECLARE
			f regprocedure;
		BEGIN
			FOR f IN SELECT oid FROM pg_catalog.pg_proc WHERE pronamespace = 'smith'::regnamespace AND proname ~ '^es_' LOOP
				EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER', f);
				EXECUTE format('ALTER FUNCTION %s OWNER TO smith', f);
			END LOOP;
		END $$;
		SELECT pg_stat_reset()));
	IPC::Run::run(
		[
			'sqlsmith', "--target=$target", '--exclude-catalog',
			"--max-queries=$queries", "--seed=$self->{seed}"
		],
		'<', '/dev/null',
		'>&', \$output);
	return $output;
}

# The errors of sqlsmith's queries that come from within a stand-in.
sub _sqlsmith_errors
{
	my ($self) = @_;

	# A message is more than one line.
	return grep { $_->{function} } map {
		{
			state => /(?:ERROR|FATAL|PANIC):\s+([0-9A-Z]{5}):/ ? "$1" : '',
			function => /^\s*(?:CONTEXT:  )?PL\/pgSQL function smith\.(es_\w+)\(/m ? "$1" : undef,
			text => $_
		}
	  } split /^(?=\d{4}-\d\d-\d\d .*(?:ERROR|FATAL|PANIC|LOG): )/m, slurp_file($self->{node}->logfile);
}

# The functions that sqlsmith has called.
sub called
{
	my ($self) = @_;
	my %called = map { $_->{function} => 1 } $self->_sqlsmith_errors;

	$called{$_} = 1 foreach split /\n/, $self->{node}->safe_psql('smith',
		q(SELECT funcname FROM pg_stat_user_functions WHERE schemaname = 'smith' AND funcname ~ '^es_' AND calls > 0));
	return sort keys %called;
}

# What did not end as it should.
sub sqlsmith_findings
{
	my ($self) = @_;
	return join "\n", map { substr $_->{text}, 0, 2000 } grep { $_->{state} !~ $DOCUMENTED } $self->_sqlsmith_errors;
}

1;
